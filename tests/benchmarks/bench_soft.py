"""How much faster are the soft alignments than a loop over cells in torch? Forward and backward, on the CPU.

Run with::

    python -m pytest tests/benchmarks/bench_soft.py -s

All forms get the same number of torch threads, FABULA_BENCH_THREADS (default 1), and run alternately in this one run,
so that a neighbour's load falls on all; the least of 5 rounds counts. The loop walks over cells with all pairs of the
batch at once and autograd behind it: a loop over pairs as well would be as many times slower as there are pairs.
"""

import os
import sys
import time
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from models.alignment.soft_dtw import soft_dtw, soft_minimum
from models.alignment.soft_otam import SoftOTAM

THREADS = int(os.environ.get("FABULA_BENCH_THREADS", "1"))
TARGETS = {(64, 32, 64): 40.0, (512, 5, 5): 5.0}
ROUNDS = 5


def cell_by_cell(cost: Tensor) -> Tensor:
    """Soft DTW at gamma 0.1, one torch operation after the other for each cell: (B, R, C) -> (B,)."""
    total: dict[tuple[int, int], Tensor] = {}
    for i in range(cost.shape[1]):
        for j in range(cost.shape[2]):
            before = [total[cell] for cell in ((i - 1, j - 1), (i, j - 1), (i - 1, j)) if cell in total]
            total[i, j] = cost[:, i, j] + soft_minimum(before, 0.1) if before else cost[:, i, j]
    return total[cost.shape[1] - 1, cost.shape[2] - 1]


def seconds(run: Callable[[Tensor], Tensor], cost: Tensor, repeats: int) -> float:
    """Mean time of one forward and backward pass."""
    started = time.perf_counter()
    for _ in range(repeats):
        torch.autograd.grad(run(cost).sum(), cost)
    return (time.perf_counter() - started) / repeats


@pytest.mark.parametrize("shape", TARGETS)
def test_ratio(shape: tuple[int, int, int]) -> None:
    torch.set_num_threads(THREADS)
    cost = torch.rand(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    forms: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
        "cell by cell": (cell_by_cell, 1),
        "lanes": (partial(soft_dtw, method="lanes"), 20),
        "diagonals": (partial(soft_dtw, method="diagonals"), 3),
        "OTAM both ways, lanes": (SoftOTAM(method="lanes"), 20),
    }
    best = dict.fromkeys(forms, float("inf"))
    for _ in range(ROUNDS):
        for name, (run, repeats) in forms.items():
            best[name] = min(best[name], seconds(run, cost, repeats))
    ratio = best["cell by cell"] / best["lanes"]
    for name, spent in best.items():
        sys.stdout.write(f"{shape} {name}: {spent * 1e3:.3f} ms, {best['cell by cell'] / spent:.1f} times\n")
    assert torch.allclose(cell_by_cell(cost), soft_dtw(cost), atol=1e-3)
    assert ratio >= TARGETS[shape]
