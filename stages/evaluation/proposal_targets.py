"""What a proposal network should say of a video: which steps are boundaries, and how each pair overlaps an action.

Source: Lin et al., BMN, arXiv:1907.09702, section 4.1. Letters: T steps, G annotated actions.
"""

from typing import NamedTuple

import numpy as np

from stages.evaluation.proposals import overlaps_of
from stages.evaluation.records import F64

_BOUNDARY_STEPS = 3.0
"""Steps that the region of a boundary is wide, the boundary in its middle."""


class ProposalTargets(NamedTuple):
    """Targets of one video.

    Attributes:
        starts: (T,) float64 share of each step that lies in the region of a start.
        ends: (T,) float64 likewise.
        overlaps: (T, T) float64 [length - 1, start] best overlap with an action; 0 where a pair leaves the video.
    """

    starts: F64
    ends: F64
    overlaps: F64


def proposal_targets(actions: F64, num_steps: int) -> ProposalTargets:
    """Build them.

    Args:
        actions: (G, 2) float64 shares of the video; G may be 0.
        num_steps: T.
    """
    edges = np.arange(num_steps) / num_steps
    steps = np.stack([edges, edges + 1.0 / num_steps], axis=1)
    length, start = (grid.ravel() for grid in np.indices((num_steps, num_steps)))
    pairs = np.stack([start, start + length + 1], axis=1) / num_steps
    overlaps = _best(overlaps_of(pairs, actions)) * (pairs[:, 1] <= 1.0 + 1e-12)
    return ProposalTargets(
        starts=_best(_shares_inside(steps, _regions(actions[:, 0], num_steps))),
        ends=_best(_shares_inside(steps, _regions(actions[:, 1], num_steps))),
        overlaps=overlaps.reshape(num_steps, num_steps),
    )


def _regions(boundaries: F64, num_steps: int) -> F64:
    half = _BOUNDARY_STEPS / (2 * num_steps)
    return np.stack([boundaries - half, boundaries + half], axis=1)


def _shares_inside(steps: F64, regions: F64) -> F64:
    """Share of every step that lies in every region: (T, 2) and (G, 2) to (T, G)."""
    start = np.maximum(steps[:, None, 0], regions[None, :, 0])
    end = np.minimum(steps[:, None, 1], regions[None, :, 1])
    return np.asarray(np.maximum(end - start, 0.0) / np.diff(steps, axis=1))


def _best(values: F64) -> F64:
    return np.asarray(values.max(axis=1, initial=0.0))
