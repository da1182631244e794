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
from offsite.families.modules import Linear, Module, Norm, Shape, Table
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
    "Linear",
    "Module",
    "Norm",
    "Shape",
    "Table",
    "config_problems",
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
