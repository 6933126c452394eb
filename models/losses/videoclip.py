"""VideoCLIP's contrastive objective.

Source: Xu et al., "VideoCLIP", EMNLP 2021 (arXiv:2109.14084), equations 1 and 2, and the released code, which adds
the two directions instead of averaging them and uses no temperature.

Letters: N pairs of a batch, E joint width.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.losses.precision import full_precision

Directions = Literal["both", "text_to_video", "video_to_text"]


class VideoCLIPLoss(nn.Module):
    """Pick out each window's caption, and each caption's window, among all of the batch: InfoNCE.

    Args:
        directions: `both`; or only each text among videos, or each video among texts, as fine-tuning does.
        reduction: Of the two directions: their `sum`, as published, or their `mean`.
    """

    def __init__(self, *, directions: Directions = "both", reduction: Literal["sum", "mean"] = "sum") -> None:
        super().__init__()
        if directions not in ("both", "text_to_video", "video_to_text") or reduction not in ("sum", "mean"):
            raise ValueError(f"VideoCLIP loss: got {directions!r} and {reduction!r}; see its arguments")
        self.directions, self.reduction = directions, reduction

    def forward(self, video: Tensor, text: Tensor, owners: Tensor | None = None) -> Tensor:
        """Return the cross entropies over raw dot products.

        Args:
            video: (N, E) float; row i belongs to row i of `text`.
            text: (N, E) float.
            owners: (N,) int64; pairs of one owner (video) are no negatives of each other. None: all others are, as
                published.

        Returns:
            () float32, whatever the inputs' precision: dot products of 60 to 75 are too coarse in float16.

        Raises:
            ValueError: The shapes differ or the batch is empty.
        """
        if video.ndim != 2 or video.shape != text.shape or not len(video):
            raise ValueError(f"VideoCLIP loss: got {tuple(video.shape)} and {tuple(text.shape)}, expected two (N, E)")
        with full_precision(video):
            logits = video.float() @ text.float().T
        target = torch.arange(len(logits), device=logits.device)
        if owners is not None:
            same = (owners[:, None] == owners[None]).fill_diagonal_(False)
            logits = logits.masked_fill(same, -torch.inf)
        if self.directions == "text_to_video":
            return F.cross_entropy(logits.T, target)
        if self.directions == "video_to_text":
            return F.cross_entropy(logits, target)
        total = F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)
        return total / 2 if self.reduction == "mean" else total
