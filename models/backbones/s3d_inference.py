"""The video tower of S3D-G as a frozen function, in the form that is fast: 2-D, channels last, folded, in few passes.

Feature maps are (B, T, H, W, C), contiguous. What the plain network (`models.backbones.s3d`) does in other shapes:

* Each convolution extends over space only or over time only, so it is a 2-D one over planes, or a matrix product;
  `conv1` is one once each frame pair's successor lies beside it in the channels.
* Batch norm is folded into the convolutions, and the pixels' 1/255 into the first.
* A gate is applied where its branch is written beside the others anyway. As it is positive and a feature map is not
  negative, pooling may stand on either side of it: `Convolutions` choose what is cheaper for them.

Letters: B clips, F frames a clip, H W pixels or places of a map, C channels, T time of a map.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.backbones.maps import Pool, max_pool, max_pool_centred, unpooled
from models.backbones.planar import Branch, Convolutions, Operand
from models.backbones.s3d import S3D, ConvNorm, MixedBlock, S3DOutput, SamePool, SelfGating

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
    """The planar convolutions of some blocks, one behind the other, and the gate that their result has yet to pass."""

    def __init__(
        self, blocks: Sequence[ConvNorm], gating: SelfGating, convolutions: Convolutions, pool: Pool = unpooled
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(PlanarConv(conv, convolutions) for block in blocks for conv in _folded(block))
        self.gate = _Gate(gating)
        self.convolutions, self.pool = convolutions, pool

    def forward(self, operand: Operand) -> Branch:
        operand = operand._replace(values=self.pool(operand.values))
        first, *rest = self.convs
        x: Tensor = first(operand)
        for conv in rest:
            x = conv(self.convolutions.operand(x))
        return Branch(x, self.gate)


class _Gate(nn.Module):
    """See `Gate`."""

    def __init__(self, gating: SelfGating) -> None:
        super().__init__()
        self.linear = _frozen_linear(gating.fc)

    def forward(self, means: Tensor) -> Tensor:
        return torch.sigmoid(self.linear(means))


class _Block(nn.Module):
    """Branches over one map, joined and pooled."""

    def __init__(
        self, branches: Sequence[_Chain], channels_out: int, convolutions: Convolutions, pool: Pool = unpooled
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.channels_out, self.convolutions, self.pool = channels_out, convolutions, pool

    def forward(self, operand: Operand) -> Operand:
        return self.convolutions.join(self._run(operand), self.channels_out, self.pool)

    def means(self, operand: Operand) -> Tensor:
        """Channels' means of what is joined, (B, channels_out) float32."""
        return self.convolutions.join_means(self._run(operand), self.channels_out)

    def _run(self, operand: Operand) -> Iterator[Branch]:
        """One after the other: what joins them may let go of a branch before the next is computed."""
        return (branch(operand) for branch in self.branches)


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
        self.stem_pool = _pool(model.maxpool_2a)
        pools = {"3c": _pool(model.maxpool_4a), "4f": _pool(model.maxpool_5a)}
        *mixed, self.last_block = (
            _mixed(getattr(model, f"mixed_{name}"), convolutions, pools.get(name, unpooled))
            for name in ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
        )
        self.blocks = nn.Sequential(_second(model, convolutions), *mixed)
        self.head = _frozen_linear(model.fc)

    def forward(self, frames: Tensor) -> S3DOutput:
        """Encode (B, F, H, W, 3) uint8 RGB with F, H and W even to float32 rows."""
        operand = self.convolutions.operand(self._stem(frames), self.stem_pool)
        pooled = self.last_block.means(self.blocks(operand))
        return S3DOutput(self.head(pooled), pooled)

    def _stem(self, frames: Tensor) -> Tensor:
        blocks = paired_blocks(frames, self.convolutions.pixel_dtype)
        planes: Tensor = self.stem(blocks.flatten(0, 1), 1.0)
        return planes.reshape(*blocks.shape[:2], *planes.shape[1:])


def _second(model: S3D, convolutions: Convolutions) -> _Block:
    chain = _Chain((model.conv_2b, model.conv_2c), model.gating, convolutions)
    return _Block([chain], model.gating.fc.out_features, convolutions, _pool(model.maxpool_3a))


def _mixed(block: MixedBlock, convolutions: Convolutions, pool: Pool) -> _Block:
    branches = [
        _Chain((block.conv_b0,), block.gating_b0, convolutions),
        _Chain((block.conv_b1_a, block.conv_b1_b), block.gating_b1, convolutions),
        _Chain((block.conv_b2_a, block.conv_b2_b), block.gating_b2, convolutions),
        _Chain((block.conv_b3_b,), block.gating_b3, convolutions, max_pool_centred),
    ]
    return _Block(branches, block.channels_out, convolutions, pool)


def paired_blocks(frames: Tensor, dtype: torch.dtype) -> Tensor:
    """Fold 2x2x2 blocks of pixels into channels, each beside its successor in time, with the padding of `conv1`.

    Args:
        frames: (B, F, H, W, 3) uint8; F, H, W even.
        dtype: of the result: float32, bfloat16 or uint8.

    Returns:
        (B, F/2, H/2 + 3, W/2 + 3, 48), values 0..255.
    """
    batch, time, height, width, colours = frames.shape
    # Bytes are moved, two as one, and only then widened; in this order, as a copy costs by the run, and runs over a
    # block's pixels are short.
    wide = frames.reshape(batch, time, height, width * colours).view(torch.int16)
    wide = wide.view(batch, time // 2, 2, height // 2, 2, width // 2, colours)
    blocks = wide.new_empty((batch, time // 2, height // 2, width // 2, 2, 2, colours))
    for k, j, c in product(range(2), range(2), range(colours)):
        blocks[..., k, j, c] = wide[:, :, k, :, j, :, c]
    depth = 8 * colours
    blocks = blocks.flatten(4).view(torch.uint8)
    paired = frames.new_zeros((batch, time // 2, height // 2 + 3, width // 2 + 3, 2 * depth))
    inside = paired[:, :, 1:-2, 1:-2]
    for half, source in ((inside[..., :depth], blocks), (inside[:, :-1, ..., depth:], blocks[:, 1:])):
        half.view(torch.int64).copy_(source.view(torch.int64))
    return paired.to(dtype)


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


def _pool(pool: SamePool) -> Pool:
    return partial(max_pool, kernel=pool.kernel, stride=pool.stride)
