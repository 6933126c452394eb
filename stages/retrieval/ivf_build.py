"""Building an IVF index in three steps that can be done apart: train its lists, fill them part by part, join the parts.

A part is a shard of embeddings. One more video fills one part anew and joins again; the lists are taken over. The
number of lists that a search visits is measured, not hoped for: 1, the value that faiss writes by default, loses a
third of the neighbours (Applio#1284).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.retrieval.ivf import RECALL_K, IvfFacts, IvfSettings, choose_nprobe, draw_rows
from stages.retrieval.vectors import VectorIndex, Vectors, fill_lists, join_lists, train_lists

# Two kernels add the same products in another order; equal scores must still count as equal.
_SCORE_TOLERANCE = 1e-5

Parts = Callable[[], Iterable[Vectors]]
"""Gives the vectors of all parts, float32 (N, E) each, in order; called more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedLists:
    """An IVF index without rows, and how it was trained.

    Attributes:
        index: The lists.
        sample_rows: Rows that they were trained on.
        seed: Of the sample and of k-means.
    """

    index: VectorIndex
    sample_rows: int
    seed: int


def take_rows(parts: Iterable[Vectors], rows: NDArray[np.int64]) -> Iterator[Vectors]:
    """Rows of parts that lie one behind the other, part by part.

    Args:
        parts: float32 (N, E) each.
        rows: (M,) int64 ascending.
    """
    first = 0
    for vectors in parts:
        here = rows[(rows >= first) & (rows < first + len(vectors))]
        yield vectors[here - first]
        first += len(vectors)


def measure(
    joined: VectorIndex, lists: TrainedLists, parts: Parts, held_out: NDArray[np.int64], settings: IvfSettings
) -> tuple[VectorIndex, IvfFacts]:
    """Choose how many lists a search of a joined index visits.

    Args:
        joined: Of `join_lists`.
        lists: The trained lists that it has.
        parts: Its rows as vectors, to search exactly in.
        held_out: (Q,) int64 rows to ask, at least one.
        settings: `nprobe` and `target_recall`.

    Raises:
        ConfigError: the given `nprobe` misses `target_recall`.
    """
    queries = np.concatenate(list(take_rows(parts(), held_out)))
    k = min(RECALL_K, joined.num_rows - 1)
    exact = exact_scores(queries, held_out, parts(), k)

    def recall(nprobe: int) -> float:
        if not exact.size:
            return 1.0
        scores, rows = joined.with_nprobe(nprobe).search(queries, k + 1)
        scores[rows == held_out[:, None]] = -np.inf
        least = exact[:, -1:]
        found = -np.sort(-scores, axis=1)[:, :k]
        return float(np.mean(found >= least - _SCORE_TOLERANCE * np.maximum(1, np.abs(least))))

    nprobe, measured = choose_nprobe(recall, joined.nlist, settings)
    facts = IvfFacts(
        nlist=joined.nlist,
        nprobe=nprobe,
        sample_rows=lists.sample_rows,
        seed=lists.seed,
        recall=measured,
        recall_k=RECALL_K,
        held_out=tuple(held_out.tolist()),
    )
    return joined.with_nprobe(nprobe), facts


def exact_scores(queries: Vectors, own_rows: NDArray[np.int64], parts: Iterable[Vectors], k: int) -> Vectors:
    """The k greatest inner products of each query with any row but its own, part by part.

    Args:
        queries: float32 (Q, E).
        own_rows: (Q,) int64.
        parts: float32 (N, E) each.
        k: At most the number of other rows.

    Returns:
        float32 (Q, k), best first.
    """
    best, first = np.full((len(queries), k), -np.inf, np.float32), 0
    for vectors in parts:
        scores = queries @ vectors.T
        inside = (own_rows >= first) & (own_rows < first + len(vectors))
        scores[inside, own_rows[inside] - first] = -np.inf
        best = -np.sort(-np.concatenate([best, scores], axis=1), axis=1)[:, :k]
        first += len(vectors)
    return best


def build_ivf(vectors: Vectors, ids: Sequence[str], settings: IvfSettings) -> tuple[VectorIndex, IvfFacts]:
    """All steps at once, for vectors that lie in memory.

    Args:
        vectors: float32 (N, E), N >= 1.
        ids: N ids, by which rows are drawn.
        settings: How.

    Raises:
        ConfigError: more lists than training rows, or the given `nprobe` misses `target_recall`.
        ValueError: no rows, or a value is not finite.
    """
    draw = draw_rows(ids, settings)
    index = train_lists(vectors[draw.sample], nlist=draw.nlist, seed=settings.seed)
    lists = TrainedLists(index=index, sample_rows=len(draw.sample), seed=settings.seed)
    joined = join_lists(index, [fill_lists(index, vectors)])
    return measure(joined, lists, lambda: [vectors], draw.held_out, settings)
