"""S3D-G as published with HowTo100M (MIL-NCE): a separable, gated 3-D Inception network and its sentence tower.

Source: Miech et al., "End-to-End Learning of Visual Representations from Uncurated Instructional Videos"
(arXiv:1912.06430) and Xie et al., "Rethinking Spatiotemporal Feature Learning" (arXiv:1712.04851). Attribute names
follow the released state dict, so that its 537 entries load without a key map.

Letters: B clips, C channels, T H W time, height and width of a feature map.
"""

import re
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.initialise import he_initialise
from models.backbones.s3d_text import SentenceTower

VIDEO_EMBEDDING_DIM = 512
MIXED_5C_DIM = 1024

_GATE_WEIGHT = re.compile(r".*gating(_b[0-3])?\.fc\.weight")
_GATE_SCALE = 0.1
_NORM_BEFORE_GATE = re.compile(r"(conv_2c\.bn2|mixed_..\.conv_(b0\.bn1|b1_b\.bn2|b2_b\.bn2|b3_b\.bn1))\.weight")


class S3DOutput(NamedTuple):
    """What the video tower gives for B clips.

    Attributes:
        video_embedding: (B, 512) float, the joint space with `SentenceTower`.
        mixed_5c: (B, 1024) float, the mean of the last feature map.
    """

    video_embedding: Tensor
    mixed_5c: Tensor


class ConvNorm(nn.Module):
    """One convolution, or a spatial and a temporal one; each is followed by batch norm and ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: tuple[int, int, int], *, separable: bool) -> None:
        super().__init__()
        first = (1, kernel[1], kernel[2]) if separable else kernel
        self.conv1: nn.Module = nn.Conv3d(channels_in, channels_out, first, padding=_half(first), bias=False)
        self.bn1: nn.Module = nn.BatchNorm3d(channels_out)
        self.separable = separable
        if separable:
            second = (kernel[0], 1, 1)
            self.conv2: nn.Module = nn.Conv3d(channels_out, channels_out, second, padding=_half(second), bias=False)
            self.bn2: nn.Module = nn.BatchNorm3d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, T, H, W) to (B, C_out, T, H, W)."""
        x = F.relu_(self.bn1(self.conv1(x)))
        return F.relu_(self.bn2(self.conv2(x))) if self.separable else x


class SelfGating(nn.Module):
    """Weigh each channel by a sigmoid of a linear map of all channels' means ("feature gating", the G of S3D-G)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to the same shape."""
        weights = torch.sigmoid(self.fc(x.mean(dim=(2, 3, 4))))
        return x * weights[:, :, None, None, None]


class SamePool(nn.Module):
    """Max pooling with TensorFlow's SAME rule: what does not fit is padded with zeros, after the data."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W), values >= 0, to (B, C, T', H', W')."""
        # With an even length the overhanging window that ceil_mode adds sees exactly what a padded zero would show,
        # since the input is never negative; only an odd length needs the zero plane itself.
        odd = [k > s and size % 2 for k, s, size in zip(self.kernel, self.stride, x.shape[2:], strict=True)]
        if any(odd):
            x = F.pad(x, (0, int(odd[2]), 0, int(odd[1]), 0, int(odd[0])))
        return F.max_pool3d(x, self.kernel, self.stride, ceil_mode=True)


class MixedBlock(nn.Module):
    """Inception block: 1x1x1 | 1x1x1, 3x3x3 | 1x1x1, 3x3x3 | max pool, 1x1x1; every branch gated."""

    def __init__(self, channels_in: int, b0: int, b1: tuple[int, int], b2: tuple[int, int], b3: int) -> None:
        super().__init__()
        self.conv_b0 = ConvNorm(channels_in, b0, (1, 1, 1), separable=False)
        self.conv_b1_a = ConvNorm(channels_in, b1[0], (1, 1, 1), separable=False)
        self.conv_b1_b = ConvNorm(b1[0], b1[1], (3, 3, 3), separable=True)
        self.conv_b2_a = ConvNorm(channels_in, b2[0], (1, 1, 1), separable=False)
        self.conv_b2_b = ConvNorm(b2[0], b2[1], (3, 3, 3), separable=True)
        self.conv_b3_b = ConvNorm(channels_in, b3, (1, 1, 1), separable=False)
        self.gating_b0 = SelfGating(b0)
        self.gating_b1 = SelfGating(b1[1])
        self.gating_b2 = SelfGating(b2[1])
        self.gating_b3 = SelfGating(b3)
        self.channels_out = b0 + b1[1] + b2[1] + b3

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, T, H, W) to (B, channels_out, T, H, W)."""
        pooled = F.max_pool3d(x, 3, stride=1, padding=1)
        branches = (
            self.gating_b0(self.conv_b0(x)),
            self.gating_b1(self.conv_b1_b(self.conv_b1_a(x))),
            self.gating_b2(self.conv_b2_b(self.conv_b2_a(x))),
            self.gating_b3(self.conv_b3_b(pooled)),
        )
        return torch.cat(branches, dim=1)


class S3D(nn.Module):
    """The two towers of the HowTo100M release: clips and sentences in one 512-dimensional dot-product space."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvNorm(24, 64, (2, 4, 4), separable=False)
        self.conv_2b = ConvNorm(64, 64, (1, 1, 1), separable=False)
        self.conv_2c = ConvNorm(64, 192, (3, 3, 3), separable=True)
        self.gating = SelfGating(192)
        self.maxpool_2a = SamePool((1, 3, 3), (1, 2, 2))
        self.maxpool_3a = SamePool((1, 3, 3), (1, 2, 2))
        self.mixed_3b = MixedBlock(192, 64, (96, 128), (16, 32), 32)
        self.mixed_3c = MixedBlock(256, 128, (128, 192), (32, 96), 64)
        self.maxpool_4a = SamePool((3, 3, 3), (2, 2, 2))
        self.mixed_4b = MixedBlock(480, 192, (96, 208), (16, 48), 64)
        self.mixed_4c = MixedBlock(512, 160, (112, 224), (24, 64), 64)
        self.mixed_4d = MixedBlock(512, 128, (128, 256), (24, 64), 64)
        self.mixed_4e = MixedBlock(512, 112, (144, 288), (32, 64), 64)
        self.mixed_4f = MixedBlock(528, 256, (160, 320), (32, 128), 128)
        self.maxpool_5a = SamePool((2, 2, 2), (2, 2, 2))
        self.mixed_5b = MixedBlock(832, 256, (160, 320), (32, 128), 128)
        self.mixed_5c = MixedBlock(832, 384, (192, 384), (48, 128), 128)
        self.fc = nn.Linear(MIXED_5C_DIM, VIDEO_EMBEDDING_DIM)
        self.text_module = SentenceTower()

    def forward(self, frames: Tensor) -> S3DOutput:
        """Encode clips.

        Args:
            frames: (B, 3, F, H, W) float, RGB in [0, 1]; F, H and W even.

        Returns:
            The two pooled outputs, neither normalised.

        Raises:
            ValueError: The shape is another one.
        """
        if frames.ndim != 5 or frames.shape[1] != 3 or any(size % 2 or not size for size in frames.shape[2:]):
            raise ValueError(f"S3D clips: got shape {tuple(frames.shape)}, expected (B, 3, F, H, W) with F, H, W even")
        return self.encode_blocks(space_to_depth(frames.movedim(1, -1)).to(frames.dtype))

    def encode_blocks(self, blocks: Tensor) -> S3DOutput:
        """Encode clips that are already folded by `space_to_depth`: (B, 24, F/2, H/2, W/2) float."""
        # The release pads conv1 by (1, 2, 2) on both sides and drops the first plane of every axis.
        x = self.maxpool_2a(self.conv1(blocks)[:, :, 1:, 1:, 1:])
        x = self.maxpool_3a(self.gating(self.conv_2c(self.conv_2b(x))))
        x = self.maxpool_4a(self.mixed_3c(self.mixed_3b(x)))
        x = self.mixed_4f(self.mixed_4e(self.mixed_4d(self.mixed_4c(self.mixed_4b(x)))))
        x = self.mixed_5c(self.mixed_5b(self.maxpool_5a(x)))
        # The mean and `fc` may be more precise than the trunk: S3DFeatures keeps them in float32.
        pooled = x.mean(dim=(2, 3, 4), dtype=self.fc.weight.dtype)
        return S3DOutput(self.fc(pooled), pooled)


def random_s3d(seed: int) -> S3D:
    """Return the network with seeded He weights, in eval mode: features of the order of 1, distinct between clips.

    An untrained gate is about sigmoid(0) = 1/2. Ten of them in a row would shrink features to 1e-3, so the norm before
    each gate starts at 2 instead of 1. Gates of full He size would then saturate and switch whole channels by chance:
    a linear probe on the demo corpus loses 8 points by it. They start at a tenth of that.
    """
    model = S3D()
    he_initialise(model, seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if _NORM_BEFORE_GATE.fullmatch(name):
                parameter.fill_(2.0)
            elif _GATE_WEIGHT.fullmatch(name):
                parameter.mul_(_GATE_SCALE)
    return model.eval()


def space_to_depth(frames: Tensor) -> Tensor:
    """Fold 2x2x2 blocks of pixels into channels.

    Args:
        frames: (B, F, H, W, 3) of any dtype; F, H, W even.

    Returns:
        (B, 24, F/2, H/2, W/2) of the same dtype, laid out channels last; channel ((dt * 2 + dh) * 2 + dw) * 3 + colour.
    """
    batch, time, height, width, colours = frames.shape
    blocks = frames.reshape(batch, time // 2, 2, height // 2, 2, width // 2, 2, colours)
    blocks = blocks.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(batch, time // 2, height // 2, width // 2, 8 * colours)
    return blocks.movedim(-1, 1)


def _half(kernel: tuple[int, int, int]) -> tuple[int, int, int]:
    return kernel[0] // 2, kernel[1] // 2, kernel[2] // 2
