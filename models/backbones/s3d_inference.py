"""The video tower of S3D-G as a frozen function, in the form that is fast: 2-D, channels last, folded, in few passes.

Feature maps are (B, T, H, W, C), contiguous. What the plain network (`models.backbones.s3d`) does in other shapes:

* Each convolution extends over space only or over time only, so it is a 2-D one over planes, or a matrix product;
  `conv1` is one once each frame pair's successor lies beside it in the channels.
* Batch norm is folded into the convolutions, and the pixels' 1/255 into the first.
* A gate is positive and a feature map is not negative. So a gate is applied where its branch is copied beside the
  others anyway, or behind a max pooling, and max pooling compares bit patterns as whole numbers.

Letters: B clips, F frames a clip, H W pixels or places of a map, C channels, T time of a map.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.backbones.planar import BIT_PATTERNS, Convolutions, Operand
from models.backbones.s3d import S3D, ConvNorm, MixedBlock, S3DOutput, SamePool, SelfGating

_PAIRS = {torch.float32: torch.int64, torch.bfloat16: torch.int32, torch.uint8: torch.int16}
_PIXEL_SCALE = 1.0 / 255.0


class PlanarConv(nn.Module):
    """A convolution over space only, over time only or over channels only, with ReLU behind it."""

    def __init__(self, conv: nn.Conv3d, convolutions: Convolutions) -> None:
        """Take the weights of a 3-D convolution with an odd kernel, stride 1 and a bias.

        Raises:
            ValueError: its kernel extends over time and over space, or it has no bias.
        """
        super().__init__()
        time, height, width = conv.kernel_size
        if conv.bias is None or (time != 1 and height * width != 1):
            raise ValueError(f"planar convolution: got {conv}, expected a bias and a kernel (t, 1, 1) or (1, h, w)")
        self.over_time = time != 1
        padding = (time // 2, 0) if self.over_time else (height // 2, width // 2)
        weight = conv.weight.detach()
        weight = weight[:, :, :, 0] if self.over_time else weight[:, :, 0]
        self.convolve = convolutions.make(weight, conv.bias.detach(), padding)

    def forward(self, operand: Operand) -> Tensor:
        """Map (B, T, H, W, C_in) to (B, T, H, W, C_out), values >= 0."""
        batch, time, height, width, channels = operand.values.shape
        planes = (batch, time, height * width) if self.over_time else (batch * time, height, width)
        result: Tensor = self.convolve(operand.values.reshape(*planes, channels), operand.unit)
        return result.reshape(batch, time, height, width, -1)


class _Chain(nn.Module):
    """The planar convolutions of some blocks, one behind the other."""

    def __init__(self, blocks: Sequence[ConvNorm], convolutions: Convolutions) -> None:
        super().__init__()
        self.convs = nn.ModuleList(PlanarConv(conv, convolutions) for block in blocks for conv in _folded(block))
        self.convolutions = convolutions

    def forward(self, operand: Operand) -> Tensor:
        first, *rest = self.convs
        x: Tensor = first(operand)
        for conv in rest:
            x = conv(self.convolutions.operand(x))
        return x


class FrozenS3D(nn.Module):
    """Decoded frames to the two pooled outputs, for inference only."""

    def __init__(self, model: S3D, convolutions: Convolutions) -> None:
        """Fold a network; `model` itself is left as it is.

        Args:
            model: with its weights loaded.
            convolutions: how they compute; gates, means and the last linear map are float32 in any case.
        """
        super().__init__()
        self.convolutions = convolutions
        self.stem = convolutions.make(*_fold_stem(model), (0, 0), pixels=True)
        self.conv_2 = _Chain((model.conv_2b, model.conv_2c), convolutions)
        self.gate = _Gate(model.gating)
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Mixed(getattr(model, f"mixed_{name}"), convolutions) for name in names))
            for names in (("3b", "3c"), ("4b", "4c", "4d", "4e", "4f"), ("5b", "5c"))
        )
        self.pools = [_kernel_and_stride(pool) for pool in (model.maxpool_2a, model.maxpool_3a)]
        self.pools += [_kernel_and_stride(pool) for pool in (model.maxpool_4a, model.maxpool_5a)]
        self.head = _frozen_linear(model.fc)

    def forward(self, frames: Tensor) -> S3DOutput:
        """Encode (B, F, H, W, 3) uint8 RGB with F, H and W even to float32 rows."""
        x = max_pool(self._stem(frames), *self.pools[0])
        x = self.conv_2(self.convolutions.operand(x))
        weights = self.gate(x)
        x = max_pool(x, *self.pools[1]).mul_(weights)
        x = max_pool(self.stages[0](x), *self.pools[2])
        x = max_pool(self.stages[1](x), *self.pools[3])
        pooled = channel_means(self.stages[2](x))
        return S3DOutput(self.head(pooled), pooled)

    def _stem(self, frames: Tensor) -> Tensor:
        blocks = paired_blocks(frames, self.convolutions.pixel_dtype)
        planes: Tensor = self.stem(blocks.flatten(0, 1), 1.0)
        return planes.reshape(*blocks.shape[:2], *planes.shape[1:])


class _Gate(nn.Module):
    def __init__(self, gating: SelfGating) -> None:
        super().__init__()
        self.linear = _frozen_linear(gating.fc)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, H, W, C) to its weights (B, 1, 1, 1, C) of the same dtype."""
        return torch.sigmoid(self.linear(channel_means(x))).to(x.dtype)[:, None, None, None, :]


class _Mixed(nn.Module):
    def __init__(self, block: MixedBlock, convolutions: Convolutions) -> None:
        super().__init__()
        branches = (
            (block.conv_b0,), (block.conv_b1_a, block.conv_b1_b), (block.conv_b2_a, block.conv_b2_b),
            (block.conv_b3_b,),
        )  # fmt: skip
        self.branches = nn.ModuleList(_Chain(branch, convolutions) for branch in branches)
        gates = (block.gating_b0, block.gating_b1, block.gating_b2, block.gating_b3)
        self.gates = nn.ModuleList(_Gate(gate) for gate in gates)
        self.convolutions, self.channels_out = convolutions, block.channels_out

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, H, W, C_in) to (B, T, H, W, channels_out)."""
        operand = self.convolutions.operand(x)
        joined = x.new_empty((*x.shape[:4], self.channels_out))
        first = 0
        for number, (branch, gate) in enumerate(zip(self.branches, self.gates, strict=True)):
            if number == 3:
                operand = operand._replace(values=max_pool_centred(operand.values))
            y = branch(operand)
            torch.mul(y, gate(y), out=joined[..., first : first + y.shape[4]])
            first += y.shape[4]
        return joined


def paired_blocks(frames: Tensor, dtype: torch.dtype) -> Tensor:
    """Fold 2x2x2 blocks of pixels into channels, each beside its successor in time, with the padding of `conv1`.

    Args:
        frames: (B, F, H, W, 3) uint8; F, H, W even.
        dtype: of the result: float32, bfloat16 or uint8.

    Returns:
        (B, F/2, H/2 + 3, W/2 + 3, 48), values 0..255.
    """
    batch, time, height, width, colours = frames.shape
    depth, pair = 8 * colours, _PAIRS[dtype]
    paired = torch.zeros(
        (batch, time // 2, height // 2 + 3, width // 2 + 3, 2 * depth), dtype=dtype, device=frames.device
    )
    # Two numbers are moved as one: copying runs of 2 * colours costs by the element.
    wide = frames.to(dtype).view(batch, time, height, width * colours).view(pair)
    wide = wide.view(batch, time // 2, 2, height // 2, 2, width // 2, colours).permute(0, 1, 3, 5, 2, 4, 6)
    inside = paired[:, :, 1:-2, 1:-2]
    inside[..., :depth].view(pair).unflatten(4, (2, 2, colours)).copy_(wide)
    inside[:, :-1, ..., depth:] = inside[:, 1:, ..., :depth]
    return paired


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


def _fold_stem(model: S3D) -> tuple[Tensor, Tensor]:
    conv = _fold(model.conv1.conv1, model.conv1.bn1)
    weight = conv.weight.detach() * _PIXEL_SCALE
    weight = weight.transpose(1, 2).flatten(1, 2)
    assert conv.bias is not None
    return weight, conv.bias.detach()


def _folded(block: ConvNorm) -> list[nn.Conv3d]:
    first = _fold(block.conv1, block.bn1)
    return [first, _fold(block.conv2, block.bn2)] if block.separable else [first]


def _fold(conv: nn.Module, norm: nn.Module) -> nn.Conv3d:
    if not isinstance(conv, nn.Conv3d) or not isinstance(norm, nn.BatchNorm3d):
        raise ValueError(f"S3D to freeze: got {type(conv).__name__} and {type(norm).__name__}, expected it unfolded")
    return fuse_conv_bn_eval(conv, norm)


def _frozen_linear(linear: nn.Linear) -> nn.Linear:
    copy = nn.Linear(linear.in_features, linear.out_features)
    copy.load_state_dict(linear.state_dict())
    return copy.float().requires_grad_(False)


def _kernel_and_stride(pool: SamePool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return pool.kernel, pool.stride
