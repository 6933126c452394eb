"""Frame backbones as modules whose weights are trained: decoded frames in, rows out, whatever stands between.

`ClipImageTower` is the other one. Letters: B frames, H W pixels, D feature width.
"""

from torch import Tensor, nn

from models.backbones.resnet import ResNet
from models.backbones.resnet_features import normalise_frames


class ResNetTower(nn.Module):
    """A ResNet.

    Attributes:
        model: changed by training; its state dict keeps torchvision's names.
        dim: D.
    """

    def __init__(self, model: ResNet) -> None:
        super().__init__()
        self.model = model
        self.dim = model.size.dim

    def forward(self, frames: Tensor) -> Tensor:
        """Map (B, H, W, 3) uint8 RGB to (B, D), not normalised."""
        rows: Tensor = self.model(normalise_frames(frames))
        return rows
