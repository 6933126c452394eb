"""Convolutions over planes in whole numbers of eight bits, on a CPU.

A map is quantised by its own largest value and weights by the largest of their output channel; nothing is calibrated
beforehand. Sums are exact on every CPU: one without VNNI adds pairs of products in 16 bits, so operands are kept so
small that none saturates.

Behind a convolution a value is read twice and written once, as a byte: first means and largest values of the channels
are found, then gate and rounding are one multiplication. Rounding keeps the order of values: bytes are pooled.

Letters: B clips, T time, H W places of a map, C channels, P places in time and space.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.backbones.maps import BIT_PATTERNS, Pool, unpooled
from models.backbones.planar import Branch, Operand

_LARGEST_PIXEL = 255
_LARGEST_IN_MAP = 127
_LARGEST_WEIGHT = 127
_LARGEST_PAIR = 2**15 - 1
_LEAST_UNIT = 1e-30
"""Of a map or a channel that is zero."""

_SHIFTS = {torch.float32: np.uint32(0), torch.bfloat16: np.uint32(16)}
"""By which a value's bit pattern becomes float32's: bfloat16 is its upper half."""

_ROWS_IN_FLOAT32 = 256
"""Places whose values are added in float32, before their sums are in float64."""


@dataclass(frozen=True, slots=True)
class Int8Convolutions:
    """Operands are whole numbers of eight bits; one unit holds for all clips of a map.

    Attributes:
        dtype: of results: float32, or bfloat16 where the CPU computes in it.
    """

    dtype: torch.dtype

    @property
    def pixel_dtype(self) -> torch.dtype:
        """See `Convolutions`."""
        return torch.uint8

    def make(self, weight: Tensor, bias: Tensor, padding: Sequence[int], *, pixels: bool = False) -> nn.Module:
        """See `Convolutions`."""
        largest = min(_LARGEST_WEIGHT, _LARGEST_PAIR // (2 * _LARGEST_PIXEL)) if pixels else _LARGEST_WEIGHT
        return _Int8Convolution(weight, bias, padding, largest, self.dtype)

    def operand(self, x: Tensor, pool: Pool = unpooled) -> Operand:
        """See `Convolutions`.

        Raises:
            ValueError: the map is not finite.
        """
        unit = _unit(x.view(BIT_PATTERNS[x.dtype]).max().view(x.dtype).item())
        values = torch.empty(x.shape, dtype=torch.uint8)
        _round_into(values, 0, x, torch.full((len(x), x.shape[4]), 1.0 / unit))
        return Operand(pool(values), unit)

    def join(self, branches: Iterable[Branch], channels: int, pool: Pool = unpooled) -> Operand:
        """See `Convolutions`.

        Raises:
            ValueError: a map is not finite.
        """
        gated, peaks = [], []
        for values, gate in branches:
            means, channel_peaks = _means_and_peaks(values)
            weights = gate(means)
            gated.append((values, weights))
            peaks.append((weights * channel_peaks).max())
        unit = _unit(torch.stack(peaks).max().item())
        joined = torch.empty((*gated[0][0].shape[:4], channels), dtype=torch.uint8)
        first = 0
        for values, weights in gated:
            _round_into(joined, first, values, weights / unit)
            first += values.shape[4]
        return Operand(pool(joined), unit)

    def join_means(self, branches: Iterable[Branch], channels: int) -> Tensor:
        """See `Convolutions`."""
        means = [(_means_and_peaks(values)[0], gate) for values, gate in branches]
        return torch.cat([mean * gate(mean) for mean, gate in means], dim=1)


class _Int8Convolution(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor, padding: Sequence[int], largest: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.padding, self.dtype, self.bias = list(padding), dtype, bias
        self.units = (weight.abs().amax(dim=(1, 2, 3)) / largest).clamp_min(_LEAST_UNIT)
        self.zero_points = torch.zeros(len(weight), dtype=torch.int64)
        quantised = (weight / self.units[:, None, None, None]).round().to(torch.int8)
        self.packed = torch.ops.onednn.qconv_prepack(
            quantised.contiguous(memory_format=torch.channels_last), self.units, 1.0, 0, *self._shape()
        )

    def _shape(self) -> tuple[list[int], list[int], list[int], int]:
        """Stride, padding, dilation, groups."""
        return [1, 1], self.padding, [1, 1], 1

    def forward(self, planes: Tensor, unit: float) -> Tensor:
        result: Tensor = torch.ops.onednn.qconv2d_pointwise(
            planes.permute(0, 3, 1, 2), unit, 0, self.packed, self.units, self.zero_points, self.bias, *self._shape(),
            1.0, 0, self.dtype, "relu", [], "",
        )  # fmt: skip
        return result.permute(0, 2, 3, 1)


def _unit(peak: float) -> float:
    if not math.isfinite(peak):
        raise ValueError(f"largest value of a map: got {peak}, expected it finite; are the weights damaged?")
    return max(peak / _LARGEST_IN_MAP, _LEAST_UNIT)


def _means_and_peaks(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and largest value of each channel: (B, T, H, W, C) float32 or bfloat16, values >= 0, to (B, C) float32."""
    rows = _rows(x)
    sums = np.zeros((len(x), x.shape[4]), dtype=np.float64)
    peaks = np.zeros(sums.shape, dtype=rows.dtype)
    for clip in range(len(x)):
        _add_and_compare(rows[clip], _SHIFTS[x.dtype], sums[clip], peaks[clip])
    means = torch.from_numpy((sums / rows.shape[1]).astype(np.float32))
    return means, torch.from_numpy(peaks).view(x.dtype).float()


def _round_into(target: Tensor, first: int, x: Tensor, scales: Tensor) -> None:
    """Write `round(x * scales)`, ties to even, into channels of a map of bytes.

    Args:
        target: (B, T, H, W, C_all) uint8, contiguous.
        first: the first of the channels.
        x: (B, T, H, W, C) float32 or bfloat16, values >= 0.
        scales: (B, C) float32; products lie in 0..255.
    """
    rows, rounded = _rows(x), target.flatten(1, 3).numpy()
    for clip in range(len(x)):
        _scale_and_round(rows[clip], _SHIFTS[x.dtype], scales[clip].numpy(), first, rounded[clip])


def _rows(x: Tensor) -> NDArray[np.signedinteger]:
    """Bit patterns of a map: (B, T, H, W, C) to (B, P, C)."""
    bits: NDArray[np.signedinteger] = x.view(BIT_PATTERNS[x.dtype]).flatten(1, 3).contiguous().numpy()
    return bits


# Loops over contiguous rows, each of one kind, are what the compiler turns into vector instructions.


@numba.njit(inline="always")  # type: ignore[untyped-decorator]  # numba has no types
def _value(bits: np.signedinteger, shift: np.uint32) -> np.float32:
    return np.uint32(np.uint32(bits) << shift).view(np.float32)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_and_compare(
    rows: NDArray[np.signedinteger], shift: np.uint32, sums: NDArray[np.float64], peaks: NDArray[np.signedinteger]
) -> None:
    """Add (P, C) rows to sums (C,), and raise peaks (C,), as bit patterns, to the largest."""
    part = np.empty(len(sums), np.float32)
    for first in range(0, len(rows), _ROWS_IN_FLOAT32):
        part[:] = 0
        for place in range(first, min(first + _ROWS_IN_FLOAT32, len(rows))):
            row = rows[place]
            for channel in range(len(row)):
                part[channel] += _value(row[channel], shift)
            for channel in range(len(row)):
                peaks[channel] = max(peaks[channel], row[channel])
        for channel in range(len(part)):
            sums[channel] += part[channel]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _scale_and_round(
    rows: NDArray[np.signedinteger],
    shift: np.uint32,
    scales: NDArray[np.float32],
    first: int,
    target: NDArray[np.uint8],
) -> None:
    """Round (P, C) rows, scaled by (C,), into (P, C_all) from channel `first` on."""
    for place in range(len(rows)):
        row, rounded = rows[place], target[place, first : first + rows.shape[1]]
        for channel in range(len(row)):
            rounded[channel] = np.uint8(np.rint(_value(row[channel], shift) * scales[channel]))
