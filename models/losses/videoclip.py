"""VideoCLIP's contrastive objective.

Source: Xu et al., "VideoCLIP", EMNLP 2021 (arXiv:2109.14084), equations 1 and 2, and the released code, which adds
the two directions instead of averaging them and uses no temperature.

Letters: N pairs of a batch, E joint width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class VideoCLIPLoss(nn.Module):
    """Pick out each window's caption, and each caption's window, among all of the batch; symmetric InfoNCE."""

    def forward(self, video: Tensor, text: Tensor) -> Tensor:
        """Return the sum of both cross entropies over raw dot products.

        Args:
            video: (N, E) float; row i belongs to row i of `text`. Other windows of the same video are negatives too.
            text: (N, E) float.

        Returns:
            () float32, whatever the inputs' precision: dot products of 60 to 75 are too coarse in float16.

        Raises:
            ValueError: The shapes differ or the batch is empty.
        """
        if video.ndim != 2 or video.shape != text.shape or not len(video):
            raise ValueError(f"VideoCLIP loss: got {tuple(video.shape)} and {tuple(text.shape)}, expected two (N, E)")
        logits = video.float() @ text.float().T
        target = torch.arange(len(logits), device=logits.device)
        return F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)
