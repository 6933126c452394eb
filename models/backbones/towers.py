"""Frame backbones as modules whose weights are trained: decoded frames in, rows out, whatever stands between.

`ClipImageTower` is the other one. Letters: B frames, H W pixels, D feature width.
"""

from torch import Tensor, nn

from models.backbones.resnet import ResNet
from models.backbones.resnet_features import normalise_frames


class FrameTower(nn.Module):
    """A backbone to be trained: (B, H, W, 3) uint8 RGB to (B, D), not normalised, with gradient.

    Attributes:
        model: changed by training; its state dict keeps the published names.
        dim: D.
    """

    model: nn.Module
    dim: int


class ResNetTower(FrameTower):
    """A ResNet."""

    def __init__(self, model: ResNet) -> None:
        super().__init__()
        self.model = model
        self.dim = model.size.dim

    def forward(self, frames: Tensor) -> Tensor:
        """See `FrameTower`."""
        rows: Tensor = self.model(normalise_frames(frames))
        return rows
