"""A model as embeddings, blocks and head: loading it and running its parts.

The only modules that know how transformers builds and calls a model; everything above speaks of
blocks and hidden states. Shapes: B examples of T positions, D hidden features.
"""

from offsite.layers.base import load_base
from offsite.layers.building import assemble, freeze, quiet
from offsite.layers.folders import block_count, modality_of
from offsite.layers.group import agreed, leads, rank, total, workers
from offsite.layers.hardware import deterministic, device, inference, limit_threads, precision
from offsite.layers.lazily import open_lazily, rearranged
from offsite.layers.loading import Loaded, load, save, save_companions
from offsite.layers.loss import batch_loss, example_losses
from offsite.layers.probing import Note, attention_maps, watching_gradients
from offsite.layers.quantizing import Compact, import_bitsandbytes
from offsite.layers.residence import resident
from offsite.layers.spilling import Spilled
from offsite.layers.stack import (
    Call,
    Trace,
    blocks,
    checkpoint_gradients,
    family,
    final_hidden,
    resuming,
    run,
    trace,
    watching,
)
from offsite.layers.streaming import final_states
from offsite.layers.tensors import is_lazy, tensors_of
from offsite.modality.images.head import head_of, pooled

__all__ = [
    "Call",
    "Compact",
    "Loaded",
    "Note",
    "Spilled",
    "Trace",
    "agreed",
    "assemble",
    "attention_maps",
    "batch_loss",
    "block_count",
    "blocks",
    "checkpoint_gradients",
    "deterministic",
    "device",
    "example_losses",
    "family",
    "final_hidden",
    "final_states",
    "freeze",
    "head_of",
    "import_bitsandbytes",
    "inference",
    "is_lazy",
    "leads",
    "limit_threads",
    "load",
    "load_base",
    "modality_of",
    "open_lazily",
    "pooled",
    "precision",
    "quiet",
    "rank",
    "rearranged",
    "resident",
    "resuming",
    "run",
    "save",
    "save_companions",
    "tensors_of",
    "total",
    "trace",
    "watching",
    "watching_gradients",
    "workers",
]
