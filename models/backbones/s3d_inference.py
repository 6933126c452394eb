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
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.backbones.s3d import S3D, ConvNorm, MixedBlock, S3DOutput, SamePool, SelfGating

_BIT_PATTERNS = {torch.float32: torch.int32, torch.bfloat16: torch.int16}
_PAIRS = {torch.float32: torch.int64, torch.bfloat16: torch.int32}
_PIXEL_SCALE = 1.0 / 255.0


class PlanarConv(nn.Module):
    """A convolution over space only, over time only or over channels only, with ReLU behind it."""

    def __init__(self, conv: nn.Conv3d, dtype: torch.dtype) -> None:
        """Take the weights of a 3-D convolution with an odd kernel, stride 1 and a bias.

        Raises:
            ValueError: its kernel extends over time and over space, or it has no bias.
        """
        super().__init__()
        time, height, width = conv.kernel_size
        if conv.bias is None or (time != 1 and height * width != 1):
            raise ValueError(f"planar convolution: got {conv}, expected a bias and a kernel (t, 1, 1) or (1, h, w)")
        self.over_time = time != 1
        self.padding = (time // 2, 0) if self.over_time else (height // 2, width // 2)
        weight = conv.weight.detach()
        weight = weight[:, :, :, 0] if self.over_time else weight[:, :, 0]
        self.pointwise = time == height == width == 1
        weight = weight[:, :, 0, 0] if self.pointwise else weight.contiguous(memory_format=torch.channels_last)
        self.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
        self.bias = nn.Parameter(conv.bias.detach().to(dtype), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, H, W, C_in) to (B, T, H, W, C_out), values >= 0."""
        if self.pointwise:
            return F.relu_(F.linear(x, self.weight, self.bias))
        batch, time, height, width, channels = x.shape
        planes = (batch, time, height * width) if self.over_time else (batch * time, height, width)
        plane = x.reshape(*planes, channels).permute(0, 3, 1, 2)
        plane = F.relu_(F.conv2d(plane, self.weight, self.bias, padding=self.padding))
        return plane.permute(0, 2, 3, 1).reshape(batch, time, height, width, -1)


class FrozenS3D(nn.Module):
    """Decoded frames to the two pooled outputs, for inference only."""

    def __init__(self, model: S3D, dtype: torch.dtype) -> None:
        """Fold a network; `model` itself is left as it is.

        Args:
            model: with its weights loaded.
            dtype: of the convolutions; gates, means and the last linear map are float32 in either case.
        """
        super().__init__()
        self.stem_weight, self.stem_bias = (nn.Parameter(p.to(dtype), requires_grad=False) for p in _fold_stem(model))
        self.conv_2b = _planar(model.conv_2b, dtype)
        self.conv_2c = _planar(model.conv_2c, dtype)
        self.gate = _Gate(model.gating)
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Mixed(getattr(model, f"mixed_{name}"), dtype) for name in names))
            for names in (("3b", "3c"), ("4b", "4c", "4d", "4e", "4f"), ("5b", "5c"))
        )
        self.pools = [_kernel_and_stride(pool) for pool in (model.maxpool_2a, model.maxpool_3a)]
        self.pools += [_kernel_and_stride(pool) for pool in (model.maxpool_4a, model.maxpool_5a)]
        self.head = _frozen_linear(model.fc)

    def forward(self, frames: Tensor) -> S3DOutput:
        """Encode (B, F, H, W, 3) uint8 RGB with F, H and W even to float32 rows."""
        x = max_pool(self._stem(frames), *self.pools[0])
        x = self.conv_2c(self.conv_2b(x))
        weights = self.gate(x)
        x = max_pool(x, *self.pools[1]).mul_(weights)
        x = max_pool(self.stages[0](x), *self.pools[2])
        x = max_pool(self.stages[1](x), *self.pools[3])
        pooled = channel_means(self.stages[2](x))
        return S3DOutput(self.head(pooled), pooled)

    def _stem(self, frames: Tensor) -> Tensor:
        blocks = paired_blocks(frames, self.stem_weight.dtype)
        batch, time = blocks.shape[:2]
        planes = F.relu_(F.conv2d(blocks.flatten(0, 1).permute(0, 3, 1, 2), self.stem_weight, self.stem_bias))
        return planes.permute(0, 2, 3, 1).view(batch, time, *planes.shape[2:], -1)


class _Gate(nn.Module):
    def __init__(self, gating: SelfGating) -> None:
        super().__init__()
        self.linear = _frozen_linear(gating.fc)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, H, W, C) to its weights (B, 1, 1, 1, C) of the same dtype."""
        return torch.sigmoid(self.linear(channel_means(x))).to(x.dtype)[:, None, None, None, :]


class _Mixed(nn.Module):
    def __init__(self, block: MixedBlock, dtype: torch.dtype) -> None:
        super().__init__()
        self.b0, self.b3 = _planar(block.conv_b0, dtype), _planar(block.conv_b3_b, dtype)
        self.b1 = nn.Sequential(_planar(block.conv_b1_a, dtype), _planar(block.conv_b1_b, dtype))
        self.b2 = nn.Sequential(_planar(block.conv_b2_a, dtype), _planar(block.conv_b2_b, dtype))
        gates = (block.gating_b0, block.gating_b1, block.gating_b2, block.gating_b3)
        self.gates = nn.ModuleList(_Gate(gate) for gate in gates)
        self.channels_out = block.channels_out

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, H, W, C_in) to (B, T, H, W, channels_out)."""
        joined = x.new_empty((*x.shape[:4], self.channels_out))
        first = 0
        for number, gate in enumerate(self.gates):
            branch = self._branch(number, x)
            torch.mul(branch, gate(branch), out=joined[..., first : first + branch.shape[4]])
            first += branch.shape[4]
        return joined

    def _branch(self, number: int, x: Tensor) -> Tensor:
        convs = (self.b0, self.b1, self.b2, self.b3)
        result: Tensor = convs[number](max_pool_centred(x) if number == 3 else x)
        return result


def paired_blocks(frames: Tensor, dtype: torch.dtype) -> Tensor:
    """Fold 2x2x2 blocks of pixels into channels, each beside its successor in time, with the padding of `conv1`.

    Args:
        frames: (B, F, H, W, 3) uint8; F, H, W even.
        dtype: of the result; whole numbers up to 255 are exact in bfloat16, too.

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
        x: (B, T, H, W, C) float32 or bfloat16, values >= 0.
        kernel: over (T, H, W).
        stride: likewise, at most the kernel.
    """
    bits = x.view(_BIT_PATTERNS[x.dtype])
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
    bits = x.view(_BIT_PATTERNS[x.dtype])
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
    weight = weight.transpose(1, 2).flatten(1, 2).contiguous(memory_format=torch.channels_last)
    assert conv.bias is not None
    return weight, conv.bias.detach()


def _planar(block: ConvNorm, dtype: torch.dtype) -> nn.Module:
    first = PlanarConv(_fold(block.conv1, block.bn1), dtype)
    return nn.Sequential(first, PlanarConv(_fold(block.conv2, block.bn2), dtype)) if block.separable else first


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
