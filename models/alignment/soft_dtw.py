"""Soft dynamic time warping: the soft minimum over all monotone paths through a cost matrix, with exact gradients.

With softmin(a) = -gamma log sum exp(-a / gamma), as TempCLR (arXiv:2212.13738) trains with; the recurrence is Cuturi
and Blondel's (arXiv:1703.01541):

    D[i, j] = d[i, j] + softmin(D[i-1, j-1], D[i-1, j], D[i, j-1]),  cost D[-1, -1]

The soft minimum lies below the hard one, so a path without cost gives a small negative value. Three forms compute it:
`soft_dtw_reference`, the lanes of `soft_kernels` on the CPU, and the diagonals of `soft_diagonals` on any device.

Letters: B pairs, R rows, C columns.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from models.alignment.soft_diagonals import DiagonalPaths
from models.alignment.soft_kernels import LanePaths

Method = Literal["auto", "lanes", "diagonals"]
GAMMA = 0.1  # TempCLR's


class SequenceCost(Protocol):
    """How badly two sequences go together in time: a strategy that losses are given."""

    def __call__(self, cost: Tensor, num_rows: Tensor | None = None, num_columns: Tensor | None = None) -> Tensor:
        """Return (B,) path costs of (B, R, C) costs; see `soft_dtw`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftDTW:
    """`soft_dtw` at one temperature, as a strategy.

    Attributes:
        gamma: Temperature of the soft minimum, > 0.
        method: As in `soft_dtw`.
    """

    gamma: float = GAMMA
    method: Method = "auto"

    def __call__(self, cost: Tensor, num_rows: Tensor | None = None, num_columns: Tensor | None = None) -> Tensor:
        """Return (B,) path costs of (B, R, C) costs."""
        return soft_dtw(cost, num_rows, num_columns, gamma=self.gamma, method=self.method)


def soft_dtw(
    cost: Tensor,
    num_rows: Tensor | None = None,
    num_columns: Tensor | None = None,
    *,
    gamma: float = GAMMA,
    method: Method = "auto",
) -> Tensor:
    """Align B pairs of sequences softly.

    Args:
        cost: (B, R, C) float, finite where a pair has a cell; the rest may hold anything, NaN too.
        num_rows: (B,) int64 in 1..R, real rows of each pair; None means all R.
        num_columns: (B,) int64 in 1..C.
        gamma: Temperature of the soft minimum, > 0; towards 0 the result tends to the cheapest path's cost.
        method: "lanes" (CPU only), "diagonals" (any device), "auto" takes lanes on the CPU and diagonals elsewhere.

    Returns:
        (B,) D at each pair's last cell, float64 if `cost` is, else float32; gradients flow to `cost`, once.

    Raises:
        ValueError: A shape, a length or gamma is not as said.
    """
    cost, rows, columns = checked_pairs(cost, num_rows, num_columns, gamma)
    if uses_lanes(cost, method):
        return lane_paths(cost, rows, columns, gamma, otam=False)
    real = real_cells(cost, rows, columns)
    sources = torch.ones(*cost.shape[1:], 4, dtype=torch.bool, device=cost.device)
    sources[0, :, :2] = False  # nothing lies above the first row
    sources[:, 0, 0::2] = False  # nor to the left of the first column
    sources[..., 3] = False
    sources[0, 0, 3] = True
    ends = torch.stack((rows, columns), dim=1) - 1
    totals: Tensor = DiagonalPaths.apply(  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.where(real, cost, 0.0), sources[None], ends, gamma
    )
    return totals


def soft_dtw_reference(cost: Tensor, gamma: float = GAMMA) -> Tensor:
    """Align one pair, cell by cell, plainly; autograd differentiates it. Faster forms are tested against this.

    Args:
        cost: (R, C) float, both sides at least 1.
        gamma: Temperature, > 0.

    Returns:
        () path cost.
    """
    num_rows, num_columns = cost.shape
    total: dict[tuple[int, int], Tensor] = {}
    for i in range(num_rows):
        for j in range(num_columns):
            cells = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
            before = [total[cell] for cell in cells if cell in total]
            total[i, j] = cost[i, j] + soft_minimum(before, gamma) if before else cost[i, j]
    return total[num_rows - 1, num_columns - 1]


def soft_minimum(values: list[Tensor], gamma: float) -> Tensor:
    """-gamma log sum exp(-value / gamma) over tensors of one shape."""
    return -gamma * torch.logsumexp(torch.stack(values) / -gamma, dim=0)


def checked_pairs(
    cost: Tensor, num_rows: Tensor | None, num_columns: Tensor | None, gamma: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return cost in float32 or float64 and both lengths; ValueError as in `soft_dtw`."""
    if cost.ndim != 3 or 0 in cost.shape[1:] or not cost.is_floating_point():
        raise ValueError(f"cost: got {cost.dtype} {tuple(cost.shape)}, expected float (B, R, C) with R, C >= 1")
    if not gamma > 0:
        raise ValueError(f"gamma: got {gamma}, expected a temperature > 0; for the hard minimum use the hard DTW")
    lengths = []
    for name, given, most in (("num_rows", num_rows, cost.shape[1]), ("num_columns", num_columns, cost.shape[2])):
        if given is None:
            lengths.append(torch.full((len(cost),), most, device=cost.device))
            continue
        if given.shape != cost.shape[:1] or bool(((given < 1) | (given > most)).any()):
            raise ValueError(f"{name}: got {given.tolist()}, expected {len(cost)} lengths in 1..{most}")
        lengths.append(given.to(cost.device, torch.int64))
    return cost if cost.dtype == torch.float64 else cost.float(), lengths[0], lengths[1]


def real_cells(cost: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(B, R, C) bool: which cells belong to a pair."""
    steps = torch.arange(max(cost.shape[1:]), device=cost.device)
    return (steps[: cost.shape[1], None] < rows[:, None, None]) & (steps[: cost.shape[2]] < columns[:, None, None])


def uses_lanes(cost: Tensor, method: Method) -> bool:
    """Whether the CPU's kernel computes this; ValueError for an unknown method, or one that cannot run there."""
    on_cpu = cost.device.type == "cpu"
    if method not in ("auto", "lanes", "diagonals") or (method == "lanes" and not on_cpu):
        raise ValueError(f"method: got {method!r} on {cost.device}, expected auto, diagonals, or on the CPU lanes")
    return on_cpu and method != "diagonals"


def lane_paths(cost: Tensor, rows: Tensor, columns: Tensor, gamma: float, *, otam: bool) -> Tensor:
    """Call the CPU's kernel on checked arguments: -> (B,)."""
    totals: Tensor = LanePaths.apply(cost, rows, columns, gamma, otam)  # type: ignore[no-untyped-call]
    return totals
