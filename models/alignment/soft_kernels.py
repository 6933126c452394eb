"""Soft-minimum path costs on the CPU: 32 pairs side by side in the lanes of the vector unit.

The grid is walked cell by cell, and the innermost loop runs over pairs, so that the three exponentials and the
logarithm of a cell become vector instructions; libm's scalar ones would take nine tenths of the time. Sums are float64
whatever the costs' precision. The forward pass keeps, for each cell, the share of the soft minimum that each
predecessor has; the backward pass multiplies them along the grid and needs no exponential.

The recurrences are those of `soft_dtw` and `soft_otam`. OTAM's grid has a zero column on each side, which is column 0
and, for a pair of m columns, column m + 1.

Letters: B pairs, R rows, C columns, G columns of the grid (C, with OTAM C + 2), K blocks of LANES pairs.
"""

import math
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Floats = NDArray[np.float32] | NDArray[np.float64]

LANES = 32
BLOCKED = 1e300  # the cost of a predecessor that does not exist; its share is exactly 0
LOG2_E = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01  # ln 2 in two parts (Cody and Waite), so that x - k ln 2 loses no bits
LN2_LOW = 1.90821492927058770002e-10
ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it leaves the nearest integer in the low bits
SMALLEST_EXPONENT = -700.0
LN_3_HALVES = math.log(3.0) / 2.0
SQRT_3 = math.sqrt(3.0)


class LanePaths(torch.autograd.Function):
    """Soft path cost of CPU matrices. See `soft_paths` for arguments and results."""

    @staticmethod
    def forward(ctx: Any, cost: Tensor, num_rows: Tensor, num_columns: Tensor, gamma: float, otam: bool) -> Tensor:
        """Walk every grid once and keep the shares."""
        rows, columns = num_rows.numpy(), num_columns.numpy()
        totals, shares = _forward(cost.detach().contiguous().numpy(), rows, columns, gamma, otam)
        ctx.walk = (rows, columns, shares, otam, cost.shape)
        return torch.from_numpy(totals).to(cost.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Walk every grid back from its last cell."""
        rows, columns, shares, otam, shape = ctx.walk
        cost_grad = np.zeros(tuple(shape), shares.dtype)
        _backward(grad.detach().double().contiguous().numpy(), rows, columns, shares, otam, cost_grad)
        return torch.from_numpy(cost_grad), None, None, None, None


@numba.njit(inline="always")  # type: ignore[untyped-decorator]  # numba has no types
def _exp(x: float) -> float:
    """e^x for x <= 0, relative error below 1e-14, without a branch; 0 below -700."""
    clamped = SMALLEST_EXPONENT if x < SMALLEST_EXPONENT else x
    shifted = clamped * LOG2_E + ROUND
    k = shifted - ROUND
    r = (clamped - k * LN2_HIGH) - k * LN2_LOW
    p = 1 / 39916800 * r + 1 / 3628800
    p = ((p * r + 1 / 362880) * r + 1 / 40320) * r + 1 / 5040
    p = ((p * r + 1 / 720) * r + 1 / 120) * r + 1 / 24
    p = (((p * r + 1 / 6) * r + 1 / 2) * r + 1.0) * r + 1.0
    scale = np.int64((np.float64(shifted).view(np.int64) + 1023) << 52).view(np.float64)
    return 0.0 if x < SMALLEST_EXPONENT else p * scale


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def _log_1_to_3(s: float) -> float:
    """The natural logarithm of s in [1, 3], as ln 3 / 2 + 2 artanh((s - sqrt 3) / (s + sqrt 3))."""
    z = (s - SQRT_3) / (s + SQRT_3)
    y = z * z
    p = ((1 / 23 * y + 1 / 21) * y + 1 / 19) * y + 1 / 17
    p = (((p * y + 1 / 15) * y + 1 / 13) * y + 1 / 11) * y + 1 / 9
    p = (((p * y + 1 / 7) * y + 1 / 5) * y + 1 / 3) * y + 1.0
    return LN_3_HALVES + 2.0 * z * p


@numba.njit(error_model="numpy", fastmath={"contract"}, cache=True)  # type: ignore[untyped-decorator]
def _cell(diagonal: F64, above: F64, left: F64, gamma: float, total: F64, shares: Floats) -> None:
    """Add the soft minimum of a cell's predecessors to its cost in `total` (LANES,), and keep `shares` (3, LANES)."""
    sharpness = 1.0 / gamma
    for lane in range(LANES):
        a, b, c = diagonal[lane], above[lane], left[lane]
        least = min(a, b, c)
        a, b, c = _exp((least - a) * sharpness), _exp((least - b) * sharpness), _exp((least - c) * sharpness)
        summed = a + b + c
        total[lane] += least - gamma * _log_1_to_3(summed)
        share = 1.0 / summed
        shares[0, lane], shares[1, lane], shares[2, lane] = a * share, b * share, c * share


@numba.njit(error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
def _load_row(cost: Floats, i: int, rows: I64, columns: I64, margin: int, row: F64) -> None:
    """Lay row i of up to LANES matrices side by side into `row` (G, LANES); what is no real cell costs 0."""
    row[:] = 0.0
    for lane in range(len(cost)):
        if i < rows[lane]:
            for j in range(columns[lane]):
                row[j + margin, lane] = cost[lane, i, j]


@numba.njit(error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
def _walk(cost: Floats, rows: I64, columns: I64, gamma: float, otam: bool, shares: Floats, totals: F64) -> None:
    """Walk one block: cost (up to LANES, R, C), shares (R, G, 3, LANES) and totals (up to LANES,) are written."""
    margin = 1 if otam else 0
    width = columns.max() + 2 * margin
    last = np.zeros(LANES, np.int64)
    last[: len(cost)] = columns - 1 + 2 * margin
    blocked, origin, above = np.full(LANES, BLOCKED), np.zeros(LANES), np.empty(LANES)
    before, now = np.empty((width, LANES)), np.empty((width, LANES))
    for i in range(rows.max()):
        _load_row(cost, i, rows, columns, margin, now)
        for j in range(width):
            if otam and j == 0:
                shares[i, 0] = 0.0
                continue
            diagonal = blocked if i == 0 or j == 0 else before[j - 1]
            if i == 0 and j == 0:
                diagonal = origin
            for lane in range(LANES):
                allowed = i > 0 and (not otam or j == 1 or j == last[lane])
                above[lane] = before[j, lane] if allowed else BLOCKED
            _cell(diagonal, above, blocked if j == 0 else now[j - 1], gamma, now[j], shares[i, j])
        for lane in range(len(cost)):
            if i == rows[lane] - 1:
                totals[lane] = now[last[lane], lane]
        before, now = now, before


@numba.njit(error_model="numpy", fastmath={"contract"}, cache=True)  # type: ignore[untyped-decorator]
def _cell_back(weight: F64, shares: Floats, diagonal: F64, above: F64, left: F64) -> None:
    """Hand a cell's weight (LANES,) on to its predecessors by their shares (3, LANES)."""
    for lane in range(LANES):
        diagonal[lane] += weight[lane] * shares[0, lane]
        above[lane] += weight[lane] * shares[1, lane]
        left[lane] += weight[lane] * shares[2, lane]


@numba.njit(error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
def _walk_back(grad: F64, rows: I64, columns: I64, shares: Floats, otam: bool, cost_grad: Floats) -> None:
    """Walk one block backwards and write `cost_grad` (up to LANES, R, C): how much each cell weighs in the total."""
    margin = 1 if otam else 0
    width = columns.max() + 2 * margin
    before, now, nowhere = np.zeros((width, LANES)), np.zeros((width, LANES)), np.zeros(LANES)
    for i in range(rows.max() - 1, -1, -1):
        for lane in range(len(cost_grad)):
            if i == rows[lane] - 1:
                now[columns[lane] - 1 + 2 * margin, lane] += grad[lane]
        for j in range(width - 1, -1, -1):
            diagonal = before[j - 1] if j > 0 else nowhere
            _cell_back(now[j], shares[i, j], diagonal, before[j], now[j - 1] if j > 0 else nowhere)
        for lane in range(len(cost_grad)):
            if i < rows[lane]:
                for j in range(columns[lane]):
                    cost_grad[lane, i, j] = now[j + margin, lane]
        before, now = now, before
        before[:] = 0.0


@numba.njit(error_model="numpy", nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _forward(cost: Floats, rows: I64, columns: I64, gamma: float, otam: bool) -> tuple[F64, Floats]:
    """Totals (B,) of cost (B, R, C), and the shares (K, R, G, 3, LANES)."""
    num_pairs, num_rows, num_columns = cost.shape
    blocks = (num_pairs + LANES - 1) // LANES
    shares = np.empty((blocks, num_rows, num_columns + (2 if otam else 0), 3, LANES), cost.dtype)
    totals = np.empty(num_pairs)
    for block in range(blocks):
        part = slice(block * LANES, min((block + 1) * LANES, num_pairs))
        _walk(cost[part], rows[part], columns[part], gamma, otam, shares[block], totals[part])
    return totals, shares


@numba.njit(error_model="numpy", nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _backward(grad: F64, rows: I64, columns: I64, shares: Floats, otam: bool, cost_grad: Floats) -> None:
    """Write the gradient of sum(grad * totals) into `cost_grad` (B, R, C), which holds zeros."""
    for block in range(len(shares)):
        part = slice(block * LANES, min((block + 1) * LANES, len(grad)))
        _walk_back(grad[part], rows[part], columns[part], shares[block], otam, cost_grad[part])
