"""A causal language model as embeddings, blocks and head: loading it and running its parts.

The only module that knows how transformers builds and calls a model. Shapes: B sequences of T
tokens, D hidden features, V vocabulary entries.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from offsite.bundle import strip_companions
from offsite.errors import ModelError, OffsiteError
from offsite.families import Family, family_of

_SHARD = "2GB"

_MOST_LOGITS = 1 << 26
"""256 MB in float32: as many at once are faster than chunks of them."""

_CONTEXT = 2048
"""Where the config sets no limit (BLOOM)."""

IGNORED = -100
"""The target of a position where no loss is taken, as torch has it."""

_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""What a block is called with, beside the hidden state."""


def device() -> torch.device:
    """Choose where to compute: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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


@contextmanager
def inference() -> Iterator[None]:
    """Compute without gradients, at the precision that suits the device."""
    with torch.no_grad(), precision():
        yield


@contextmanager
def precision() -> Iterator[None]:
    """Multiply in bfloat16 where the hardware does, in the model's own dtype elsewhere."""
    kind = device().type
    with torch.autocast(kind, torch.bfloat16, enabled=_multiplies_bfloat16(kind)):
        yield


def _multiplies_bfloat16(kind: str) -> bool:
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))


def family(model: PreTrainedModel) -> Family:
    """Find the table row of a loaded model."""
    return family_of(model.config.to_dict())


@dataclass(frozen=True)
class Loaded:
    """A model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    dtype: torch.dtype
    """What its tensors are on disk; in memory they are float32 where there is no GPU."""


def load(folder: Path) -> Loaded:
    """Load a model from a folder, frozen and in evaluation mode.

    Reads `safetensors` only, and runs no code that lies in the folder.

    Raises:
        UnknownFamilyError: the architecture has no row in the family table.
        ModelError: there is no such model, or its files are damaged.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} is not a model: it has no config.json")
    try:
        with quiet():
            # before transformers, which tells of a family that it does not know in its own words,
            # and makes lists of as many blocks as a damaged config says
            raw = json.loads((folder / "config.json").read_bytes())
            family_of(raw).count(raw)
            config = AutoConfig.from_pretrained(folder, **_LOCAL)
            row = family_of(config.to_dict())
            if refusals := row.refusals(config.to_dict()):
                raise ModelError(f"the model {folder} cannot be used: {'; '.join(refusals)}")
            row.sizes(config.to_dict())
            opened: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                output_loading_info=True,
                dtype="auto",
                attn_implementation=row.attention,
                use_safetensors=True,
                **_LOCAL,
            )
            model, found = opened
            if lacking := sorted(found["missing_keys"]):  # transformers would make them up
                raise ModelError(f"the model {folder} lacks {len(lacking)} tensors: {lacking[0]} …")
            tokenizer = AutoTokenizer.from_pretrained(folder, **_LOCAL)
    except OffsiteError:
        raise
    # of a damaged file, transformers and the libraries below it raise anything at all
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"cannot load the model {folder}: {reason}") from error
    stored = model.dtype
    # on a CPU, what is not multiplied in bfloat16 is faster, and more exact, in float32
    wanted = torch.float32 if device().type == "cpu" else stored
    return Loaded(freeze(_moved(model, wanted)), tokenizer, stored)


def save(loaded: Loaded, folder: Path) -> None:
    """Write a model as a Hugging Face folder, in the dtype that it is meant to have on disk.

    Only what a bundle may hold is left there: no templates, no keys that transformers would act on.
    """
    _moved(loaded.model, loaded.dtype)
    with quiet():
        loaded.model.save_pretrained(folder, max_shard_size=_SHARD)
        loaded.tokenizer.save_pretrained(folder)
    strip_companions(folder)


def assemble(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PreTrainedModel:
    """Build a model around given tensors, without copying them.

    Args:
        config: the content of a `config.json`.
        tensors: every tensor of the model by its checkpoint name; tied ones may be absent. All of
            one dtype.
    """
    row = family_of(config)
    dtype = next(iter(tensors.values())).dtype
    with quiet():
        model: PreTrainedModel = getattr(transformers, row.architecture).from_pretrained(
            None,
            config=AutoConfig.for_model(**{**config, "architectures": [row.architecture]}),
            state_dict=dict(tensors),
            dtype=dtype,
            attn_implementation=row.attention,
        )
    return freeze(model)


def _moved(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Move a model, in place, to the device and to a dtype."""
    nn.Module.to(model, device(), dtype)
    return model


def freeze(model: PreTrainedModel) -> PreTrainedModel:
    """Switch gradients and dropout off."""
    model.requires_grad_(False)
    model.eval()
    return model


def context(model: PreTrainedModel) -> int:
    """Count the tokens that a model can read at once."""
    config = model.config.to_dict()
    return int(config.get("max_position_embeddings") or config.get("n_positions") or _CONTEXT)


def blocks(model: PreTrainedModel) -> nn.ModuleList:
    """Get the model's blocks, bottom first."""
    found = model.get_submodule(family(model).blocks)
    assert isinstance(found, nn.ModuleList)
    return found


class _Traced(Exception):
    """The last probe was reached; there is nothing left to run."""


class _Probe(nn.Module):
    """Stands where a block was, and notes what it is called with."""

    def __init__(self, seen: list[tuple[Any, Call]], total: int) -> None:
        super().__init__()
        self.seen, self.total = seen, total

    def forward(self, hidden: Any, *args: Any, **kwargs: Any) -> tuple[Any]:
        self.seen.append((hidden, (args, kwargs)))
        if len(self.seen) == self.total:
            raise _Traced
        return (hidden,)  # nobody reads it, but BLOOM takes its first item


@dataclass(frozen=True)
class Trace:
    """The input of the first block, and how the model calls each of its blocks."""

    hidden: Tensor
    """(B, T, D)"""
    calls: Sequence[Call]


def trace(model: PreTrainedModel, tokens: Tensor) -> Trace:
    """Run the model's own code up to its first block, and note how it would call every block.

    Masks and positions differ by family and by block, and depend on the shape of the input alone;
    noting them saves a line of code for each family.

    Args:
        tokens: (B, T) ids, unpadded or padded on the right.
    """
    path = family(model).blocks
    parent, _, name = path.rpartition(".")
    holder, real = model.get_submodule(parent), blocks(model)
    seen: list[tuple[Any, Call]] = []
    setattr(holder, name, nn.ModuleList(_Probe(seen, len(real)) for _ in real))
    try:
        model.base_model(input_ids=tokens, use_cache=False)
    except _Traced:
        pass
    finally:
        setattr(holder, name, real)
    return Trace(seen[0][0], [call for _, call in seen])


def run(modules: Iterable[nn.Module], hidden: Tensor, calls: Iterable[Call]) -> Tensor:
    """Run blocks one after the other on a hidden state (B, T, D), each with its call."""
    for module, (args, kwargs) in zip(modules, calls, strict=True):
        output = module(hidden, *args, **kwargs)
        hidden = output[0] if isinstance(output, tuple) else output
    return hidden


@contextmanager
def watching(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a block puts out, (B, T, D) each, while the `with` block runs."""
    seen: list[Tensor] = []

    def note(_module: nn.Module, _args: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    handle = module.register_forward_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def checkpoint_gradients(model: PreTrainedModel) -> None:
    """Recompute each block's activations on the way back instead of keeping them.

    transformers' own switch works in training mode only, where OPT's blocks drop out, and builds a
    graph below the first trained tensor too.
    """
    for block in blocks(model):
        block.forward = partial(
            checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False
        )


def final_hidden(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    """Compute what the head reads, (B, T, D), without any logits."""
    hidden = model.base_model(input_ids=tokens, use_cache=False)[0]
    assert isinstance(hidden, Tensor)
    return hidden


@dataclass(frozen=True)
class Batch:
    """Sequences of tokens, and what to predict where."""

    tokens: Tensor
    """(B, T) ids, padded on the right."""
    targets: Tensor
    """(B, T): the token that follows each position, or `IGNORED` where no loss is taken."""

    def to(self, where: torch.device) -> "Batch":
        """Copy the batch to a device."""
        return Batch(self.tokens.to(where), self.targets.to(where))


def lm_loss(model: PreTrainedModel, batch: Batch, hidden: Tensor | None = None) -> Tensor:
    """Compute the mean cross entropy, in nats per scored token, of a batch.

    Logits are computed where a loss is taken only, and never all at once if they are many.

    Args:
        hidden: what the head reads, (B, T, D), where it is known already.
    """
    if hidden is None:
        hidden = final_hidden(model, batch.tokens)
    scored = batch.targets != IGNORED
    read, targets = hidden[scored], batch.targets[scored]
    head = model.get_output_embeddings()
    if len(targets) * head.weight.shape[0] <= _MOST_LOGITS or _cap(model) is not None:
        return nn.functional.cross_entropy(_logits(model, read), targets)
    return nn.functional.linear_cross_entropy(
        read.to(head.weight.dtype),
        head.weight,
        targets,
        linear_bias=head.bias,
        options=nn.LinearCrossEntropyOptions(),
    )


def each_loss(model: PreTrainedModel, hidden: Tensor, targets: Tensor) -> Tensor:
    """Compute the cross entropy in nats of each target (N,) from what the head reads, (N, D)."""
    rows = max(1, _MOST_LOGITS // model.get_output_embeddings().weight.shape[0])
    parts = zip(hidden.split(rows), targets.split(rows), strict=True)
    losses = [
        nn.functional.cross_entropy(_logits(model, read), wanted, reduction="none")
        for read, wanted in parts
    ]
    return torch.cat(losses)


def _cap(model: PreTrainedModel) -> float | None:
    """Gemma 2 and 3 press their logits below a limit."""
    cap: float | None = model.config.to_dict().get("final_logit_softcapping")
    return cap


def _logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    logits: Tensor = model.get_output_embeddings()(hidden).float()
    cap = _cap(model)
    return logits if cap is None else torch.tanh(logits / cap) * cap
