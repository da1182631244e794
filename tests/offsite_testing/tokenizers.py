"""Files tokenizer.json: as known models have them, and what a peer may do to one."""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from offsite.families.patterns import WHOLE

File = dict[str, Any]

QWEN = next(each for each in WHOLE if r"+|\p{N}| ?" in each and each.startswith("(?i:'s"))
MARK = "\u2581"
COMPONENTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def byte_level() -> File:
    """Read a byte-level tokenizer of 280 tokens, all of which its model knows."""
    path = Path(__file__).parents[1] / "vectors/emulator/tokenizer.json"
    content: File = json.loads(path.read_bytes())
    return content


def added(content: str, index: int, **over: Any) -> File:
    """Make an added token."""
    return {"id": index, "content": content, **dict.fromkeys(FLAGS, False), "special": True, **over}


def pieces(**over: Any) -> File:
    """Make a tokenizer as SentencePiece's are: spaces marked, bytes for what is unknown."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), MARK, *"abfox"]
    tokens += ["fo", "fox"]
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": "<unk>",
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": True,
        "ignore_merges": False,
        "vocab": {token: index for index, token in enumerate(dict.fromkeys(tokens))},
        "merges": [["f", "o"], ["fo", "x"]],
    }
    first = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    then = [{"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added(token, index) for index, token in enumerate(tokens[:3])],
        "normalizer": sequence("normalizer", prepend(MARK), replace(" ", MARK)),
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": first,
            "pair": first + then,
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": sequence(
            "decoder",
            replace(MARK, " "),
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ),
        "model": model,
        **over,
    }


def sequence(section: str, *parts: File) -> File:
    """Make a sequence of components."""
    lists = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers", "decoder": "decoders"}
    return {"type": "Sequence", lists.get(section, "processors"): list(parts)}


def replace(pattern: str, content: str, kind: str = "String") -> File:
    """Make a component that replaces."""
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def prepend(text: str) -> File:
    """Make a component that puts a text in front."""
    return {"type": "Prepend", "prepend": text}


def split(
    pattern: str, kind: str = "Regex", behavior: str = "Isolated", invert: bool = False
) -> File:
    """Make a component that splits."""
    pattern_of = {kind: pattern}
    return {"type": "Split", "pattern": pattern_of, "behavior": behavior, "invert": invert}


def bytes_of(**over: Any) -> File:
    """Make the component that writes bytes as letters."""
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, **over}


def metaspace(**over: Any) -> File:
    """Make the component that marks spaces."""
    return {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "always", **over}


def _words(kind: str) -> File:
    extra = {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    vocab = {"[UNK]": 0, "the": 1, "fox": 2, "##es": 3}
    model = {"type": kind, "unk_token": "[UNK]", "vocab": vocab}
    return {**model, **(extra if kind == "WordPiece" else {})}


def _unigram() -> File:
    vocab = [["<unk>", 0.0], [MARK, -2.5], ["fox", -3], ["f", -4.25]]
    return {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": False}


def _untyped() -> File:
    made = byte_level()["model"]
    wanted = ("vocab", "merges", "dropout", "unk_token")
    return {key: made[key] for key in wanted} | {"merges": [" ".join(m) for m in made["merges"]]}


def _bytes(**over: Any) -> File:
    return {**byte_level(), **over}


_TEMPLATE = pieces()["post_processor"]
_TIKTOKEN = sequence("pre_tokenizer", split(QWEN), bytes_of(use_regex=False))
_NO_SPLIT = split(" ", "String", "MergedWithPrevious")

STRUCTURES: Mapping[str, Callable[[], File]] = {
    "GPT-2, OPT": byte_level,
    "GPT-2's own file": lambda: _bytes(model=_untyped(), pre_tokenizer=bytes_of()),
    "GPT-NeoX, Pythia": lambda: _bytes(normalizer={"type": "NFC"}, decoder=bytes_of()),
    "Phi, CodeGen": lambda: _bytes(added_tokens=[added(" " * 31, 280, normalized=True)]),
    "BLOOM": lambda: _bytes(
        pre_tokenizer=sequence(
            "pre_tokenizer",
            split(" ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"),
            bytes_of(use_regex=False),
        )
    ),
    "Llama 2, TinyLlama, CodeLlama, Mistral v0.1": pieces,
    "Mistral v0.3": lambda: pieces(
        normalizer=None, pre_tokenizer=metaspace(prepend_scheme="first", split=False)
    ),
    "Llama of transformers 5": lambda: pieces(
        normalizer=None, pre_tokenizer=metaspace(split=False)
    ),
    "Llama of older files": lambda: pieces(
        normalizer=sequence("normalizer"),
        pre_tokenizer=metaspace(add_prefix_space=True, str_rep=MARK),
    ),
    "Gemma": lambda: pieces(normalizer=replace(" ", MARK), pre_tokenizer=_NO_SPLIT),
    "Llama 3, SmolLM 3": lambda: _bytes(
        pre_tokenizer=_TIKTOKEN,
        post_processor=sequence("post_processor", bytes_of(), byte_level()["post_processor"]),
    ),
    "Qwen": lambda: _bytes(normalizer={"type": "NFC"}, pre_tokenizer=_TIKTOKEN),
    "GPT-4 for browsers": lambda: _bytes(
        pre_tokenizer=sequence(
            "pre_tokenizer", split(QWEN, behavior="Removed", invert=True), bytes_of(use_regex=False)
        )
    ),
    "SmolLM": lambda: _bytes(
        pre_tokenizer=sequence(
            "pre_tokenizer", {"type": "Digits", "individual_digits": True}, bytes_of(use_regex=True)
        )
    ),
    "DeepSeek Coder": lambda: _bytes(
        normalizer=sequence("normalizer"),
        pre_tokenizer=sequence(
            "pre_tokenizer",
            *map(split, ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+")),
            split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"),
            {"type": "Digits", "individual_digits": True},
            bytes_of(use_regex=False),
        ),
    ),
    "Falcon": lambda: _bytes(
        pre_tokenizer=sequence(
            "pre_tokenizer",
            {"type": "Punctuation", "behavior": "Contiguous"},
            bytes_of(),
            {"type": "Digits", "individual_digits": False},
            split("[0-9][0-9][0-9]"),
        )
    ),
    "RoBERTa": lambda: _bytes(
        post_processor={
            "type": "RobertaProcessing",
            **{key: ["<end>", 0] for key in ("sep", "cls")},
            "trim_offsets": True,
            "add_prefix_space": False,
        }
    ),
    "XLM": lambda: pieces(
        model=_unigram(),
        added_tokens=[added("<unk>", 0)],
        post_processor=None,
        normalizer=sequence("normalizer", {"type": "NFKC"}, replace(" {2,}", " ", "Regex")),
        pre_tokenizer=sequence("pre_tokenizer", {"type": "WhitespaceSplit"}, metaspace()),
        decoder=metaspace(),
    ),
    **{
        kind: lambda kind=kind: pieces(  # type: ignore[misc]
            model=_words(kind),
            added_tokens=[added("[UNK]", 0)],
            post_processor=None,
            normalizer={"type": "Lowercase"},
            pre_tokenizer={"type": "Whitespace"},
            decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
        )
        for kind in ("WordLevel", "WordPiece")
    },
}
"""What the tokenizers of known models are made of, over small vocabularies."""


def edited(file: File, *path: str | int, to: Any) -> File:
    """Copy a file with one value changed."""
    copy = deepcopy(file)
    place: Any = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return copy


def reshaped(content: bytes, number: Callable[[int, int], int]) -> bytes:
    """Change a tokenizer.json in one to three places, and leave it JSON.

    Args:
        number: draws a number between two, both included.
    """
    every = list(STRUCTURES.values())
    file = json.loads(content) if number(0, 3) == 0 else every[number(0, len(every) - 1)]()
    file = deepcopy(file)  # known tokenizers share their parts
    for _ in range(number(1, 3)):
        _reshape(file, number)
    return json.dumps(file).encode()


def _reshape(file: File, number: Callable[[int, int], int]) -> None:
    place: Any = file
    key: Any = (*COMPONENTS, "model", "added_tokens", "padding")[number(0, 6)]
    while number(0, 4) and key in place if isinstance(place, dict) else number(0, 4):
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner:
            break
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        place, key = inner, keys[number(0, len(keys) - 1)]
    value = _VALUES[number(0, len(_VALUES) - 1)]
    if isinstance(place, list):
        place[key : key + number(0, 1)] = [deepcopy(value)] * number(0, 3)
    elif number(0, 5) == 0:
        place.pop(key, None)
    else:
        place[key if number(0, 9) else "type"] = deepcopy(value)


_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 16, 280, 281, 2**31, 10**30, 0.5, 1e300),
    *("", "a", " ", MARK, "a" * 17, "a" * 300, "\ud800", "\ufdfa", "\u0130", "<end>", "Kovacs"),
    *([], {}, [[]], ["a", "b"], ["<end>", 0], {"String": "a"}, {"Regex": "(a*)*$"}),
    *({"type": kind} for kind in ("NFD", "NFKD", "Lowercase", "ByteLevel", "Fuse", "Whitespace")),
    *(replace(" ", MARK), replace("a", "aa"), replace("a", "", "Regex"), prepend(MARK)),
    *(split(QWEN), split(" ", "String"), split(QWEN, behavior="Removed"), bytes_of(), metaspace()),
    *(sequence("normalizer", *[prepend("aa")] * 3), sequence("pre_tokenizer", *[metaspace()] * 2)),
    *(added("Kovacs", 280), added("<end>", 0), added(" ", 4, lstrip=True), added("a", 66)),
    *(pieces()["post_processor"], {"Sequence": {"id": "A", "type_id": 0}}),
    {"SpecialToken": {"id": "<s>", "type_id": 0}},
)
