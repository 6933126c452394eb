"""ResNet for inference: from decoded frames to feature rows, with batch norm folded and channels last.

Letters: B frames, H W pixels, D feature width.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.backbones.resnet import Bottleneck, ResNet

Precision = Literal["float32", "bfloat16"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of each colour, on values in [0, 1]: what torchvision, MoCo and VCLR normalise with."""

_PIXELS_AT_ONCE = 4 * 224 * 224
"""On the CPU: maps of a few frames stay in the cache and in memory that malloc reuses."""


def normalise_frames(frames: Tensor) -> Tensor:
    """Map (B, H, W, 3) uint8 RGB to (B, 3, H, W) float32 by ImageNet's mean and deviation; memory stays as it is."""
    mean = torch.tensor(IMAGENET_MEAN, device=frames.device) * 255
    std = torch.tensor(IMAGENET_STD, device=frames.device) * 255
    return ((frames - mean) / std).permute(0, 3, 1, 2)


class FrozenResNet(nn.Module):
    """A network as a frozen function: each batch norm is folded into the convolution before it."""

    def __init__(self, model: ResNet, dtype: torch.dtype) -> None:
        """Fold a network; `model` itself is left as it is.

        Args:
            model: with its weights loaded.
            dtype: of the convolutions; the mean over the last map is float32 in either case.
        """
        super().__init__()
        self.stem = _fold(model.conv1, model.bn1, dtype)
        blocks = (module for module in model.modules() if isinstance(module, Bottleneck))
        self.blocks = nn.Sequential(*(_FrozenBlock(block, dtype) for block in blocks))
        self.dtype = dtype

    def forward(self, frames: Tensor) -> Tensor:
        """Encode (B, H, W, 3) uint8 RGB to (B, D) float32."""
        x = F.relu_(self.stem(normalise_frames(frames).to(self.dtype)))
        x = self.blocks(F.max_pool2d(x, 3, stride=2, padding=1))
        rows: Tensor = x.mean(dim=(2, 3), dtype=torch.float32)
        return rows


class ResNetFeatures:
    """The frozen network as a function from decoded frames to feature rows.

    Attributes:
        dim: D.
    """

    def __init__(self, model: ResNet, *, precision: Precision = "float32", device: torch.device | str = "cpu") -> None:
        """Prepare a copy of the model; `model` itself is left as it is.

        Raises:
            ValueError: `precision` is none of the two.
        """
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"ResNet precision: got {precision!r}, expected 'float32' or 'bfloat16'")
        self.dim = model.size.dim
        dtype = torch.float32 if precision == "float32" else torch.bfloat16
        self._model = FrozenResNet(model, dtype).to(device)
        self._device = torch.device(device)

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Tensor:
        """Encode frames.

        Args:
            frames: (B, H, W, 3) uint8, RGB, of any size.

        Returns:
            (B, D) float32 on the CPU, not normalised.

        Raises:
            ValueError: The shape or the dtype is another one.
        """
        if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
            raise ValueError(f"ResNet frames: got {frames.dtype} {tuple(frames.shape)}, expected uint8 (B, H, W, 3)")
        at_once = len(frames)
        if self._device.type == "cpu":
            at_once = max(1, _PIXELS_AT_ONCE // (frames.shape[1] * frames.shape[2]))
        return torch.cat([self.compute(part.to(self._device)).cpu() for part in frames.split(at_once)])

    def compute(self, frames: Tensor) -> Tensor:
        """Encode frames, all at once, that lie on the network's device; so do the rows."""
        rows: Tensor = self._model(frames)
        return rows


class _FrozenBlock(nn.Module):
    def __init__(self, block: Bottleneck, dtype: torch.dtype) -> None:
        super().__init__()
        self.narrow = _fold(block.conv1, block.bn1, dtype)
        self.middle = _fold(block.conv2, block.bn2, dtype)
        self.widen = _fold(block.conv3, block.bn3, dtype)
        self.shortcut = None if block.downsample is None else _fold(block.downsample[0], block.downsample[1], dtype)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.widen(F.relu_(self.middle(F.relu_(self.narrow(x)))))
        return F.relu_(branch.add_(x if self.shortcut is None else self.shortcut(x)))


def _fold(conv: nn.Module, norm: nn.Module, dtype: torch.dtype) -> nn.Conv2d:
    if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
        raise ValueError(f"ResNet to freeze: got {type(conv).__name__} and {type(norm).__name__}, expected it unfolded")
    folded = fuse_conv_bn_eval(conv, norm).to(dtype).requires_grad_(False)
    # The overloads of Module.to know no memory format.
    folded.weight.data = folded.weight.contiguous(memory_format=torch.channels_last)
    return folded
