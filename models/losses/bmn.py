"""BMN's losses: boundaries, confidence of pairs, and their overlap with an action.

Source: Lin et al., arXiv:1907.09702, section 4.2: L = L_start + L_end + L_confidence + 10 L_overlap. Classes are
balanced by weights, overlaps by drawing as many middling and low ones as there are high ones. What the paper leaves
open is as in the code base that VCLR's numbers come from (mmaction2): the weight of a positive entry has a limit, and a
pair that overlaps no action is no low one.

Letters: B videos, T steps of a sequence.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.actions.bmn import BmnOutput

BOUNDARY_ABOVE = 0.5
CONFIDENT_ABOVE = 0.9
HIGH_ABOVE, LOW_UP_TO = 0.7, 0.3
OVERLAP_WEIGHT = 10.0

_RATIOS = (1.05, 21.0)
"""Least and greatest of all entries to positive ones: neither sort may weigh without limit where it is rare."""


class BmnTargets(NamedTuple):
    """What is true of B videos.

    Attributes:
        starts: (B, T) float in [0, 1], share of a step that lies near the start of an action.
        ends: (B, T) likewise.
        overlaps: (B, T, T) float [length - 1, start], the best overlap of a pair with an action.
    """

    starts: Tensor
    ends: Tensor
    overlaps: Tensor


class BmnTerms(NamedTuple):
    """The total and its parts, () each, unweighted."""

    total: Tensor
    boundaries: Tensor
    confidence: Tensor
    overlap: Tensor


class BmnLoss(nn.Module):
    """The three losses, added with the paper's weights."""

    def forward(self, output: BmnOutput, targets: BmnTargets, draws: Tensor) -> BmnTerms:
        """Return the loss and its parts.

        Args:
            output: of the network.
            targets: for the same videos.
            draws: (B, T, T) float, uniform in [0, 1): which middling and low overlaps take part.
        """
        steps = targets.starts.shape[1]
        valid = torch.arange(steps, device=draws.device)[:, None] + torch.arange(steps, device=draws.device) < steps
        boundaries = balanced_logistic(output.starts, targets.starts > BOUNDARY_ABOVE) + balanced_logistic(
            output.ends, targets.ends > BOUNDARY_ABOVE
        )
        overlaps = targets.overlaps[:, valid]
        confidence = balanced_logistic(output.confidence[:, valid], overlaps > CONFIDENT_ABOVE)
        overlap = overlap_regression(output.overlap[:, valid], overlaps, draws[:, valid])
        total = boundaries + confidence + OVERLAP_WEIGHT * overlap
        return BmnTerms(total=total, boundaries=boundaries, confidence=confidence, overlap=overlap)


def balanced_logistic(logits: Tensor, positive: Tensor) -> Tensor:
    """Mean logistic loss in which positive and other entries weigh one half each, but for very rare ones.

    Args:
        logits: any shape.
        positive: bool, the same shape.

    Returns:
        () float. Without a positive entry the weights are as if there was one.
    """
    ratio = (positive.numel() / positive.sum().clamp(min=1)).clamp(*_RATIOS)
    weights = torch.where(positive, 0.5 * ratio, 0.5 * ratio / (ratio - 1))
    return F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), weight=weights.to(logits.dtype))


def overlap_regression(logits: Tensor, overlaps: Tensor, draws: Tensor) -> Tensor:
    """Half the mean squared error over all high overlaps and as many drawn middling and low ones above 0.

    Args:
        logits: any shape; their sigmoid is compared with the overlap.
        overlaps: float in [0, 1], the same shape.
        draws: uniform in [0, 1), the same shape.

    Returns:
        () float; 0 if nothing takes part, which is so without a high overlap.
    """
    high, low = overlaps > HIGH_ABOVE, (overlaps > 0) & (overlaps <= LOW_UP_TO)
    middling = ~high & (overlaps > LOW_UP_TO)
    taken = high
    for kind in (middling, low):
        taken = taken | (kind & (draws < high.sum() / kind.sum().clamp(min=1)))
    errors = (torch.sigmoid(logits) - overlaps).square()
    return 0.5 * (errors * taken).sum() / taken.sum().clamp(min=1)
