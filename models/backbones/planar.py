"""Convolutions over planes with ReLU behind them, for inference: in floating point, or in whole numbers of eight bits.

In whole numbers a map is quantised by its own largest value and weights by the largest of their output channel; nothing
is calibrated beforehand. Sums are exact on every CPU: one without VNNI adds pairs of products in 16 bits, so operands
are kept so small that none saturates.

Letters: B clips, T time, H W places of a map, N planes, C channels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BIT_PATTERNS = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.uint8: torch.uint8}
"""Whole numbers of the same width; those of values >= 0 are in the same order."""

_LARGEST_PIXEL = 255
_LARGEST_IN_MAP = 127
_LARGEST_WEIGHT = 127
_LARGEST_PAIR = 2**15 - 1
_LEAST_UNIT = 1e-30
"""Of a map or a channel that is zero."""


class Operand(NamedTuple):
    """A feature map as a convolution takes it: `values * unit`, values >= 0."""

    values: Tensor
    unit: float


class Convolutions(Protocol):
    """How a network's convolutions compute."""

    @property
    def dtype(self) -> torch.dtype:
        """Of their results: float32 or bfloat16."""

    @property
    def pixel_dtype(self) -> torch.dtype:
        """Of pixels, 0..255, as an operand of unit 1."""

    def operand(self, x: Tensor) -> Operand:
        """Round a map (B, T, H, W, C), values >= 0, to what `make`'s convolutions take."""

    def make(self, weight: Tensor, bias: Tensor, padding: Sequence[int], *, pixels: bool = False) -> nn.Module:
        """Freeze a convolution and the ReLU behind it.

        Args:
            weight: (C_out, C, h, w) float32.
            bias: (C_out,) float32.
            padding: above and below, left and right.
            pixels: whether it takes pixels; else it takes operands.

        Returns:
            A function from (N, H, W, C) and its unit to (N, H', W', C_out) >= 0 of `dtype`.
        """


@dataclass(frozen=True, slots=True)
class FloatConvolutions:
    """Operands and results are of one dtype.

    Attributes:
        dtype: float32 or bfloat16.
    """

    dtype: torch.dtype

    @property
    def pixel_dtype(self) -> torch.dtype:
        """See `Convolutions`."""
        return self.dtype  # whole numbers up to 255 are exact in bfloat16, too

    def operand(self, x: Tensor) -> Operand:
        """See `Convolutions`."""
        return Operand(x, 1.0)

    def make(self, weight: Tensor, bias: Tensor, padding: Sequence[int], *, pixels: bool = False) -> nn.Module:
        """See `Convolutions`."""
        return _FloatConvolution(weight.to(self.dtype), bias.to(self.dtype), padding)


class _FloatConvolution(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor, padding: Sequence[int]) -> None:
        super().__init__()
        self.pointwise = weight.shape[2:].numel() == 1
        weight = weight[:, :, 0, 0] if self.pointwise else weight.contiguous(memory_format=torch.channels_last)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.padding = tuple(padding)

    def forward(self, planes: Tensor, _unit: float) -> Tensor:
        if self.pointwise:
            return F.relu_(F.linear(planes, self.weight, self.bias))
        result = F.conv2d(planes.permute(0, 3, 1, 2), self.weight, self.bias, padding=self.padding)
        return F.relu_(result).permute(0, 2, 3, 1)


@dataclass(frozen=True, slots=True)
class Int8Convolutions:
    """Operands are whole numbers of eight bits, on a CPU; one unit holds for all clips of a map.

    Attributes:
        dtype: of results: float32, or bfloat16 where the CPU computes in it.
    """

    dtype: torch.dtype

    @property
    def pixel_dtype(self) -> torch.dtype:
        """See `Convolutions`."""
        return torch.uint8

    def operand(self, x: Tensor) -> Operand:
        """See `Convolutions`.

        Raises:
            ValueError: the map is not finite.
        """
        peak = x.view(BIT_PATTERNS[x.dtype]).max().view(x.dtype).item()
        if not math.isfinite(peak):
            raise ValueError(f"largest value of a map: got {peak}, expected it finite; are the weights damaged?")
        unit = max(peak / _LARGEST_IN_MAP, _LEAST_UNIT)
        # Conversion to signed bytes is vectorised, that to unsigned ones is not; rounding first, as it cuts off.
        return Operand(torch.mul(x, 1.0 / unit).round_().to(torch.int8).view(torch.uint8), unit)

    def make(self, weight: Tensor, bias: Tensor, padding: Sequence[int], *, pixels: bool = False) -> nn.Module:
        """See `Convolutions`."""
        largest = min(_LARGEST_WEIGHT, _LARGEST_PAIR // (2 * _LARGEST_PIXEL)) if pixels else _LARGEST_WEIGHT
        return _Int8Convolution(weight, bias, padding, largest, self.dtype)


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
