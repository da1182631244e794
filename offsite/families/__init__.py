"""Describes the supported model architectures as data: names and shapes, without torch.

A family is one `Family` row of `offsite.families.table`. The row determines where the blocks are,
which tensors a checkpoint has and in which shapes, which weights LoRA may adapt, and where healing
adds its correction.
"""

from collections.abc import Mapping
from typing import Any

from offsite.errors import UnknownFamilyError
from offsite.families.checks import config_problems, without_unread
from offsite.families.companions import (
    GENERATION_KEYS,
    TOKENIZER_KEYS,
    generation_problems,
    tokenizer_problems,
)
from offsite.families.image_processor import PROCESSOR_KEYS, image_processor_problems
from offsite.families.keys import COMMON_KEYS
from offsite.families.modules import Group, Linear, Module, Norm, Shape, Table, Targets
from offsite.families.row import Family
from offsite.families.stored import Checkpoint
from offsite.families.table import FAMILIES
from offsite.families.tokenizer import named_token_problems, tokenizer_file_problems

__all__ = [
    "COMMON_KEYS",
    "FAMILIES",
    "GENERATION_KEYS",
    "PROCESSOR_KEYS",
    "TOKENIZER_KEYS",
    "Checkpoint",
    "Family",
    "Group",
    "Linear",
    "Module",
    "Norm",
    "Shape",
    "Table",
    "Targets",
    "config_problems",
    "family_named",
    "family_of",
    "generation_problems",
    "image_processor_problems",
    "named_token_problems",
    "tokenizer_file_problems",
    "tokenizer_problems",
    "without_unread",
]


def family_of(config: Mapping[str, Any]) -> Family:
    """Find the family of a model by the `model_type` of its `config.json`.

    Raises:
        UnknownFamilyError: No family has this `model_type`.
    """
    model_type = config.get("model_type")
    for family in FAMILIES:
        if family.model_type == model_type:
            return family
    raise UnknownFamilyError(str(model_type), [family.model_type for family in FAMILIES])


def family_named(architecture: str) -> Family:
    """Find the family whose class in transformers has this name.

    Raises:
        UnknownFamilyError: No family has it.
    """
    for family in FAMILIES:
        if family.architecture == architecture:
            return family
    raise UnknownFamilyError(architecture, [family.architecture for family in FAMILIES])
