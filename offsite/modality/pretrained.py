"""How transformers reads files here: from this disk alone, without code; and how that fails."""

from typing import Any

LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""Options of every `from_pretrained`."""


def is_panic(error: BaseException) -> bool:
    """Whether a library in Rust (tokenizers) gave up; its exception is no `Exception`."""
    return type(error).__name__ == "PanicException"
