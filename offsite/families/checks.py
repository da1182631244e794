"""Checks the config.json of a received bundle.

transformers acts on every key of that file, so only known keys with valid values are allowed.
"""

from collections.abc import Mapping
from typing import Any

from offsite.families import kinds
from offsite.families.keys import COMMON_KEYS, CONFIG_KINDS
from offsite.families.kinds import Kind, problems
from offsite.families.modules import Config
from offsite.families.row import Family
from offsite.families.table import FAMILIES

ROPE_NEEDS: Mapping[str, frozenset[str]] = {
    "default": frozenset(),
    "linear": frozenset({"factor"}),
    "dynamic": frozenset({"factor"}),
    "yarn": frozenset({"factor"}),
    "longrope": frozenset({"short_factor", "long_factor"}),
    "llama3": frozenset({"factor", "low_freq_factor", "high_freq_factor"}),
}
"""The known types of rotary embeddings, and the keys that each requires."""
_ROPE_NUMBERS = ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim")
ROPE_KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("rope_type", "type"), kinds.among(ROPE_NEEDS)),
    **dict.fromkeys(("rope_theta", "factor"), kinds.POSITIVE),
    **dict.fromkeys(("low_freq_factor", "high_freq_factor"), kinds.POSITIVE),
    **dict.fromkeys(("short_factor", "long_factor"), kinds.lists(kinds.POSITIVE)),
    **dict.fromkeys(_ROPE_NUMBERS, kinds.NUMBER.or_null()),
    "partial_rotary_factor": kinds.SHARE,
    "original_max_position_embeddings": kinds.SIZE,
    "truncate": kinds.BOOL,
}
_ROPE_KEYS = ("rope_parameters", "rope_scaling")


def config_problems(config: Config) -> list[str]:
    """List all problems of a config.json, each with the path of its key."""
    named = config.get("model_type")
    family = next((row for row in FAMILIES if row.model_type == named), None)
    if family is None:
        return kinds.among(row.model_type for row in FAMILIES).problems("model_type", named)
    found = _key_problems(family, config) + _rope_problems(family, config)
    found += kinds.among([family.architecture]).problems(
        "architectures", _only(config.get("architectures"))
    )
    # the remaining checks compute with the values, so these must be valid
    return found or _size_problems(family, config)


def without_unread(config: Config) -> dict[str, Any]:
    """Copy a config without what the model does not depend on.

    Rotary parameters that transformers never reads, such as yarn's `attn_factor`, and keys that
    only other classes of a vision model read.
    """
    rows = [row for row in FAMILIES if row.model_type == config.get("model_type")]
    unread = frozenset[str]().union(*(row.unread for row in rows))
    ropes = {key: _read(value) for key, value in config.items() if key in _ROPE_KEYS}
    return {key: value for key, value in {**config, **ropes}.items() if key not in unread}


def _read(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and value.keys() <= kinds.LAYER_TYPES:
        return {name: _read(rope) for name, rope in value.items()}
    return {key: each for key, each in value.items() if key in ROPE_KINDS}


def _key_problems(family: Family, config: Config) -> list[str]:
    twice = [
        f"{alias}: means the same as {key}, which is also set; remove one"
        for alias, key in family.aliases.items()
        if alias in config and key in config
    ]
    known = {key: kind for key, kind in CONFIG_KINDS.items() if key in family.sized_keys}
    known |= {alias: known[key] for alias, key in family.aliases.items()}
    if family.config_under:
        return _nested_problems(family.config_under, config, known)
    rest = {key: value for key, value in config.items() if key not in _ROPE_KEYS}
    return twice + problems(rest, known)


def _nested_problems(under: str, config: Config, known: Mapping[str, Kind]) -> list[str]:
    part = config.get(under)
    if not isinstance(part, dict):
        return [f"{under}: must be a table"]
    top = {key: kind for key, kind in CONFIG_KINDS.items() if key in COMMON_KEYS}
    rest = {key: value for key, value in config.items() if key != under}
    return problems(rest, top) + problems(part, known, f"{under}.")


def _rope_problems(family: Family, config: Config) -> list[str]:
    found: list[str] = []
    for key in _ROPE_KEYS:
        value = config.get(key)
        if key not in config or (value is None and key in family.config_keys):
            continue
        if key not in family.config_keys:
            found.append(f"{key}: is not allowed")
        elif key == "rope_parameters" and family.rope_per_type:
            found += _rope_per_type(key, value)
        else:
            found += _rope(key, value)
    return found


def _rope_per_type(path: str, value: Any) -> list[str]:
    if not isinstance(value, dict) or not value.keys() <= kinds.LAYER_TYPES:
        return [f"{path}: must be a table of {' and '.join(sorted(kinds.LAYER_TYPES))}"]
    return [problem for name, rope in value.items() for problem in _rope(f"{path}.{name}", rope)]


def _rope(path: str, value: Any) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: must be a table of rotary parameters"]
    found = problems(value, ROPE_KINDS, f"{path}.")
    if found:
        return found
    kind = str(value.get("rope_type", value.get("type", "default")))
    lacking = sorted(ROPE_NEEDS[kind] - value.keys())
    return [f"{path}.{key}: is missing; {kind} requires it" for key in lacking]


def _size_problems(family: Family, config: Config) -> list[str]:
    try:
        sizes = family.sizes(config)
        family.count(config)
    except KeyError as error:
        return [f"{error.args[0]}: is missing"]
    except ValueError as error:
        return [str(error)]
    return [
        *_head_problems(family, config),
        *_block_problems(family, config),
        *_padding_problems(config, sizes.get("V")),
        *_label_problems(family, config),
        *family.refusals(config),
    ]


def _head_problems(family: Family, config: Config) -> list[str]:
    full = family.complete(config)
    key = family.aliases.get("num_attention_heads", "num_attention_heads")
    width, heads = full[family.aliases.get("hidden_size", "hidden_size")], full.get(key)
    if heads is None:
        return [f"{key}: is missing"]
    groups = full.get("num_key_value_heads") or heads
    found = [f"{key}: {heads} does not divide the width {width}"] if width % heads else []
    if heads % groups:
        found.append(f"num_key_value_heads: {groups} does not divide {heads} attention heads")
    return found


def _block_problems(family: Family, config: Config) -> list[str]:
    full, depth = family.complete(config), family.count(config)
    found: list[str] = []
    for key, assumed in family.per_block.items():
        entries = full.get(key) or assumed(full)
        if len(entries) != depth:
            found.append(f"{key}: has {len(entries)} entries for {depth} blocks")
        if "sliding_attention" in entries and not _window(full):
            found.append(f"{key}: has sliding_attention, but sliding_window is not set")
    return found


def _window(full: Config) -> Any:
    return full.get("use_sliding_window", True) and full.get("sliding_window", True)


def _padding_problems(config: Config, vocabulary: int | None) -> list[str]:
    padding = config.get("pad_token_id")
    if vocabulary is not None and isinstance(padding, int) and padding >= vocabulary:
        return [f"pad_token_id: {padding} is beyond the vocabulary of {vocabulary}"]
    return []


def _label_problems(family: Family, config: Config) -> list[str]:
    if not family.heads:
        return []
    labels = config.get("id2label")
    if labels is None:
        return ["id2label: is missing; it is empty if the model has no head"]
    if list(labels) != [str(number) for number in range(len(labels))]:
        return ["id2label: must have the keys 0, 1, 2, … in this order"]
    wrong = [name for name in labels.values() if not kinds.LABEL.test(name)]
    return [f"id2label: each must be {kinds.LABEL.meaning}"] if wrong else []


def _only(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value
