"""Soft-minimum path costs in plain torch, one anti-diagonal of all pairs at a time: what a GPU runs.

The grid is sheared, so that diagonal t holds the cells (i, t - i) with i along the last axis; the predecessors of a
cell then lie on the diagonals t - 1 and t - 2, at i and i - 1, and every step is a few tensor operations over all pairs
and all cells of a diagonal. Which predecessors a cell has is a table, so DTW and OTAM are one walk over two tables.

Letters: B pairs, R rows, G columns of the grid, T = R + G - 1 diagonals. The 4 sources of a cell are
diagonal, above, left and start.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCKED = 1e30  # the cost of a source that does not exist: far above any path, far below float32's end
DIAGONAL, ABOVE, LEFT, START = range(4)


class DiagonalPaths(torch.autograd.Function):
    """Soft path cost over a grid whose cells name their own predecessors; any device."""

    @staticmethod
    def forward(ctx: Any, grid: Tensor, sources: Tensor, ends: Tensor, gamma: float) -> Tensor:
        """Return the soft cost at the last cells.

        Args:
            ctx: torch's context.
            grid: (B, R, G) float32 or float64, 0 where there is no cell.
            sources: (B, R, G, 4) bool, broadcastable in B: which sources each cell has.
            ends: (B, 2) int64, row and column of each pair's last cell.
            gamma: Temperature of the soft minimum, > 0.

        Returns:
            (B,) of the grid's precision.
        """
        num_pairs, num_rows, _ = grid.shape
        sheared = shear(grid, 0.0).permute(2, 0, 1)
        closed = shear((~sources).permute(0, 3, 1, 2).to(grid.dtype) * BLOCKED, BLOCKED).permute(3, 0, 2, 1)
        blocked = grid.new_full((num_pairs, num_rows + 1), BLOCKED)
        diagonals, shares = [blocked, blocked], []
        for t in range(len(sheared)):
            older, newer = diagonals[-2], diagonals[-1]
            start = torch.zeros_like(newer[:, 1:])
            costs = torch.stack((older[:, :-1], newer[:, :-1], newer[:, 1:], start), dim=-1) + closed[t]
            least = costs.amin(dim=-1, keepdim=True)
            scaled = (least - costs) / gamma
            shares.append(scaled.softmax(dim=-1))
            softest = least[..., 0] - gamma * scaled.logsumexp(dim=-1)
            diagonals.append(F.pad(sheared[t] + softest, (1, 0), value=BLOCKED))
        totals = torch.stack(diagonals[2:])
        ctx.save_for_backward(torch.stack(shares), ends)
        return totals[ends.sum(dim=1), torch.arange(num_pairs, device=grid.device), ends[:, 0] + 1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        """Hand each last cell's weight back along the shares."""
        shares, ends = ctx.saved_tensors
        num_diagonals, num_pairs, num_rows, _ = shares.shape
        weights = shares.new_zeros(num_diagonals, num_pairs, num_rows)
        pairs = torch.arange(num_pairs, device=grad.device)
        weights[ends.sum(dim=1), pairs, ends[:, 0]] = grad.to(shares.dtype)
        for t in range(num_diagonals - 1, -1, -1):
            handed = weights[t, :, :, None] * shares[t]
            if t >= 1:
                weights[t - 1] += handed[..., LEFT]
                weights[t - 1, :, :-1] += handed[:, 1:, ABOVE]
            if t >= 2:
                weights[t - 2, :, :-1] += handed[:, 1:, DIAGONAL]
        return unshear(weights.permute(1, 2, 0)), None, None, None


def shear(grid: Tensor, fill: float) -> Tensor:
    """Shift row i right by i: (..., R, G) -> (..., R, R + G - 1), `fill` where nothing lands."""
    num_rows, num_columns = grid.shape[-2:]
    flat = F.pad(grid, (0, num_rows), value=fill).flatten(-2)
    width = num_rows + num_columns - 1
    sheared: Tensor = flat[..., : num_rows * width].unflatten(-1, (num_rows, width))
    return sheared


def unshear(sheared: Tensor) -> Tensor:
    """Undo `shear`: (..., R, T) -> (..., R, T - R + 1)."""
    num_rows, num_diagonals = sheared.shape[-2:]
    flat = F.pad(sheared.flatten(-2), (0, num_rows))
    grid: Tensor = flat.unflatten(-1, (num_rows, num_diagonals + 1))
    return grid[..., : num_diagonals - num_rows + 1].contiguous()
