"""Builds a model around tensors, as transformers does. Nothing here reads a model's folder."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transformers
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from offsite.errors import ModelError
from offsite.families import Family, family_of


def assemble(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PreTrainedModel:
    """Build a model around given tensors, without copying them.

    Raises:
        ModelError: a tensor is missing, or there is one too many.

    Args:
        config: the content of a `config.json`.
        tensors: every tensor of the model by its checkpoint name; tied ones may be absent. All of
            one dtype.
    """
    row = family_of(config)
    dtype = next(iter(tensors.values())).dtype
    with quiet():
        own = AutoConfig.for_model(**{**config, "architectures": [row.architecture]})
        model, found = built(row, own, None, state_dict=dict(tensors), dtype=dtype)
    if surplus := sorted(found["unexpected_keys"]):
        raise ModelError(f"a model of this config has no tensor {surplus[0]}")
    check_found("the emulator", model, found)
    return freeze(model)


def built(
    row: Family, config: PreTrainedConfig, source: Path | None, **options: Any
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Build a model, and say what transformers found of its tensors.

    A model without a head gets one while it is built: SigLIP's initialization reads its weight
    (transformers 5.23).
    """
    headless = bool(row.heads) and not config.num_labels
    if headless:
        config.num_labels = 1
    made: Any = getattr(transformers, row.architecture).from_pretrained(
        source,
        config=config,
        output_loading_info=True,
        attn_implementation=row.attention,
        **options,
    )
    model, found = made
    if headless:
        head = row.heads["head"]
        found["missing_keys"] = {
            name for name in found["missing_keys"] if not name.startswith(f"{head}.")
        }
        model.set_submodule(head, nn.Identity())
        model.config.num_labels = model.num_labels = 0
    return model, found


def check_found(what: str, model: PreTrainedModel, found: Mapping[str, Any]) -> None:
    """Check that transformers made up no tensor, and tied what the config ties."""
    for problem in ("missing_keys", "mismatched_keys"):
        if names := sorted(map(str, found[problem])):
            kind = problem.replace("_", " ")
            raise ModelError(f"cannot load {what}: {kind}: {', '.join(names[:3])}")
    head = model.get_output_embeddings()  # a classifier's head is tied to nothing
    tied = head is not None and model.config.tie_word_embeddings
    if tied and head.weight is not model.get_input_embeddings().weight:
        raise ModelError(
            f"{what} holds a head that differs from the token table, but its config.json ties "
            "them: correct tie_word_embeddings, or remove the head"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' own progress bars and warnings off the terminal."""
    level = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()


def freeze(model: PreTrainedModel) -> PreTrainedModel:
    """Switch gradients and dropout off."""
    model.requires_grad_(False)
    model.eval()
    return model
