"""Lists the regular expressions with which tokenizers of known models split text.

A malicious expression could backtrack on certain texts until the library gives up. The failure
would reveal that the private data contains such a text. So only expressions of published models are
allowed. To support another model, add its expression here, if the tests of tokenizers pass with it.
"""

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_SHORT = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = rf"{_SHORT}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+"
_BREAKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_SIGNS = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_BREAKS}"
_LED = r"[^\r\n\p{L}\p{N}]?"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SLASHES = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_BREAKS}"
_TIKTOKEN = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+"
_TIKTOKEN_SIGNS = r" ?[^\s\p{L}\p{N}]++[\r\n]*"
_ASCII = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
_MARKED = "[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"

_DEEPSEEK_LETTERS = (
    "\\s?[A-Za-z\xb5\xc0-\xd6\xd8-\xf6\xf8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af"
    "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3"
    "-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd"
    "\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-"
    "\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-"
    "\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-"
    "\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126"
    "\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00"
    "-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f"
    "\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-"
    "\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-"
    "\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943]+"
)

WHOLE: frozenset[str] = frozenset(
    {
        rf"{_GPT2}|\s+",
        # Llama 3, Phi 4, Falcon 3, SmolLM 3, and Qwen, which take three digits or one; MiniCPM
        rf"{_WORDS}|\p{{N}}{{1,3}}|{_SIGNS}",
        rf"{_WORDS}|\p{{N}}|{_SIGNS}",
        rf"{_WORDS}|\p{{N}}+|{_SIGNS}",
        # Qwen 3.5, whose letters have their marks
        rf"{_SHORT}|{_LED}[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_BREAKS}",
        # GPT-4 as tiktoken has it
        rf"{_TIKTOKEN}|\p{{N}}{{1,3}}|{_TIKTOKEN_SIGNS}|\s*[\r\n]|\s+(?!\S)|\s+",
        rf"{_TIKTOKEN}|\p{{N}}|{_TIKTOKEN_SIGNS}|\s*[\r\n]|\s+(?!\S)|\s+",
        # Mistral's Tekken, GPT-4o
        rf"{_LED}{_UPPER}*{_LOWER}+|{_LED}{_UPPER}+{_LOWER}*|\p{{N}}|{_SLASHES}",
        rf"{_LED}{_UPPER}*{_LOWER}+{_SHORT}?|{_LED}{_UPPER}+{_LOWER}*{_SHORT}?"
        rf"|\p{{N}}{{1,3}}|{_SLASHES}",
    }
)
"""Expressions for `Split` that match all of any text."""

PIECES: frozenset[str] = frozenset(
    {
        # DeepSeek LLM, Coder, V2
        "[\r\n]",
        r"\s?\p{L}+",
        r"\s?\p{P}+",
        r"\s+$",
        r"\p{N}",
        r"\p{N}+",
        r"\p{N}{1,3}",
        "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
        _DEEPSEEK_LETTERS,
        # DeepSeek V3, and what followed it
        f"{_ASCII}|{_MARKED}[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
        f"{_ASCII}|{_MARKED}|[\r\n]|\\s+(?!\\S)|\\s+",
        # BLOOM, Falcon
        " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+",
        "[0-9][0-9][0-9]",
        "[0-9]",
        " ",
        # GPT-2, as other libraries have it
        _GPT2,
    }
)
"""Expressions for `Split` that match parts of a text."""

REPLACES: frozenset[str] = frozenset({" {2,}"})
"""Expressions for `Replace`."""
