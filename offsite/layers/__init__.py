"""A causal language model as embeddings, blocks and head: loading it and running its parts.

The only modules that know how transformers builds and calls a model; everything above speaks of
blocks and hidden states. Shapes: B sequences of T tokens, D hidden features, V vocabulary entries.
"""

from offsite.layers.group import agreed, leads, rank, total, workers
from offsite.layers.hardware import device, inference, precision
from offsite.layers.loading import (
    Loaded,
    assemble,
    block_count,
    freeze,
    load,
    quiet,
    save,
    save_companions,
)
from offsite.layers.loss import IGNORED, Batch, each_loss, lm_loss
from offsite.layers.stack import (
    Call,
    Trace,
    blocks,
    checkpoint_gradients,
    context,
    family,
    final_hidden,
    run,
    trace,
    watching,
)
from offsite.layers.tokenizing import encoded

__all__ = [
    "IGNORED",
    "Batch",
    "Call",
    "Loaded",
    "Trace",
    "agreed",
    "assemble",
    "block_count",
    "blocks",
    "checkpoint_gradients",
    "context",
    "device",
    "each_loss",
    "encoded",
    "family",
    "final_hidden",
    "freeze",
    "inference",
    "leads",
    "lm_loss",
    "load",
    "precision",
    "quiet",
    "rank",
    "run",
    "save",
    "save_companions",
    "total",
    "trace",
    "watching",
    "workers",
]
