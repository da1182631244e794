"""Linear layers whose frozen weight is held smaller than it is multiplied, in 16, 8 or 4 bits.

It is converted where it is used, and again on the way back.

Only bitsandbytes' functions are used, not its modules, which pack a weight again for inference.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor, nn

Quantization = Literal["Int8", "NF4"]

_LARGEST = 127


class Compact(nn.Linear):
    """A frozen linear layer that converts its weight when it runs; gradients reach its input.

    Args:
        weight: (out, in)
        bias: (out,)
        how: how the weight is quantized; None: it is held as it is.
        transposed: whether the model stores it as (in, out).
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        how: Quantization | None = None,
        transposed: bool = False,
    ) -> None:
        outputs, inputs = weight.shape
        super().__init__(inputs, outputs, bias=False, device="meta")
        packed, self._unpack = _FORMATS[how](weight)
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.register_parameter(
            "bias", None if bias is None else nn.Parameter(bias, requires_grad=False)
        )
        self._transposed = transposed

    def forward(self, read: Tensor) -> Tensor:
        """Multiply as a linear layer does, in autocast's dtype where that is on."""
        kind = read.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else read.dtype
        result: Tensor = _Multiply.apply(read.to(dtype), self)
        return result

    def unpacked(self) -> Tensor:
        """Compute the weight, (out, in)."""
        return self._unpack(self.weight)

    def matrix(self) -> Tensor:
        """Compute the weight as the model stores it."""
        return self.unpacked().T if self._transposed else self.unpacked()


class _Multiply(torch.autograd.Function):
    """Multiplies by a weight that is not kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, read: Tensor, module: Compact) -> Tensor:
        ctx.module = module
        bias = None if module.bias is None else module.bias.to(read.dtype)
        return nn.functional.linear(read, module.unpacked().to(read.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return gradient @ ctx.module.unpacked().to(gradient.dtype), None


Unpack = Callable[[Tensor], Tensor]


def _int8(weight: Tensor) -> tuple[Tensor, Unpack]:
    """Round to 255 steps between a row's largest numbers, as LLM.int8 (arXiv 2208.07339)."""
    wide = weight.float()
    tiny = torch.finfo(torch.float32).tiny
    scale = wide.abs().amax(dim=1, keepdim=True).clamp(min=tiny * _LARGEST) / _LARGEST
    packed = (wide / scale).round().to(torch.int8)
    return packed, lambda held: (held * scale).to(weight.dtype)


def _nf4(weight: Tensor) -> tuple[Tensor, Unpack]:
    """Round to NF4 with double quantization, as QLoRA (arXiv 2305.14314)."""
    functional = import_bitsandbytes()
    packed, state = functional.quantize_4bit(weight, compress_statistics=True, quant_type="nf4")
    return packed, partial(functional.dequantize_4bit, quant_state=state)


_FORMATS: dict[Quantization | None, Callable[[Tensor], tuple[Tensor, Unpack]]] = {
    None: lambda weight: (weight, lambda held: held),
    "Int8": _int8,
    "NF4": _nf4,
}


def import_bitsandbytes() -> Any:
    """Import `bitsandbytes.functional`. Call this before any other import of bitsandbytes.

    On a CPU with bfloat16, bitsandbytes downloads compiled code from a hub and runs it if the
    package `kernels` is installed. So it must not find that package.
    """
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")  # warns that it is not there
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with _hidden("kernels"):
            return import_module("bitsandbytes.functional")
    finally:
        logger.setLevel(level)


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Make the import of a package fail in the `with` block."""
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
