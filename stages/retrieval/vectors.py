"""The only door to faiss: inner-product indexes, flat or IVF, that answer the same way on every machine.

An IVF index is trained in one thread on a seeded sample, so that its bytes repeat, and its `nprobe` is measured, not
hoped for: 1, the value that faiss writes by default, loses a third of the neighbours (Applio#1284). It is stored in
the file for other readers and handed over with each search here, because readers forget it (CodeRAG#33).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss as _faiss
import numpy as np
from numpy.typing import NDArray

from stages.errors import ConfigError, Corrupt, SchemaMismatch
from stages.retrieval.ivf import IvfFacts, IvfSettings, default_nlist

# faiss's stubs lack what its Python wrappers add (search parameters by keyword, DirectMap).
faiss: Any = _faiss

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

_ROWS_PER_LIST = 64
_MAX_HELD_OUT = 256
_RECALL_K = 10
# Two kernels of faiss add the same products in another order; equal scores must still count as equal.
_SCORE_TOLERANCE = 1e-5


class VectorIndex:
    """A loaded or built index; rows are numbered in the order in which they were added."""

    def __init__(self, index: Any, nprobe: int | None) -> None:
        """`index`: faiss flat or IVF-flat; `nprobe`: lists visited by a search, None for a flat one."""
        self._index = index
        self._nprobe = nprobe
        if nprobe is not None:
            index.nprobe = nprobe

    @property
    def num_rows(self) -> int:
        """Number of vectors."""
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self._index.d)

    @property
    def nprobe(self) -> int | None:
        """Lists visited by a search; None for a flat index."""
        return self._nprobe

    def search(self, queries: Vectors, k: int, without: range = range(0)) -> tuple[Vectors, Rows]:
        """The k rows of greatest inner product with each query, best first, the smaller row first when equal.

        Args:
            queries: float32 (Q, E).
            k: Rows wanted; cut to the number of rows there are.
            without: Rows that must not be returned.

        Returns:
            Scores float32 (Q, K) and rows int64 (Q, K), K <= k; where an IVF search met fewer rows: -inf and -1.

        Raises:
            ValueError: the queries have another width than the index.
        """
        if queries.ndim != 2 or queries.shape[1] != self.dim:
            raise ValueError(f"queries must be (Q, {self.dim}), got {queries.shape}")
        k = min(k, self.num_rows - len(without))
        if k <= 0 or not len(queries):
            return np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.int64)
        # The selectors are named so that they live until the search, which keeps only raw pointers, is over.
        excluded = faiss.IDSelectorRange(without.start, without.stop)
        selector = faiss.IDSelectorNot(excluded) if len(without) else None
        if self._nprobe is None:
            parameters = faiss.SearchParameters(sel=selector)
        else:
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=self._nprobe)
        scores, rows = self._index.search(np.ascontiguousarray(queries, np.float32), k, params=parameters)
        scores[rows < 0] = -np.inf
        order = np.lexsort((rows, -scores), axis=-1)
        return np.take_along_axis(scores, order, -1), np.take_along_axis(rows, order, -1)

    def reconstruct(self, rows: range) -> Vectors:
        """The stored vectors of neighbouring rows, float32 (len(rows), E).

        Raises:
            ValueError: a row is not in the index.
        """
        if not (0 <= rows.start <= rows.stop <= self.num_rows) or rows.step != 1:
            raise ValueError(f"rows must lie in 0..{self.num_rows}, got {rows}")
        if not len(rows):
            return np.zeros((0, self.dim), np.float32)
        if self._nprobe is not None and self._index.direct_map.type == faiss.DirectMap.NoMap:
            self._index.make_direct_map()
        vectors: Vectors = self._index.reconstruct_n(rows.start, len(rows))
        return vectors

    def to_bytes(self) -> bytes:
        """The index in faiss's own format: `faiss.deserialize_index` and `faiss.read_index` open it."""
        if self._nprobe is not None:
            self._index.set_direct_map_type(faiss.DirectMap.NoMap)
        data: bytes = faiss.serialize_index(self._index).tobytes()
        return data


def build_flat(vectors: Vectors) -> VectorIndex:
    """An exact inner-product index of `vectors`, float32 (N, E), N >= 0.

    Raises:
        ValueError: not two-dimensional, or a value is not finite.
    """
    index = faiss.IndexFlatIP(_checked(vectors).shape[1])
    index.add(np.ascontiguousarray(vectors, np.float32))
    return VectorIndex(index, None)


def build_ivf(vectors: Vectors, settings: IvfSettings) -> tuple[VectorIndex, IvfFacts]:
    """An IVF-flat inner-product index of `vectors` and what was measured on it.

    Args:
        vectors: float32 (N, E), N >= 1.
        settings: Lists, probes, least recall, seed.

    Raises:
        ValueError: no rows, or a value is not finite.
        ConfigError: more lists than training rows, or the given `nprobe` misses `target_recall`.
    """
    if not len(_checked(vectors)):
        raise ValueError("an IVF index needs at least one row to train on")
    held_out, sample, nlist = _draw(len(vectors), settings)
    with _one_thread():
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], nlist, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.seed = settings.seed
        # The sample is the training set: faiss must neither sub-sample it again nor print that it is small.
        index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, len(sample)
        index.train(np.ascontiguousarray(vectors[sample], np.float32))
        index.add(np.ascontiguousarray(vectors, np.float32))
        exact = _exact_scores(vectors, held_out)
        nprobe, recall = _choose_nprobe(index, vectors, held_out, exact, settings)
    facts = IvfFacts(
        nlist=nlist,
        nprobe=nprobe,
        sample_rows=len(sample),
        seed=settings.seed,
        recall=recall,
        recall_k=_RECALL_K,
        held_out=tuple(int(row) for row in held_out),
    )
    return VectorIndex(index, nprobe), facts


def load_index(path: Path, *, dim: int, nprobe: int | None) -> VectorIndex:
    """The index in the file at `path`, checked.

    Args:
        path: A file that `VectorIndex.to_bytes` made.
        dim: Width that its record promises.
        nprobe: Lists visited by a search, as recorded; None if the record says that it is flat.

    Raises:
        Corrupt: faiss cannot read the file, or it is of another kind than recorded.
        SchemaMismatch: its width or metric is another one.
    """
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise Corrupt(f"{path} is not an index that faiss can read: {_last_words(error)}; rebuild the index") from error
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise SchemaMismatch(f"{path} does not use the inner product (faiss metric {index.metric_type}); rebuild it")
    if index.d != dim:
        raise SchemaMismatch(f"{path} holds vectors of {index.d} values, its record says {dim}; rebuild the index")
    expected = faiss.IndexFlat if nprobe is None else faiss.IndexIVFFlat
    if not isinstance(index, expected):
        raise Corrupt(f"{path} is a {type(index).__name__}, its record says {expected.__name__}; rebuild the index")
    return VectorIndex(index, nprobe)


def _checked(vectors: Vectors) -> Vectors:
    """`vectors` if they can be indexed; a NaN would silently lose its row and disturb every search."""
    if vectors.ndim != 2 or (len(vectors) and not vectors.shape[1]):
        raise ValueError(f"vectors must be (N, E), got {vectors.shape}")
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise ValueError(f"row {row} holds a value that is not finite")
    return vectors


def _draw(num_rows: int, settings: IvfSettings) -> tuple[Rows, Rows, int]:
    """Held-out rows, training rows (each sorted) and the number of lists."""
    order = np.random.default_rng([settings.seed, num_rows]).permutation(num_rows).astype(np.int64)
    num_held_out = min(_MAX_HELD_OUT, num_rows // 10)
    # An index of fewer than ten rows has none to spare: all are asked and all are trained on.
    held_out, rest = (order[:num_held_out], order[num_held_out:]) if num_held_out else (order, order)
    nlist = settings.nlist or default_nlist(len(rest))
    if nlist > len(rest):
        raise ConfigError(
            f"index.nlist is {nlist}, but there are {len(rest)} rows to train on: give at most that, or leave it out"
        )
    sample = rest[: max(_ROWS_PER_LIST * nlist, nlist)]
    return np.sort(held_out), np.sort(sample), nlist


def _exact_scores(vectors: Vectors, held_out: Rows) -> Vectors:
    """Scores of the exact nearest rows of each held-out row, itself left out; float32 (Q, k)."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(np.ascontiguousarray(vectors, np.float32))
    return _without_self(flat, vectors, held_out, None)


def _without_self(index: Any, vectors: Vectors, asked: Rows, nprobe: int | None) -> Vectors:
    """Scores of the k rows that `index` finds for each asked row, itself left out; -inf where it finds fewer."""
    k = min(_RECALL_K, len(vectors) - 1)
    parameters = None if nprobe is None else faiss.SearchParametersIVF(nprobe=nprobe)
    scores, rows = index.search(np.ascontiguousarray(vectors[asked], np.float32), k + 1, params=parameters)
    scores[(rows < 0) | (rows == asked[:, None])] = -np.inf
    best: Vectors = -np.sort(-scores, axis=1)[:, :k]
    return best


def _choose_nprobe(
    index: Any, vectors: Vectors, held_out: Rows, exact: Vectors, settings: IvfSettings
) -> tuple[int, float]:
    """The number of lists to visit and its measured recall; see the module for the rule."""

    def recall(nprobe: int) -> float:
        if not exact.size:
            return 1.0
        found = _without_self(index, vectors, held_out, nprobe)
        least = exact[:, -1:]
        return float(np.mean(found >= least - _SCORE_TOLERANCE * np.maximum(1, np.abs(least))))

    if settings.nprobe:
        nprobe = min(settings.nprobe, index.nlist)
        measured = recall(nprobe)
        if measured < settings.target_recall:
            raise ConfigError(
                f"index.nprobe = {nprobe} of {index.nlist} lists finds {measured:.3f} of the {_RECALL_K} nearest rows, "
                f"expected at least index.target_recall = {settings.target_recall}: raise nprobe, or leave it out"
            )
        return nprobe, measured
    nprobe = 1
    while nprobe < index.nlist and recall(nprobe) < settings.target_recall:
        nprobe = min(2 * nprobe, index.nlist)
    return nprobe, recall(nprobe)


@contextmanager
def _one_thread() -> Iterator[None]:
    """k-means adds in thread order: one thread gives the same bytes everywhere."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _last_words(error: RuntimeError) -> str:
    """What faiss said, without the path of its own source file."""
    return str(error).rsplit(": ", 1)[-1].strip() or "no reason given"
