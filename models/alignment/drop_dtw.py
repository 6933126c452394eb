"""Drop-DTW: hard DTW between what is left when sentences and clips that fit nothing are dropped, each at a price.

Of all ways to keep some sentences and some clips, and to align the kept ones by a DTW path with moves (1, 1), (1, 0)
and (0, 1), the cheapest is taken: its matched cells pay their costs, every dropped clip `drop_clip` and every dropped
sentence `drop_sentence`. The score is minus the total over (matched cells + dropped items). Equal ways: diagonal, then
(1, 0), then (0, 1); matched before dropped, a dropped clip before a dropped sentence.

Source: Dvornik et al., arXiv:2108.11996, in the form that drops from both sequences. We depart from it in that costs
are 1 - cosine, drop costs are one number for the set instead of a percentile of each matrix, and the score is divided
by what was paid for. Letters: S sentences, N windows, E joint width, P paragraphs, V videos, L matched cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from models.alignment.lanes import LANES, lane_costs
from models.alignment.sequences import F32, F64, I64, Precision, lengths_of, stack_unit_rows, unit_rows
from models.alignment.tiles import score_matrix

_BINS = 1 << 16
"""Of the histogram of costs in [0, 2]: a percentile is exact to 3e-5."""

_Node = tuple[str, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DropAlignment:
    """The cheapest way.

    Attributes:
        total: Costs of matched cells and drops.
        path: (L, 2) int64 matched cells (sentence, window) in order; L may be 0.
        dropped_sentences: int64 rows that are on no cell.
        dropped_clips: int64 columns that are on no cell.
        score: -total / (L + number of dropped items).
    """

    total: float
    path: I64
    dropped_sentences: I64
    dropped_clips: I64
    score: float


def drop_dtw_reference(cost: F64, *, drop_clip: float, drop_sentence: float) -> DropAlignment:
    """Align two sequences with drops, plainly: this is what the kernel is tested against.

    Four tables over (i sentences, j clips): `cell` ends in a match of sentence i and clip j, `clip` in one of clip j
    after which sentences may have been dropped, `sentence` in one of sentence i after which clips may have been
    dropped, `any` is the best of all.

    Args:
        cost: (S, N) cost of each pair; any sign, both sides at least 1.
        drop_clip: Price of a clip that is left out.
        drop_sentence: Price of a sentence that is left out.

    Returns:
        The cheapest way with its cost and score.

    Raises:
        ValueError: the matrix is empty or holds NaN.
    """
    if cost.ndim != 2 or 0 in cost.shape or bool(np.isnan(cost).any()):
        raise ValueError(f"cost: got shape {cost.shape}, expected a matrix with at least one cell and no NaN")
    totals: dict[_Node, float] = {("any", 0, 0): 0.0}
    came_from: dict[_Node, _Node] = {}

    def reach(node: _Node, *ways: tuple[_Node, float]) -> None:
        known = [(totals[before] + price, before) for before, price in ways if before in totals]
        if known:
            totals[node], came_from[node] = min(known, key=lambda way: way[0])  # min takes the first of equals

    for i in range(cost.shape[0] + 1):
        for j in range(cost.shape[1] + 1):
            if i and j:
                price = float(cost[i - 1, j - 1])
                before: tuple[_Node, ...] = (("any", i - 1, j - 1), ("clip", i - 1, j), ("sentence", i, j - 1))
                reach(("cell", i, j), *((node, price) for node in before))
                reach(("clip", i, j), (("cell", i, j), 0.0), (("clip", i - 1, j), drop_sentence))
                reach(("sentence", i, j), (("cell", i, j), 0.0), (("sentence", i, j - 1), drop_clip))
            if i or j:
                drops = ((("any", i, j - 1), drop_clip), (("any", i - 1, j), drop_sentence))
                reach(("any", i, j), (("cell", i, j), 0.0), *drops)
    return _drop_alignment(cost.shape, totals, came_from)


def _drop_alignment(shape: tuple[int, ...], totals: dict[_Node, float], came_from: dict[_Node, _Node]) -> DropAlignment:
    node: _Node = ("any", shape[0], shape[1])
    total, cells = totals[node], []
    while node in came_from:
        if node[0] == "cell":
            cells.append((node[1] - 1, node[2] - 1))
        node = came_from[node]
    path = np.array(cells[::-1], np.int64).reshape(-1, 2)
    sentences, clips = (np.setdiff1d(np.arange(shape[axis]), path[:, axis]) for axis in (0, 1))
    score = -total / (len(path) + len(sentences) + len(clips))
    return DropAlignment(total=total, path=path, dropped_sentences=sentences, dropped_clips=clips, score=score)


def cost_percentile(texts: Sequence[F32], videos: Sequence[F32], percent: float) -> float:
    """Find the cost 1 - cosine below which a share of all cells of all pairs lies.

    Args:
        texts: P arrays (S, E), at least one.
        videos: V arrays (N, E), at least one.
        percent: In (0, 100].

    Returns:
        The cost, rounded up to a multiple of 2 / 65536. One video's columns stand at a time.

    Raises:
        ValueError: nothing is given, a sequence is empty or has another width, or `percent` is out of range.
    """
    if not texts or not videos or not 0 < percent <= 100:
        raise ValueError(f"got {len(texts)} texts, {len(videos)} videos, percent {percent}; expected some, in (0, 100]")
    lengths_of([*texts, *videos])
    rows, counts = stack_unit_rows(texts, "float64"), np.zeros(_BINS, np.int64)
    for video in videos:
        _count(rows @ unit_rows(video).T, counts)
    share = np.cumsum(counts) / counts.sum()
    return float(2.0 / _BINS * (1 + np.searchsorted(share, percent / 100.0)))


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba has no types
def _count(similarity: F64, counts: I64) -> None:
    for value in similarity.flat:
        position = int((1.0 - value) * (_BINS / 2))
        counts[min(max(position, 0), _BINS - 1)] += 1


def drop_dtw_score_matrix(
    texts: Sequence[F32],
    videos: Sequence[F32],
    *,
    drop_clip: float,
    drop_sentence: float,
    precision: Precision = "float64",
    threads: int = 1,
) -> F64:
    """Score every text against every video on the cost 1 - cosine.

    Args:
        texts: P arrays (S, E), rows of any length; S at least 1.
        videos: V arrays (N, E); N at least 1.
        drop_clip: Price of a clip that is left out.
        drop_sentence: Price of a sentence that is left out.
        precision: Of the matrix product. With float32 a way may be chosen that is dearer by some 1e-6.
        threads: As `models.alignment.tiles.score_matrix` says.

    Returns:
        (P, V) float64, greater is better. One tile of the cost matrix stands at a time.

    Raises:
        ValueError: an array is empty or has another width, or holds a NaN; a drop cost is not finite.
    """
    drop_costs = np.array([drop_clip, drop_sentence], np.float64)
    if not bool(np.isfinite(drop_costs).all()):
        raise ValueError(f"drop costs: got {drop_clip} and {drop_sentence}, expected two finite numbers")
    return score_matrix(drop_dtw_kernel, texts, videos, precision=precision, threads=threads, drop_costs=drop_costs)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def drop_dtw_kernel(
    similarity: NDArray[np.floating], text_starts: I64, starts: I64, lengths: I64, drop_costs: F64, out: F64
) -> None:
    """Write the score and the total of each text and lane; arguments as `models.alignment.tiles` says."""
    for text in range(len(text_starts) - 1):
        rows = similarity[text_starts[text] : text_starts[text + 1]]
        _align_text(rows, starts, lengths, drop_costs[0], drop_costs[1], out[:, text])


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _align_text(
    rows: NDArray[np.floating], starts: I64, lengths: I64, drop_clip: float, drop_sentence: float, out: F64
) -> None:
    """Align one text with all groups, window by window. First axis of all buffers: totals, numbers of items paid for.

    `best` is the table `any` (two columns in turn, row 0 = no sentence yet), `left` the table `sentence` of the
    window before, `up` the table `clip` of the sentence before.
    """
    num_rows = len(rows)
    best, left = np.empty((2, 2, num_rows + 1, LANES)), np.empty((2, num_rows, LANES))
    up, cost = np.empty((2, LANES)), np.empty(LANES)
    for group in range(len(lengths)):
        left[0], left[1], best[0, 0, 0], best[1, 0, 0] = np.inf, 0.0, 0.0, 0.0
        for i in range(num_rows):
            best[0, 0, i + 1] = best[0, 0, i] + drop_sentence
            best[1, 0, i + 1] = best[1, 0, i] + 1.0
        ended, column = 0, starts[group]
        for j in range(lengths[group, -1]):
            old, new = j % 2, 1 - j % 2
            up[0], up[1] = np.inf, 0.0
            best[0, new, 0] = best[0, old, 0] + drop_clip
            best[1, new, 0] = best[1, old, 0] + 1.0
            for i in range(num_rows):
                lane_costs(rows[i, column - ended : column - ended + LANES], cost)
                _step(best[:, old, i : i + 2], best[:, new, i : i + 2], left[:, i], up, cost, drop_clip, drop_sentence)
            column += LANES - ended
            while ended < LANES and lengths[group, ended] == j + 1:
                slot = group * LANES + ended
                out[1, slot] = best[0, new, num_rows, ended]
                out[0, slot] = -best[0, new, num_rows, ended] / best[1, new, num_rows, ended]
                ended += 1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _step(old: F64, new: F64, left: F64, up: F64, cost: F64, drop_clip: float, drop_sentence: float) -> None:
    """One cell of every lane: match it, then decide for each table whether a drop is cheaper."""
    for lane in range(LANES):
        total, items = old[0, 0, lane], old[1, 0, lane]
        total, items = _cheaper(total, items, up[0, lane], up[1, lane])
        total, items = _cheaper(total, items, left[0, lane], left[1, lane])
        total, items = total + cost[lane], items + 1.0
        up[0, lane], up[1, lane] = _cheaper(total, items, up[0, lane] + drop_sentence, up[1, lane] + 1.0)
        left[0, lane], left[1, lane] = _cheaper(total, items, left[0, lane] + drop_clip, left[1, lane] + 1.0)
        total, items = _cheaper(total, items, old[0, 1, lane] + drop_clip, old[1, 1, lane] + 1.0)
        total, items = _cheaper(total, items, new[0, 0, lane] + drop_sentence, new[1, 0, lane] + 1.0)
        new[0, 1, lane], new[1, 1, lane] = total, items


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _cheaper(total: float, items: float, other: float, other_items: float) -> tuple[float, float]:
    """The first, unless the other is cheaper."""
    cheaper = other < total
    return (other if cheaper else total), (other_items if cheaper else items)
