"""ResNet with bottleneck blocks: the frame backbone of MoCo, VCLR and most few-shot work.

Source: He et al., "Deep Residual Learning for Image Recognition" (arXiv:1512.03385), with the stride on the 3x3
convolution, as torchvision has it and as all the weights above were trained. Attribute names are torchvision's, so that
the 318 entries of ResNet-50 without `fc` load without a key map; torchvision itself is never imported.

Letters: B frames, C channels, H W pixels or places of a map, D feature width.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.initialise import he_initialise

EXPANSION = 4
"""A block gives this many times the channels that its 3x3 convolution has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetSize:
    """How deep and wide a network is.

    Attributes:
        blocks: blocks of each of the four layers.
        width: channels of the stem and of the first layer's 3x3 convolutions; each layer doubles it.
    """

    blocks: tuple[int, int, int, int]
    width: int = 64

    @property
    def dim(self) -> int:
        """D."""
        return self.width * 8 * EXPANSION


RESNETS: Mapping[str, ResNetSize] = MappingProxyType(
    {
        "resnet50": ResNetSize(blocks=(3, 4, 6, 3)),
        "resnet101": ResNetSize(blocks=(3, 4, 23, 3)),
        "resnet152": ResNetSize(blocks=(3, 8, 36, 3)),
        # Not published: for tests and demonstrations; 256 features.
        "tiny": ResNetSize(blocks=(1, 1, 1, 1), width=8),
    }
)
"""Sizes by name."""


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution beside a shortcut; each convolution is followed by batch norm."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        channels_out = width * EXPANSION
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels_in != channels_out:
            shortcut = nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, 4 width, ceil(H / stride), ceil(W / stride))."""
        branch = F.relu_(self.bn1(self.conv1(x)))
        branch = F.relu_(self.bn2(self.conv2(branch)))
        branch = self.bn3(self.conv3(branch))
        return F.relu_(branch + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Frames to pooled features; there is no classifier.

    Attributes:
        size: how deep and wide it is.
    """

    def __init__(self, size: ResNetSize) -> None:
        super().__init__()
        self.size = size
        self.conv1 = nn.Conv2d(3, size.width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(size.width)
        widths = [size.width * 2**number for number in range(4)]
        self.layer1 = _layer(size.width, widths[0], size.blocks[0], stride=1)
        self.layer2 = _layer(widths[0] * EXPANSION, widths[1], size.blocks[1], stride=2)
        self.layer3 = _layer(widths[1] * EXPANSION, widths[2], size.blocks[2], stride=2)
        self.layer4 = _layer(widths[2] * EXPANSION, widths[3], size.blocks[3], stride=2)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode frames.

        Args:
            pixels: (B, 3, H, W) float, RGB, normalised (`models.backbones.resnet_features.normalise_frames`).

        Returns:
            (B, D) float, the mean over the last map; values >= 0.
        """
        x = F.max_pool2d(F.relu_(self.bn1(self.conv1(pixels))), 3, stride=2, padding=1)
        maps: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return maps.mean(dim=(2, 3))


def random_resnet(size: ResNetSize, seed: int) -> ResNet:
    """Return a network with seeded He weights, in eval mode.

    An untrained block would add about twice its input to it, and 16 of them overflow float16. The norm that ends a
    block's branch therefore starts at 1 / sqrt(blocks), which keeps features of the order of 1 at any depth
    (De and Smith, arXiv:2002.10444).
    """
    model = ResNet(size)
    he_initialise(model, seed)
    scale = 1.0 / math.sqrt(sum(size.blocks))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Bottleneck):
                module.bn3.weight.fill_(scale)
    return model.eval()


def _layer(channels_in: int, width: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = Bottleneck(channels_in, width, stride)
    return nn.Sequential(first, *(Bottleneck(width * EXPANSION, width, 1) for _ in range(blocks - 1)))
