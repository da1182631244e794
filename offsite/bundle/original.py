"""The full model in its owner's folder: which files are read, and checks of them.

transformers looks for far more than a model needs: adapters, weights that an index or the config
names, tokenizers of other formats. What is read is decided here by name, so that a digest over
those files covers everything that has an effect. No torch.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from offsite.bundle.files import headers
from offsite.errors import BundleError, ModelError
from offsite.families import Checkpoint, Family

INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"
_ADAPTER = "adapter_config.json"

_OTHER_WEIGHTS = (".bin", ".gguf", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx")

_BESIDE = frozenset(
    {"config.json", "generation_config.json"}
    | {"tokenizer.json", "tokenizer_config.json", "tokenizer.model"}
    | {"special_tokens_map.json", "added_tokens.json", "preprocessor_config.json"}
)
_INSTEAD_OF_TOKENIZER_JSON = frozenset({"vocab.json", "merges.txt", "vocab.txt"})
_NOT_OF_THE_MODEL = re.compile(
    # of adapters, of Mistral's own format, and of variants such as fp16
    r"(adapter_.*|consolidated.*|model\.[^.]+)\.safetensors"
)

_LOADS_MORE: Mapping[str, Mapping[str, str]] = {
    "config.json": {
        "quantization_config": "use the unquantized weights",
        "per_layer_config": "blocks that differ in size are not supported",
        "transformers_weights": "name the weights model.safetensors",
        "fusion_config": "remove it",
    },
    "tokenizer_config.json": {
        "fast_tokenizer_files": "name the file tokenizer.json",
        **dict.fromkeys(("init_inputs", "vocab", "merges", "gguf_file"), "remove it"),
    },
}
"""Keys that make transformers load something else than these files say, and what to do."""


def files_read(names: Iterable[str]) -> frozenset[str]:
    """Choose the files of a model's folder that decide what it computes; no other is read.

    The index of sharded weights is read too, but decides nothing: `check_original`.
    """
    there = frozenset(names)
    beside = there & _BESIDE
    if "tokenizer.json" not in there:
        beside |= there & _INSTEAD_OF_TOKENIZER_JSON
    return beside | _weights(there)


def _weights(names: frozenset[str]) -> frozenset[str]:
    if _WHOLE in names:
        return frozenset({_WHOLE})
    found = {name for name in names if name.endswith(".safetensors")}
    return frozenset(name for name in found if not _NOT_OF_THE_MODEL.fullmatch(name))


def weights_in(folder: Path) -> list[Path]:
    """List the files of a model's weights."""
    return sorted(folder / name for name in _weights(frozenset(_names(folder))))


def check_original(folder: Path) -> frozenset[str]:
    """Check what is in a model's folder; give the names of the files to show to transformers.

    Raises:
        ModelError: it is no model, an adapter belongs to it, a file that should be a JSON object is
            none, or its files lead to others.
    """
    names = frozenset(_names(folder))
    weights = _weights(names)
    if "config.json" not in names or not weights:
        raise _no_model(folder, names)
    if _ADAPTER in names:
        raise ModelError(
            f"{folder} holds an adapter beside the model ({_ADAPTER}); merge it into the weights "
            "(merge_and_unload of peft), or move its files away"
        )
    read = files_read(names)
    objects = {name: _content(folder / name) for name in read if name.endswith(".json")}
    for name, refused in _LOADS_MORE.items():
        content = objects.get(name, {})
        for key in refused.keys() & content.keys():
            if content[key] not in (None, [], {}):
                raise ModelError(f"{folder / name}: {key} is not supported; {refused[key]}")
    if _WHOLE in names:
        return read
    _check_index(folder, weights)
    return read | {INDEX}


def _no_model(folder: Path, names: frozenset[str]) -> ModelError:
    if not folder.is_dir():
        return ModelError(
            f"there is no folder {folder}; write a model of the hub as hf://ORG/NAME@REVISION"
        )
    others = sorted(name for name in names if name.endswith(_OTHER_WEIGHTS))
    if others and not _weights(names):
        return ModelError(
            f"{folder} has its weights as {others[0]} only, which offsite does not read; load the "
            "model with transformers, and write it with save_pretrained, as safetensors"
        )
    return ModelError(
        f"{folder} is not a model: it needs config.json, a tokenizer and *.safetensors; check "
        "the location"
    )


def _names(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []


def _content(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelError: it is none, or cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a JSON object")
    return content


def _check_index(folder: Path, weights: frozenset[str]) -> None:
    """Check that the index names the very files of weights that are there."""
    path = folder / INDEX
    if not path.is_file():
        raise ModelError(f"{folder} has neither {_WHOLE} nor {INDEX}; save the model anew")
    table = _content(path).get("weight_map")
    named = set(table.values()) if isinstance(table, dict) else set()
    for name in sorted(map(str, named - weights)):
        raise ModelError(f"{path} names {name!r}, which is no file of weights in {folder}")
    for name in sorted(weights - named):
        raise ModelError(f"{folder / name} is not named in {INDEX}; move it away, or complete that")


def check_tensors(folder: Path, row: Family, config: Mapping[str, Any]) -> frozenset[str]:
    """Check that a model's files hold the tensors that its config names, and no others.

    Args:
        config: as transformers completes it.

    Returns:
        the dtypes of its tensors; those of buffers do not count.

    Raises:
        ModelError: one is missing, unknown, there twice, or of another shape.
    """
    checkpoint = Checkpoint.of(row, config)
    found: dict[str, tuple[Path, str]] = {}
    for path in weights_in(folder):
        for stored, shape, dtype in _headers(path):
            if (name := checkpoint.name(stored)) is None:
                continue
            table = checkpoint.tied.get(name, name)
            if (wanted := checkpoint.tensors.get(table)) is None:
                raise ModelError(
                    f"{path} holds the tensor {stored!r}, of which {folder / 'config.json'} says "
                    "nothing; correct the config, or remove the tensor"
                )
            if name in found:
                raise ModelError(f"{path} holds {stored!r}, which is in {found[name][0]} already")
            if shape != wanted:
                raise ModelError(
                    f"{path}: {stored!r} has the shape {list(shape)}, but {folder / 'config.json'} "
                    f"says {list(wanted)}"
                )
            found[name] = path, dtype
    there = {checkpoint.tied.get(name, name) for name in found}
    if lacking := sorted(checkpoint.tensors.keys() - there):
        raise ModelError(f"the model {folder} lacks {len(lacking)} tensors: {lacking[0]} …")
    return frozenset(dtype for _, dtype in found.values())


def _headers(path: Path) -> list[tuple[str, tuple[int, ...], str]]:
    try:
        return list(headers(path))
    except BundleError as error:
        raise ModelError(str(error)) from error
