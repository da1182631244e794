"""The floating-point formats of safetensors files, as float32 numbers and back. No torch."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from offsite.bundle.sketch import Floats

Bytes = NDArray[np.uint8]

SIZES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
"""Bytes of a number, by the format's name in a safetensors header."""


def decode(raw: bytes, dtype: str) -> Floats:
    """Convert little-endian numbers of a format to float32."""
    return _DECODERS[dtype](np.frombuffer(raw, np.uint8))


def encode(values: Floats, dtype: str) -> bytes:
    """Round float32 numbers to F32, BF16 or F16: to the nearest, ties to even."""
    if dtype == "BF16":
        bits = values.astype("<f4", copy=False).view("<u4")
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        return ((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype("<u2").tobytes()
    with np.errstate(over="ignore"):  # the caller replaces what becomes infinite
        return values.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


def _bfloat16(raw: Bytes) -> Floats:
    wide: Floats = (raw.view("<u2").astype("<u4") << np.uint32(16)).view("<f4")
    return wide


def _float8(exponent: int, bias: int) -> Floats:
    """Tabulate the 256 values of an 8-bit float; the rest of its bits are the mantissa."""
    codes = np.arange(256)
    fraction = 7 - exponent
    power, mantissa = (codes >> fraction) % 2**exponent, (codes % 2**fraction) / 2**fraction
    size = np.where(power > 0, (1 + mantissa) * 2.0 ** (power - bias), mantissa * 2.0 ** (1 - bias))
    values: Floats = np.where(codes < 128, size, -size).astype(np.float32)
    return values


# what stands for infinity and NaN in E5M2, and for NaN in E4M3, is a number here: no model has it
_E4M3, _E5M2 = _float8(4, 7), _float8(5, 15)

_DECODERS: dict[str, Callable[[Bytes], Floats]] = {
    "F64": lambda raw: raw.view("<f8").astype(np.float32),
    "F32": lambda raw: raw.view("<f4"),
    "BF16": _bfloat16,
    "F16": lambda raw: raw.view("<f2").astype(np.float32),
    "F8_E4M3": lambda raw: _E4M3[raw],
    "F8_E5M2": lambda raw: _E5M2[raw],
}
