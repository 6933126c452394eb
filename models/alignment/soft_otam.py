"""Soft ordered temporal alignment: every row is matched, columns before the first and after the last are free.

Source: OTAM (Cao et al., arXiv:1906.11415) as TempCLR (arXiv:2212.13738) trains with it; papers.md 3.4. A zero column
is added on each side, 0 and m + 1. Row 0 only moves right, so the first row pays for every column up to where it
turns down: a property of this widely copied version that we keep. From row 1 on:

    D[i, 1]     = d[i, 1] + softmin(D[i-1, 0], D[i-1, 1], D[i, 0]),  D[i, 0] = 0
    D[i, j]     = d[i, j] + softmin(D[i-1, j-1], D[i, j-1])
    D[i, m + 1] =           softmin(D[i-1, m], D[i-1, m+1], D[i, m]),  cost D[-1, m + 1]

Letters: B pairs, R rows, C columns.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.alignment.soft_diagonals import DiagonalPaths
from models.alignment.soft_dtw import (
    GAMMA,
    Method,
    checked_pairs,
    lane_paths,
    real_cells,
    soft_minimum,
    uses_lanes,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftOTAM:
    """Soft OTAM in both orientations, added, as a strategy (`SequenceCost`).

    Attributes:
        gamma: Temperature of the soft minimum, > 0.
        method: As in `soft_otam`.
    """

    gamma: float = GAMMA
    method: Method = "auto"

    def __call__(self, cost: Tensor, num_rows: Tensor | None = None, num_columns: Tensor | None = None) -> Tensor:
        """Return (B,) path costs of (B, R, C) costs."""
        turned = cost.transpose(1, 2)
        there = soft_otam(cost, num_rows, num_columns, gamma=self.gamma, method=self.method)
        return there + soft_otam(turned, num_columns, num_rows, gamma=self.gamma, method=self.method)


def soft_otam(
    cost: Tensor,
    num_rows: Tensor | None = None,
    num_columns: Tensor | None = None,
    *,
    gamma: float = GAMMA,
    method: Method = "auto",
) -> Tensor:
    """Align the rows of B pairs to their columns softly, one orientation.

    Arguments, result, gradients and errors are those of `soft_dtw`.
    """
    cost, rows, columns = checked_pairs(cost, num_rows, num_columns, gamma)
    if uses_lanes(cost, method):
        return lane_paths(cost, rows, columns, gamma, otam=True)
    real = real_cells(cost, rows, columns)
    grid = F.pad(torch.where(real, cost, 0.0), (1, 1))
    ends = torch.stack((rows - 1, columns + 1), dim=1)
    sources = _sources(grid, ends[:, 1])
    totals: Tensor = DiagonalPaths.apply(grid, sources, ends, gamma)  # type: ignore[no-untyped-call]
    return totals


def soft_otam_reference(cost: Tensor, gamma: float = GAMMA) -> Tensor:
    """Align one pair in one orientation, cell by cell, plainly; autograd differentiates it.

    Args:
        cost: (R, C) float, both sides at least 1.
        gamma: Temperature, > 0.

    Returns:
        () path cost.
    """
    num_rows, num_columns = cost.shape
    before = [cost.new_zeros(())]
    for j in range(num_columns):
        before.append(before[-1] + cost[0, j])
    before.append(before[-1])
    for i in range(1, num_rows):
        now = [cost.new_zeros(())]
        for j in range(1, num_columns + 1):
            sources = [before[j - 1], before[j], now[-1]] if j == 1 else [before[j - 1], now[-1]]
            now.append(cost[i, j - 1] + soft_minimum(sources, gamma))
        now.append(soft_minimum([before[-2], before[-1], now[-1]], gamma))
        before = now
    return before[-1]


def _sources(grid: Tensor, last: Tensor) -> Tensor:
    """(B, R, G, 4) bool: which of diagonal, above, left and start each cell of the padded grid has."""
    column = torch.arange(grid.shape[2], device=grid.device).expand(grid.shape)
    below_first = torch.arange(grid.shape[1], device=grid.device)[:, None] > 0
    inner = column > 0
    edge = (column == 1) | (column == last[:, None, None])
    return torch.stack((inner & below_first, inner & below_first & edge, inner, ~inner), dim=-1)
