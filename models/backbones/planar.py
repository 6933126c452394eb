"""How convolutions over planes compute, with ReLU behind them, and what stands between them: gates, pooling, joining.

`FloatConvolutions` is here; `models.backbones.int8` has them in whole numbers.

Letters: B clips, T time, H W places of a map, N planes, C channels.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.maps import Pool, channel_means, unpooled

Gate = Callable[[Tensor], Tensor]
"""From the means of a map's channels (B, C) to what each is multiplied by, (B, C) in 0..1; both float32."""


class Operand(NamedTuple):
    """A feature map as a convolution takes it: `values * unit`, values >= 0."""

    values: Tensor
    unit: float


class Branch(NamedTuple):
    """A feature map (B, T, H, W, C), values >= 0, and the gate that it has yet to pass."""

    values: Tensor
    gate: Gate


class Convolutions(Protocol):
    """How a network's convolutions compute."""

    @property
    def dtype(self) -> torch.dtype:
        """Of their results: float32 or bfloat16."""

    @property
    def pixel_dtype(self) -> torch.dtype:
        """Of pixels, 0..255, as an operand of unit 1."""

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

    def operand(self, x: Tensor, pool: Pool = unpooled) -> Operand:
        """Pool a map (B, T, H, W, C), values >= 0, and round it to what `make`'s convolutions take."""

    def join(self, branches: Iterable[Branch], channels: int, pool: Pool = unpooled) -> Operand:
        """Gate maps of the same places, put them side by side in `channels` channels, and pool them."""

    def join_means(self, branches: Iterable[Branch], channels: int) -> Tensor:
        """Mean of each channel of what `join` puts side by side: (B, channels) float32."""


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

    def make(self, weight: Tensor, bias: Tensor, padding: Sequence[int], *, pixels: bool = False) -> nn.Module:
        """See `Convolutions`."""
        return _FloatConvolution(weight.to(self.dtype), bias.to(self.dtype), padding)

    def operand(self, x: Tensor, pool: Pool = unpooled) -> Operand:
        """See `Convolutions`."""
        return Operand(pool(x), 1.0)

    def join(self, branches: Iterable[Branch], channels: int, pool: Pool = unpooled) -> Operand:
        """See `Convolutions`. A gate is positive: it may as well act on the fewer values behind the pooling."""
        joined, first = torch.empty(0), 0
        for values, gate in branches:
            weights = gate(channel_means(values)).to(self.dtype)[:, None, None, None, :]
            values = pool(values)
            if not first:
                joined = values.new_empty((*values.shape[:4], channels))
            torch.mul(values, weights, out=joined[..., first : first + values.shape[4]])
            first += values.shape[4]
        return Operand(joined, 1.0)

    def join_means(self, branches: Iterable[Branch], channels: int) -> Tensor:
        """See `Convolutions`."""
        return channel_means(self.join(branches, channels).values)


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
