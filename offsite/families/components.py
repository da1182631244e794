"""Lists the allowed components of a tokenizer.json, with their fields.

Components run on private data, in the process that trains. So the fields also bound how much they
may lengthen a text. `Precompiled`, which is a binary blob, is not allowed.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from offsite.families import kinds
from offsite.families.kinds import Kind, problems
from offsite.families.patterns import PIECES, REPLACES, WHOLE

_MOST_GROWTH = 16
"""Largest factor. Llama 2's `Prepend` and `Replace` reach 12 if each character is a piece."""
_MOST_PARTS, _MOST_NESTING = 16, 2
_RUN = re.compile(r"\\s[+*]")  # part of an expression that matches a run of spaces
_HALF = re.compile("[\ud800-\udfff]")
_LISTS = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "post_processor": "processors",
    "decoder": "decoders",
}


def width(text: str) -> int:
    """Count the bytes of a text. Unpaired surrogates are allowed here, and refused elsewhere."""
    return len(text.encode("utf-8", "surrogatepass"))


def _is_stable(text: Any) -> bool:
    """Return whether a text is short, and no Unicode form or lower case lengthens it."""
    if not isinstance(text, str) or not 0 < len(text) <= 16 or _HALF.search(text):
        return False
    forms = (unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD"))
    return all(width(form) <= width(text) for form in (*forms, text.lower()))


def _is_blank(text: Any) -> bool:
    return isinstance(text, str) and 0 < len(text) <= 16 and not text.strip(" \t\r\n\u2581")


def _pattern(strings: Kind, regexes: frozenset[str]) -> Kind:
    def test(value: Any) -> bool:
        if not isinstance(value, dict) or len(value) != 1:
            return False
        regex = value.get("Regex")
        return strings.test(value.get("String")) or (isinstance(regex, str) and regex in regexes)

    return Kind(f"{strings.meaning}, or the expression of a known model", test)


_CONTENT = Kind("1 to 16 characters that Unicode normalization does not lengthen", _is_stable)
_SHORT = Kind("a text of up to 64 characters", lambda v: isinstance(v, str) and len(v) <= 64)
_NAMED = Kind("a text of 1 to 64 characters", lambda v: _SHORT.test(v) and v != "")
_BLANK = Kind("a string of spaces, line ends or \u2581", _is_blank)
_CHARACTER = Kind("one plain character", lambda v: _is_stable(v) and len(v) == 1)
_FEW = kinds.ints(0, 16)
_BEHAVIOR = kinds.among(
    {"Removed", "Isolated", "Contiguous", "MergedWithPrevious", "MergedWithNext"}
)


@dataclass(frozen=True)
class _Part:
    """A type of component: its fields, and its output size for n bytes of input: `a * n + b`."""

    needs: Mapping[str, Kind] = field(default_factory=dict)
    may: Mapping[str, Kind] = field(default_factory=dict)
    grows: Callable[[Mapping[str, Any]], tuple[int, int]] = lambda _: (1, 0)

    def problems(self, part: Mapping[str, Any], path: str) -> list[str]:
        """List the fields that are missing, not allowed, or of the wrong kind."""
        rest = {key: value for key, value in part.items() if key != "type"}
        missing = [f"{path}.{key}: is missing" for key in self.needs if key not in part]
        return missing + problems(rest, {**self.needs, **self.may}, f"{path}.")


def _replaced(part: Mapping[str, Any]) -> tuple[int, int]:
    content, pattern = width(part["content"]), part["pattern"]
    if "String" in pattern:
        return max(1, -(-content // width(pattern["String"]))), 0
    return 1 + content, 0


def _spaced(part: Mapping[str, Any]) -> tuple[int, int]:
    mark = width(part["replacement"])
    return mark, 0 if part.get("prepend_scheme") == "never" else mark


_BYTES = {"add_prefix_space": kinds.BOOL, "trim_offsets": kinds.BOOL}
_BYTE_LEVEL = _Part(
    _BYTES, {"use_regex": kinds.BOOL}, lambda part: (2, 2 if part["add_prefix_space"] else 0)
)
_METASPACE = _Part(
    {"replacement": _CHARACTER},
    {
        "prepend_scheme": kinds.among({"first", "never", "always"}),
        **dict.fromkeys(("split", "add_prefix_space"), kinds.BOOL),
        "str_rep": _CHARACTER,
    },
    _spaced,
)
_ANY_STRING = Kind("a string of 1 to 64 characters", _NAMED.test)
_END = Kind(
    "a token and its id",
    lambda v: isinstance(v, list) and [type(each) for each in v] == [str, int],
)
_ENDS = {"sep": _END, "cls": _END}

PARTS: Mapping[str, Mapping[str, _Part]] = {
    "normalizer": {
        **dict.fromkeys(("NFC", "NFD", "NFKC", "NFKD", "Lowercase"), _Part()),
        "Strip": _Part(dict.fromkeys(("strip_left", "strip_right"), kinds.BOOL)),
        "Replace": _Part(
            {"pattern": _pattern(_ANY_STRING, REPLACES), "content": _CONTENT}, grows=_replaced
        ),
        "Prepend": _Part({"prepend": _CONTENT}, grows=lambda part: (1, width(part["prepend"]))),
        "ByteLevel": _Part(grows=lambda _: (2, 0)),
    },
    "pre_tokenizer": {
        "ByteLevel": _BYTE_LEVEL,
        "Metaspace": _METASPACE,
        "Split": _Part(
            {
                "pattern": _pattern(_BLANK, WHOLE | PIECES),
                "behavior": _BEHAVIOR,
                "invert": kinds.BOOL,
            }
        ),
        "Digits": _Part({"individual_digits": kinds.BOOL}),
        "Punctuation": _Part({}, {"behavior": kinds.among({"Isolated", "Contiguous"})}),
        **dict.fromkeys(("Whitespace", "WhitespaceSplit"), _Part()),
    },
    "post_processor": {
        "ByteLevel": _Part(_BYTES, {"use_regex": kinds.BOOL}),
        "TemplateProcessing": _Part(
            dict.fromkeys(("single", "pair", "special_tokens"), Kind("a template", lambda _: True))
        ),
        "BertProcessing": _Part(_ENDS),
        "RobertaProcessing": _Part({**_ENDS, **_BYTES}),
    },
    "decoder": {
        "ByteLevel": _Part(_BYTES, {"use_regex": kinds.BOOL}),
        "Metaspace": _METASPACE,
        "Replace": _Part(
            {"pattern": _pattern(_ANY_STRING, REPLACES), "content": _SHORT}, grows=_replaced
        ),
        **dict.fromkeys(("ByteFallback", "Fuse"), _Part()),
        "Strip": _Part({"content": _CHARACTER, "start": _FEW, "stop": _FEW}),
        "WordPiece": _Part({"prefix": _SHORT, "cleanup": kinds.BOOL}),
        "BPEDecoder": _Part({"suffix": _NAMED}),
    },
}
"""The components of each section, by their type."""

Leaf = tuple[str, Mapping[str, Any]]
"""A component other than a Sequence, with its path."""


def component_problems(tokenizer: Mapping[str, Any]) -> list[str]:
    """List all problems of the components of a tokenizer.json, each with its path."""
    found = [problem for section in PARTS for problem in _section(section, tokenizer)]
    # the remaining checks compute with the fields, so these must be valid
    return found or _chain_problems(tokenizer)


def leaves(tokenizer: Mapping[str, Any], section: str) -> Iterator[Leaf]:
    """Yield the components of a section in order. One that is nested too deep is not opened."""
    yield from _walk(tokenizer.get(section), section, _LISTS[section], 0)


def _walk(part: Any, path: str, inner: str, depth: int) -> Iterator[Leaf]:
    if part is None and depth == 0:
        return
    nested = part.get(inner) if isinstance(part, dict) else None
    if not isinstance(part, dict):
        yield path, {}
    elif part.keys() != {"type", inner} or part["type"] != "Sequence" or depth > _MOST_NESTING:
        yield path, part
    elif not isinstance(nested, list):
        yield path, {}
    else:
        for number, each in enumerate(nested):
            yield from _walk(each, f"{path}.{inner}.{number}", inner, depth + 1)


def _section(section: str, tokenizer: Mapping[str, Any]) -> list[str]:
    known, found = PARTS[section], list[str]()
    for number, (path, part) in enumerate(leaves(tokenizer, section)):
        kind = part.get("type")
        if number == _MOST_PARTS:
            return [f"{section}: has more than {_MOST_PARTS} components"]
        if not isinstance(kind, str) or kind not in known:
            found.append(f"{path}: is not a component of a known tokenizer")
        else:
            found += known[kind].problems(part, path)
    return found


def _chain_problems(tokenizer: Mapping[str, Any]) -> list[str]:
    early = [part["type"] for _, part in leaves(tokenizer, "normalizer")][:-1]
    found = ["normalizer: ByteLevel must be the last component"] if "ByteLevel" in early else []
    before = [*leaves(tokenizer, "normalizer"), *leaves(tokenizer, "pre_tokenizer")]
    found += [f"{path}.behavior: would lose text" for path, part in before if _loses(part)]
    found += _search_problems(before)
    sections = (("normalizer and pre_tokenizer", before), ("decoder", leaves(tokenizer, "decoder")))
    return found + [f"{name}: text may grow too much" for name, chain in sections if _grows(chain)]


def _search_problems(chain: Iterable[Leaf]) -> list[str]:
    r"""List the expressions whose search time could explode.

    `\s+$` starts a match at each space of a run. So no earlier component may lengthen the run, and
    no expression may appear twice.
    """
    seen, times, found = set[str](), 1, list[str]()
    for path, part in chain:
        regex = part.get("pattern", {}).get("Regex")
        if regex is not None:
            if regex in seen:
                found.append(f"{path}.pattern: appears twice")
            if times > 1 and _RUN.search(regex):
                found.append(f"{path}.pattern: must not follow a component that lengthens the text")
            seen.add(regex)
        times *= PARTS[path.partition(".")[0]][part["type"]].grows(part)[0]
    return found


def _loses(part: Mapping[str, Any]) -> bool:
    """Return whether a split removes more than spaces: its matches, or with `invert` the rest."""
    if part.get("behavior") != "Removed":
        return False
    return (
        part["pattern"].get("Regex") not in WHOLE if part["invert"] else "Regex" in part["pattern"]
    )


def _grows(chain: Iterable[Leaf]) -> bool:
    times, more = 1, 0
    for path, part in chain:
        factor, extra = PARTS[path.partition(".")[0]][part["type"]].grows(part)
        times, more = times * factor, more * factor + extra
    # a piece may be a single byte, so the factor and the constant both count
    return times + more > _MOST_GROWTH
