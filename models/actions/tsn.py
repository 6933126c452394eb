"""Temporal segment networks: a backbone on a few frames of a video, a mean over them, one linear map.

Source: Wang et al., "Temporal Segment Networks" (arXiv:1608.00859), with the mean as consensus. As the map is linear,
it makes no difference whether the mean is taken before or after it.

Letters: B videos, K segments of a video, D feature width, C classes.
"""

from torch import Tensor, nn

from models.backbones.initialise import fill_normal
from models.backbones.towers import FrameTower


class ConsensusHead(nn.Module):
    """Rows of a video's segments to scores of classes."""

    def __init__(self, dim: int, num_classes: int, *, dropout: float, init_std: float, seed: int) -> None:
        """Make a head to train.

        Args:
            dim: D.
            num_classes: C.
            dropout: of the mean, while training.
            init_std: of the first weights, which are normal; the biases are 0.
            seed: of the draw.
        """
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(dim, num_classes)
        fill_normal(self.classify.weight, init_std, name="classify.weight", seed=seed)
        nn.init.zeros_(self.classify.bias)

    def forward(self, rows: Tensor) -> Tensor:
        """Map (B, K, D) to logits (B, C)."""
        logits: Tensor = self.classify(self.dropout(rows.mean(dim=1)))
        return logits


class SegmentNetwork(nn.Module):
    """A backbone and a head, trained together.

    Attributes:
        tower: (n, H, W, 3) uint8 frames to (n, D) rows, with gradient.
        head: what is put on it.
    """

    def __init__(self, tower: FrameTower, head: ConsensusHead) -> None:
        super().__init__()
        self.tower = tower
        self.head = head

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames (B, K, H, W, 3) uint8 to logits (B, C)."""
        rows = self.tower(frames.flatten(0, 1))
        logits: Tensor = self.head(rows.unflatten(0, frames.shape[:2]))
        return logits
