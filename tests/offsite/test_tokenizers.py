"""What a peer's tokenizer.json may be: what known models have, and nothing that a text can trip."""

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Tokenizer

from offsite.families import named_token_problems, tokenizer_file_problems
from offsite.families.patterns import PIECES, REPLACES, WHOLE
from offsite_testing.tokenizers import (
    FLAGS,
    MARK,
    QWEN,
    STRUCTURES,
    File,
    added,
    byte_level,
    bytes_of,
    edited,
    metaspace,
    pieces,
    prepend,
    replace,
    reshaped,
    sequence,
    split,
)

SIZE = 281
"""How many tokens the model knows: one more than the tokenizers here make, at most."""
TEXTS = (
    "the quick brown fox, 1,234 times over 3.14 dogs' tails\n\n",
    "Kovacs J\u00f3zsef \u2014 \u00c5ngstr\u00f6m\tna\u00efve  \u017f\u0130\u0149 \ufb01 \ufdfa",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002 \uac00\ub098 \u0e01\u0e33 \U0001f469\u200d\U0001f680",
    "\x00\x01 \x7f\u0085\u2028\ufeff\ufffd  " + " " * 300 + "a\u0301\u0301\u0301",
)


def problems(file: File, size: int = SIZE, **options: Any) -> list[str]:
    """Ask after a file that went through JSON, as one that was sent has."""
    return tokenizer_file_problems(json.loads(json.dumps(file)), size, **options)


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_tokenizers_of_known_models_pass(name: str) -> None:
    file = STRUCTURES[name]()
    assert problems(file) == []
    loaded = Tokenizer.from_str(json.dumps(file))
    assert problems(json.loads(loaded.to_str())) == []
    for text in TEXTS:
        ids = loaded.encode(text, add_special_tokens=True).ids
        assert ids
        assert max(ids) < SIZE


@pytest.mark.parametrize("pattern", sorted(WHOLE | PIECES | REPLACES))
def test_known_expressions_never_give_up(pattern: str) -> None:
    """A run of one kind of character, and then one of another, is the worst that they can meet."""
    parts = sequence("pre_tokenizer", split(pattern), bytes_of(use_regex=False))
    raw = Tokenizer.from_str(json.dumps({**byte_level(), "pre_tokenizer": parts}))
    for run in ("a", "A", " ", "1", ".", "\n", "\r\n", "\u4e00", "a1", " a", "\u0301", "'"):
        assert raw.encode(run * 4_000 + "\u20ac").ids


def bombs(content: str = "a" * 40, times: int = 6) -> list[File]:
    """Make replacements of which each makes what the next one finds."""
    return [replace("a", content) for _ in range(times)]


def _nested(parts: list[File]) -> File:
    made = parts[-1]
    for part in reversed(parts[:-1]):
        made = sequence("normalizer", part, made)
    return made


GROWTH: dict[str, File] = {
    "six replacements": {"normalizer": sequence("normalizer", *bombs())},
    "two": {"normalizer": sequence("normalizer", *bombs("a" * 8, 2))},
    "one": {"normalizer": replace("a", "a" * 17)},
    "of two bytes": {"normalizer": replace("a", "\u00df" * 9)},
    "sequences in sequences": {"normalizer": _nested(bombs("a" * 4))},
    "deep": {"normalizer": _nested([{"type": "NFC"}] * 100)},
    "many": {"normalizer": sequence("normalizer", *[{"type": "NFKD"}] * 20)},
    "an expression": {"normalizer": replace(" {2,}", "a" * 16, "Regex")},
    "an expression that finds nothing": {"normalizer": replace("x*", "a", "Regex")},
    "an empty string": {"normalizer": replace("", "a")},
    "prepending": {"normalizer": sequence("normalizer", *[prepend("a" * 8)] * 2)},
    "prepending much": {"normalizer": prepend("a" * 10**6)},
    "a letter that grows": {"normalizer": replace("a", "\ufdfa")},
    "a letter that grows in front": {"normalizer": prepend("\u1e9e\u0130")},
    "bytes of bytes": {"pre_tokenizer": sequence("pre_tokenizer", *[bytes_of()] * 5)},
    "marks of marks": {"pre_tokenizer": sequence("pre_tokenizer", *[metaspace()] * 3)},
    "both sections": {
        "normalizer": replace("a", "a" * 6),
        "pre_tokenizer": sequence("pre_tokenizer", bytes_of(), bytes_of()),
    },
    "a mark that grows": {"pre_tokenizer": metaspace(replacement="\ufdfa")},
    "decoders": {"decoder": sequence("decoder", *[replace("a", "a" * 40)] * 6)},
    "a text many times": {"post_processor": {}},
    "many tokens": {"post_processor": {}},
}
for _name, _more in (("a text many times", "Sequence"), ("many tokens", "SpecialToken")):
    _single = [{_more: {"id": "A" if _more == "Sequence" else "<s>", "type_id": 0}}] * 5000
    GROWTH[_name] = {"post_processor": {**pieces()["post_processor"], "single": _single}}


@pytest.mark.parametrize("name", GROWTH)
def test_a_text_may_not_grow_much(name: str) -> None:
    for file in (byte_level(), pieces()):
        found = problems({**file, **GROWTH[name]})
        assert found
        assert any(section in found[0] for section in GROWTH[name]), found


@pytest.mark.parametrize("pattern", [r"\s+$", QWEN])
def test_no_expression_searches_what_was_made_longer_or_searches_twice(pattern: str) -> None:
    longer = replace(" ", " " * 8)
    once = sequence("pre_tokenizer", split(pattern), bytes_of(use_regex=False))
    twice = sequence("pre_tokenizer", *[split(pattern)] * 2, bytes_of(use_regex=False))
    assert problems({**byte_level(), "pre_tokenizer": once}) == []
    (found,) = problems({**byte_level(), "pre_tokenizer": twice})
    assert found == "pre_tokenizer.pretokenizers.1.pattern: appears twice"
    (found, *_) = problems({**byte_level(), "normalizer": longer, "pre_tokenizer": once})
    assert found == (
        "pre_tokenizer.pretokenizers.0.pattern: must not follow a component that lengthens the text"
    )


def in_model(**over: Any) -> Callable[[], File]:
    """Change the model of a byte-level tokenizer."""
    return lambda: {**byte_level(), "model": {**byte_level()["model"], **over}}


def in_pieces(**over: Any) -> Callable[[], File]:
    """Change the model of one that has bytes for what is unknown."""
    return lambda: pieces(model={**pieces()["model"], **over})


def in_words(kind: str, **over: Any) -> Callable[[], File]:
    """Change the model of one that has words."""
    return lambda: {
        **STRUCTURES[kind](),
        "model": {**STRUCTURES[kind]()["model"], **over},
    }


def with_added(*tokens: File) -> Callable[[], File]:
    """Add tokens to a byte-level tokenizer."""
    return lambda: {**byte_level(), "added_tokens": [*byte_level()["added_tokens"], *tokens]}


def _vocab(**over: Any) -> File:
    return {**byte_level()["model"]["vocab"], **over}


def _without(vocab: File, *gone: str) -> File:
    return {token: index for token, index in vocab.items() if token not in gone}


def _merged(*pair: str) -> list[list[str]]:
    return [*byte_level()["model"]["merges"], list(pair)]


FORGED = "\x1b[31mX\x1b]0;t\x07\noffsite-event {}\n"
TEMPLATE = pieces()["post_processor"]

TRAPS: dict[str, tuple[Callable[[], File], str]] = {
    "drawn at random": (in_model(dropout=0.5), "model.dropout"),
    "drawn a little": (in_model(dropout=1e-9), "model.dropout"),
    "no unknown token": (in_model(unk_token=FORGED), "model.unk_token"),
    "unknown token among the added": (
        lambda: {
            **in_model(unk_token="<x>")(),
            "added_tokens": [*byte_level()["added_tokens"], added("<x>", 280)],
        },
        "model.unk_token",
    ),
    "a byte without a token": (
        in_model(vocab=_without(_vocab(), "K"), merges=[]),
        "needs an unk_token, or a token for every byte",
    ),
    "bytes without letters": (
        lambda: {**byte_level(), "pre_tokenizer": None},
        "needs an unk_token, or a token for every byte",
    ),
    "fallback without a byte": (
        in_pieces(unk_token=None, vocab=_without(pieces()["model"]["vocab"], "<0x4B>")),
        "needs an unk_token, or a token for every byte",
    ),
    "no unknown id": (in_words("XLM", unk_id=None), "model.unk_id"),
    "unknown id beyond": (in_words("XLM", unk_id=4), "model.unk_id"),
    "no unknown word": (in_words("WordLevel", unk_token="<nowhere>"), "model.unk_token"),
    "no unknown piece": (in_words("WordPiece", unk_token="<nowhere>"), "model.unk_token"),
    "long words": (in_words("WordPiece", max_input_chars_per_word=10**6), "max_input_chars"),
    "long prefix": (in_words("WordPiece", continuing_subword_prefix="#" * 99), "subword_prefix"),
    "prefix": (in_model(continuing_subword_prefix="##"), "model.continuing_subword_prefix"),
    "suffix": (in_model(end_of_word_suffix="x" * 10**6), "model.end_of_word_suffix"),
    "id of the vocabulary beyond": (in_model(vocab=_vocab(Kovacs=281)), "has the id 281"),
    "huge id": (in_model(vocab=_vocab(Kovacs=2**31)), "has the id 2147483648"),
    "negative id": (in_model(vocab=_vocab(Kovacs=-1)), "model.vocab"),
    "id that is true": (in_model(vocab=_vocab(Kovacs=True)), "model.vocab"),
    "id that is a text": (in_model(vocab=_vocab(Kovacs="7")), "model.vocab"),
    "one id twice": (in_model(vocab=_vocab(Kovacs=7)), "two tokens have one id"),
    "empty token": (in_model(vocab=_vocab(**{"": 280})), "model.vocab"),
    "long token": (in_model(vocab=_vocab(**{"a" * 10**6: 280})), "model.vocab"),
    "long piece": (in_words("XLM", vocab=[["a" * 200, 0.0]]), "model.vocab"),
    "empty piece": (in_words("XLM", vocab=[["", 0.0]]), "model.vocab"),
    "infinite score": (in_words("XLM", vocab=[["a", 1e300]]), "model.vocab.0"),
    "no pieces": (in_words("XLM", vocab=[]), "model.vocab"),
    "merge of nothing": (in_model(merges=_merged("K", "\u0141")), "model.merges"),
    "merge of three": (in_model(merges=_merged("K", "o", "v")), "model.merges"),
    "merge with an empty token": (in_model(merges=_merged("", "K")), "model.merges"),
    "merges of two forms": (in_model(merges=[*_merged()[:-1], "t h"]), "model.merges"),
    "merge that is none": (in_model(merges=[*_merged()[:-1], {}]), "model.merges"),
    "unknown field": (in_model(cache_capacity=1), "model.cache_capacity"),
    "unknown model": (in_model(type="Tekken"), "model"),
    "no model": (lambda: {**byte_level(), "model": None}, "model"),
    "added beyond": (with_added(added("<pad>", 280), added("Kovacs", 281)), "has the id 281"),
    "added with a false id": (with_added(added("Kovacs", 5)), "added_tokens.1.id"),
    "added twice": (with_added(added("<end>", 0)), "added_tokens"),
    "added empty": (with_added(added("", 280)), "added_tokens.1.content"),
    "added long": (with_added(added("K" * 257, 280)), "added_tokens.1.content"),
    "added by many": (with_added(*(added(f"<{n}>", n) for n in range(280, 17_000))), "16384"),
    "added with a new flag": (with_added(added("x", 280, regex=True)), "added_tokens.1.regex"),
    "added without a flag": (with_added({"id": 280, "content": "x"}), "added_tokens.1"),
    "added that is none": (with_added([]), "added_tokens.1"),  # type: ignore[arg-type]
    "padding": (lambda: {**byte_level(), "padding": {"strategy": {"Fixed": 10**9}}}, "padding"),
    "truncation": (lambda: {**byte_level(), "truncation": {"max_length": 1}}, "truncation"),
    "another version": (lambda: {**byte_level(), "version": "2.0"}, "version"),
    "an unknown section": (lambda: {**byte_level(), "code": "x"}, "code"),
    "no added tokens": (lambda: {k: v for k, v in byte_level().items() if k[0] != "a"}, "added"),
}
for _name, _part in {
    "its own expression": split(r"(\w+\s?)+\d\d\d\d$"),
    "a name": split("Kovacs"),
    "a known one and more": split(QWEN + "|(?=.*Kovacs)"),
    "single letters": split("a", "String"),
    "nothing": split("", "String"),
    "two patterns": {**split(QWEN), "pattern": {"Regex": QWEN, "String": " "}},
    "what it finds": split(QWEN, behavior="Removed"),
    "what it leaves": split("[0-9]", behavior="Removed", invert=True),
    "all but spaces": split(" ", "String", "Removed", invert=True),
    "a behavior": split(QWEN, behavior="Doubled"),
    "no behavior": {k: v for k, v in split(QWEN).items() if k != "behavior"},
    "a fixed length": {"type": "FixedLength", "length": 1},
    "a delimiter": {"type": "CharDelimiterSplit", "delimiter": "K"},
    "scripts": {"type": "UnicodeScripts"},
    "punctuation": {"type": "Punctuation", "behavior": "Removed"},
    "digits": {"type": "Digits", "individual_digits": "yes"},
    "a scheme": metaspace(prepend_scheme="twice"),
    "a long mark": metaspace(replacement="ab"),
    "a field": bytes_of(code=1),
}.items():
    TRAPS[f"splits by {_name}"] = (
        lambda part=_part: {  # type: ignore[misc]
            **byte_level(),
            "pre_tokenizer": sequence("pre_tokenizer", part, bytes_of()),
        },
        "pre_tokenizer",
    )
for _name, _part in {
    "nothing": replace("Kovacs", ""),
    "its own expression": replace("(a+)+$", "a", "Regex"),
    "accents": {"type": "StripAccents"},
    "a blob": {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    "what follows bytes": sequence("normalizer", {"type": "ByteLevel"}, replace("K", "\u00a0")),
    "one without type": {"pattern": {"String": "a"}, "content": "b"},
    "a sequence with more": {**sequence("normalizer"), "pattern": "x"},
    "a part that is no table": {"type": []},
}.items():
    TRAPS[f"normalizes by {_name}"] = (
        lambda part=_part: {**byte_level(), "normalizer": part},  # type: ignore[misc]
        "normalizer",
    )
for _name, _over in {
    "an id beyond": {"special_tokens": {"<s>": {"id": "<s>", "ids": [300], "tokens": ["<s>"]}}},
    "another's id": {"special_tokens": {"<s>": {"id": "<s>", "ids": [2], "tokens": ["<s>"]}}},
    "many ids": {
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1] * 5000, "tokens": ["<s>"] * 5000}}
    },
    "ids without tokens": {"special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": []}}},
    "an unknown token": {"special_tokens": {}},
    "no text": {"single": TEMPLATE["single"][:1]},
    "a text twice": {"single": [*TEMPLATE["single"], TEMPLATE["single"][1]]},
    "the other text": {"single": TEMPLATE["pair"]},
    "a strange piece": {"single": [*TEMPLATE["single"], {"Code": {"id": "x", "type_id": 0}}]},
    "a strange kind": {"single": [{"Sequence": {"id": "A", "type_id": 2**31}}]},
    "a text for a list": {"single": "$A"},
}.items():
    TRAPS[f"surrounds by {_name}"] = (
        lambda over=_over: pieces(post_processor={**TEMPLATE, **over}),  # type: ignore[misc]
        "post_processor",
    )
for _ends in (["<s>", 300], ["Kovacs", 1], ["<s>"], "<s>", [1, "<s>"]):
    TRAPS[f"ends by {_ends}"] = (
        lambda ends=_ends: pieces(  # type: ignore[misc]
            post_processor={"type": "BertProcessing", "sep": ends, "cls": ["<s>", 1]}
        ),
        "post_processor",
    )


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_is_told_with_its_place(name: str) -> None:
    make, said = TRAPS[name]
    found = problems(make())
    assert found
    assert said in found[0]


IMAGE = "<image_soft_token>"


def test_a_family_may_know_of_a_token_that_its_models_lack() -> None:
    file = with_added(added("<pad>", 280), added(IMAGE, 281))()
    assert problems(file) == ["a token has the id 281, but the model has only 281 tokens"]
    assert problems(file, beyond={IMAGE}) == []
    assert problems(with_added(added("<pad>", 280), added("x", 281))(), beyond={IMAGE})


@pytest.mark.parametrize("flag", FLAGS)
def test_nothing_else_may_lead_to_that_token(flag: str) -> None:
    """A normalizer could make it of a name, if it were looked for in what comes of that."""
    file = with_added(added("<pad>", 280), added(IMAGE, 281, **{flag: True}))()
    assert problems(file, beyond={IMAGE})


def test_no_model_may_lead_to_that_token() -> None:
    """A normalizer could make its name of another one, and the model would know it whole."""
    file = STRUCTURES["XLM"]()
    vocab = [*file["model"]["vocab"], [IMAGE, 0.0]]
    file = edited(file, "model", "vocab", to=vocab)
    file["added_tokens"] = [added("<unk>", 0), added(IMAGE, len(vocab) - 1)]
    names = ("Anna Kovacs", "<image_soft_tok"), ("tok", "token>")
    file["normalizer"] = sequence("normalizer", *(replace(*each) for each in names))
    assert problems(file, len(vocab)) == []
    (found,) = problems(file, len(vocab) - 1, beyond={IMAGE})
    last = len(vocab) - 1
    assert found == f"a token has the id {last}, but the model has only {last} tokens"


NAMED: dict[str, Any] = {
    "eos_token": "Kovacs",
    "pad_token": {"content": "Kovacs"},
    "extra_special_tokens": ["<end>", "Kovacs"],
    "additional_special_tokens": [{"content": "Kovacs"}],
    "added_tokens_decoder": {"280": {"content": "Kovacs"}},
}


@pytest.mark.parametrize("key", NAMED)
def test_a_config_may_not_add_tokens(key: str) -> None:
    found = named_token_problems({"unk_token": None, key: NAMED[key]}, byte_level())
    assert found == [f"{key}: is not a token of tokenizer.json"]
    assert named_token_problems({"eos_token": "<end>", "unk_token": None}, byte_level()) == []


@pytest.mark.parametrize("text", ["\ud800", "\udc80a"])
@pytest.mark.parametrize(
    "path",
    [
        ("model", "unk_token"),
        ("added_tokens", 0, "content"),
        ("normalizer",),
        ("pre_tokenizer", "type"),
    ],
)
def test_half_a_character_is_no_text(text: str, path: tuple[str | int, ...]) -> None:
    value = replace("a", text) if path == ("normalizer",) else text
    assert problems(edited(byte_level(), *path, to=value))


def test_a_large_file_is_judged_in_seconds() -> None:
    letters = [chr(0x4E00 + number) for number in range(500)]
    names = [*letters, *(one + other for one in letters for other in letters)]
    vocab = _vocab(**{token: 280 + index for index, token in enumerate(names)})
    merges = [[one, other] for one in letters for other in letters] * 6
    began = time.process_time()
    assert tokenizer_file_problems(in_model(vocab=vocab, merges=merges)(), 2**24) == []
    assert time.process_time() - began < 20


def test_what_passes_never_fails_on_a_text() -> None:
    """Texts are drawn at random, so are the components; what passes encodes, and grows little."""
    draw = random.Random(1)
    taken = sum(_trial(draw) for _ in range(400))
    assert taken > 150


def _trial(draw: random.Random) -> bool:
    file = draw.choice([byte_level, pieces, *STRUCTURES.values()])()
    normal: list[File] = [
        {"type": draw.choice(("NFC", "NFD", "NFKC", "NFKD", "Lowercase"))},
        {"type": "Strip", "strip_left": True, "strip_right": draw.random() < 0.5},
        replace(draw.choice((" ", "a", "th", "\ufdfa")), draw.choice((MARK, "aa", "xyz", " "))),
        replace(" {2,}", MARK, "Regex"),
        prepend(MARK),
    ]
    before: list[File] = [
        split(draw.choice(sorted(WHOLE | PIECES))),
        split(" ", "String", draw.choice(("Removed", "Contiguous", "MergedWithNext"))),
        {"type": draw.choice(("Whitespace", "WhitespaceSplit"))},
        {"type": "Digits", "individual_digits": True},
        metaspace(prepend_scheme=draw.choice(("first", "never", "always"))),
        bytes_of(),
    ]
    file["normalizer"] = sequence("normalizer", *draw.sample(normal, draw.randint(0, 3)))
    last = bytes_of() if "Ġ" in file["model"]["vocab"] else metaspace()
    file["pre_tokenizer"] = sequence(
        "pre_tokenizer", *draw.sample(before, draw.randint(0, 2)), last
    )
    file["added_tokens"] = [
        {**token, **{flag: draw.random() < 0.3 for flag in FLAGS}} for token in file["added_tokens"]
    ]
    if problems(file):
        return False
    tokenizer = Tokenizer.from_str(json.dumps(file))
    text = "".join(draw.choice(draw.choice(TEXTS)) for _ in range(draw.randint(1, 300))) + "a"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert 0 < len(ids) <= 48 * len(text.encode())
    assert max(ids) < SIZE
    return True


def test_what_passes_after_any_change_never_fails_on_a_text() -> None:
    draw = random.Random(2)
    taken = sum(_survives(reshaped(b"null", _few(draw))) for _ in range(4000))
    assert taken > 100


def _few(draw: random.Random) -> Callable[[int, int], int]:
    """Draw numbers, of which the first is not 0: of the structures, not of what is given."""
    first = iter([1])
    return lambda low, high: next(first, None) or draw.randint(low, high)


def _survives(content: bytes) -> bool:
    if tokenizer_file_problems(json.loads(content), SIZE):
        return False
    try:
        tokenizer = Tokenizer.from_str(content.decode())
    except BaseException as error:  # before any text is read; a panic is no `Exception`
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            return False
        raise
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=True).ids
        assert 0 < len(ids) <= 48 * len(text.encode())
        assert max(ids) < SIZE
    return True
