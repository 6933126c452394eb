"""Passes over feature maps of values >= 0, channels last: max pooling and means.

A map that is not negative has bit patterns in the order of its values, so that whole numbers are compared instead.

Letters: B clips, T time, H W places, C channels.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Pool = Callable[[Tensor], Tensor]
"""From a map (B, T, H, W, C), values >= 0, to one of the same channels and dtype whose values are among its own."""

BIT_PATTERNS = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.uint8: torch.uint8}
"""Whole numbers of the same width; those of values >= 0 are in the same order."""


def unpooled(x: Tensor) -> Tensor:
    """Pooling that leaves a map as it is."""
    return x


def max_pool(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Max pooling with TensorFlow's SAME rule for even lengths: windows begin at 0 and are cut off at the end.

    Args:
        x: (B, T, H, W, C) float32, bfloat16 or uint8, values >= 0.
        kernel: over (T, H, W).
        stride: likewise, at most the kernel.
    """
    bits = x.view(BIT_PATTERNS[x.dtype])
    for axis in (2, 3, 1):
        size, step = kernel[axis - 1], stride[axis - 1]
        if size == 1:
            continue
        taps = [_every(bits, axis, tap, step) for tap in range(size)]
        bits = _maximum(taps[0], taps[1], axis)
        for tap in taps[2:]:
            part = bits.narrow(axis, 0, tap.shape[axis])
            torch.maximum(part, tap, out=part)
    return bits.view(x.dtype)


def max_pool_centred(x: Tensor) -> Tensor:
    """Max pooling 3x3x3 with stride 1 around each place: (B, T, H, W, C), values >= 0, to the same shape."""
    bits = x.view(BIT_PATTERNS[x.dtype])
    for axis in (3, 2, 1):
        size = bits.shape[axis]
        wide = _maximum(bits, bits.narrow(axis, 1, size - 1), axis)
        part = wide.narrow(axis, 1, size - 1)
        torch.maximum(part, bits.narrow(axis, 0, size - 1), out=part)
        bits = wide
    return bits.view(x.dtype)


def channel_means(x: Tensor) -> Tensor:
    """Mean of each channel over time and space: (B, T, H, W, C) to (B, C) float32."""
    batch, time, height, width, channels = x.shape
    # A matrix product adds bfloat16 in float32 and costs a tenth of `sum`; planes keep its rounded results small.
    planes = x.reshape(batch * time, height * width, channels)
    sums = torch.bmm(x.new_ones((batch * time, 1, height * width)), planes)
    return sums.view(batch, time, channels).float().sum(dim=1).div_(time * height * width)


def _every(x: Tensor, axis: int, first: int, step: int) -> Tensor:
    index = [slice(None)] * x.ndim
    index[axis] = slice(first, None, step)
    return x[tuple(index)]


def _maximum(long: Tensor, short: Tensor, axis: int) -> Tensor:
    """Element-wise maximum of `long` and `short`, which has no more places along the axis; a new tensor."""
    result = torch.empty(long.shape, dtype=long.dtype, device=long.device)
    size = short.shape[axis]
    torch.maximum(long.narrow(axis, 0, size), short, out=result.narrow(axis, 0, size))
    if rest := long.shape[axis] - size:
        result.narrow(axis, size, rest).copy_(long.narrow(axis, size, rest))
    return result
