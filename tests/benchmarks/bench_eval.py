"""Sequence scores against the bare matrix product, the published way, and (where installed) dtaidistance's C code.

Run by `make bench-eval`. One run, float32, one thread, the ways in turn; medians. Nothing is asserted about time.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from models.alignment.dtw import dtw_score_matrix
from models.alignment.lanes import plan_blocks
from models.alignment.otam import otam_score_matrix
from models.alignment.sequences import lengths_of, stack_unit_rows
from models.alignment.tiles import text_tiles

DIM, NUM, ROUNDS = 512, 436, 5
SHAPES = {"3-16 windows": (3, 16), "3-52 windows": (3, 52), "60-320 rows": (60, 320)}


def sequences(rng: np.random.Generator, count: int, least: int, most: int) -> list[np.ndarray]:
    lengths = rng.integers(least, most + 1, count)
    return [rng.standard_normal((length, DIM), dtype=np.float32) for length in lengths]


def bare_product(texts: list[np.ndarray], videos: list[np.ndarray]) -> None:
    """What cannot be left out: unit rows, and the product of the same tiles."""
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths_of(texts))])
    rows = stack_unit_rows(texts, "float32")
    for block in plan_blocks(lengths_of(videos)):
        columns = block.unit_columns(videos, "float32")
        for first, last in text_tiles(starts, len(columns)):
            rows[starts[first] : starts[last]] @ columns.T


def published(texts: list[np.ndarray], videos: list[np.ndarray]) -> torch.Tensor:
    """All pairs padded to the longest, one tensor step a cell, as the method's code does."""
    most = max(len(x) for x in [*texts, *videos])
    cost = torch.full((len(texts), len(videos), most, most), float("inf"))
    for i, text in enumerate(texts):
        for j, video in enumerate(videos):
            cost[i, j, : len(text), : len(video)] = 1 - torch.from_numpy(text @ video.T)
    total = cost.clone()
    for i in range(most):
        for j in range(most):
            before = [total[..., a, b] for a, b in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if a >= 0 and b >= 0]
            if before:
                total[..., i, j] = cost[..., i, j] + torch.stack(before).amin(0)
    return total


def seconds(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median of each way, the ways in turn after a warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(ROUNDS + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if round_:
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in taken.items()}


@pytest.mark.parametrize("shape", SHAPES)
def test_against_the_bare_product(shape: str) -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    texts, videos = sequences(rng, NUM, 3, 16), sequences(rng, NUM, *SHAPES[shape])
    found = seconds(
        {
            "product": lambda: bare_product(texts, videos),
            "dtw": lambda: dtw_score_matrix(texts, videos, precision="float32"),
            "otam": lambda: otam_score_matrix(texts, videos, precision="float32"),
        }
    )
    cells = sum(map(len, texts)) * sum(map(len, videos))
    print(f"\n{NUM} x {NUM}, {shape}: product {found['product']:.3f} s", end="")
    for name, aim in (("dtw", 1.3), ("otam", 1.5)):
        ratio = found[name] / found["product"]
        print(f"; {name} {ratio:.2f} times it (aim {aim}), {cells / found[name] / 1e6:.0f} M cells/s", end="")
    print()


def test_against_others_on_100_by_100() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    texts, videos = sequences(rng, 100, 3, 16), sequences(rng, 100, 3, 16)
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: dtw_score_matrix(texts, videos, precision="float32"),
        "published": lambda: published(texts, videos),
    }
    try:
        from dtaidistance import dtw_ndim

        ways["dtaidistance"] = lambda: [
            dtw_ndim.distance_fast(t.astype(np.float64), v.astype(np.float64)) for t in texts for v in videos
        ]
    except ImportError:
        print("\ndtaidistance is not installed: not compared")
    found = seconds(ways)
    for name in ways.keys() - {"ours"}:
        print(f"\n100 x 100 DTW: {found[name] / found['ours']:.0f} times faster than {name}")
