"""The only door to faiss: inner-product indexes, flat or IVF, that answer the same way on every machine.

An IVF index is trained in one thread, so that its bytes repeat, filled part by part and joined (`ivf_build` says how).
Its `nprobe` is stored in the file for other readers and handed over with each search here, because readers forget it
(CodeRAG#33).
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import faiss as _faiss
import numpy as np
from numpy.typing import NDArray

from stages.errors import Corrupt, SchemaMismatch
from stages.retrieval.ivf import MIN_ROWS_PER_LIST

# faiss's stubs lack what its Python wrappers add (search parameters by keyword, DirectMap).
faiss: Any = _faiss

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]


class VectorIndex:
    """A loaded or built index; rows are numbered in the order in which they were added."""

    def __init__(self, index: Any, nprobe: int | None) -> None:
        """`index`: faiss flat or IVF-flat; `nprobe`: lists visited by a search, None for a flat one."""
        self._index = index
        self._nprobe = nprobe

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

    @property
    def nlist(self) -> int:
        """Lists there are; 1 for a flat index."""
        return 1 if self._nprobe is None else int(self._index.nlist)

    def with_nprobe(self, nprobe: int) -> "VectorIndex":
        """The same IVF index, visiting so many lists."""
        return VectorIndex(self._index, nprobe)

    def wider(self) -> "VectorIndex | None":
        """The same IVF index, visiting twice as many lists; None if all are visited, as those of a flat index are."""
        if self._nprobe is None or self._nprobe >= self.nlist:
            return None
        return self.with_nprobe(min(2 * self._nprobe, self.nlist))

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

    def write(self, file: IO[bytes] | io.RawIOBase) -> None:
        """Write the index piece by piece in faiss's own format, which `faiss.read_index` opens."""
        if self._nprobe is not None:
            self._index.set_direct_map_type(faiss.DirectMap.NoMap)
            self._index.nprobe = self._nprobe
        faiss.write_index(self._index, faiss.PyCallbackIOWriter(file.write))


def build_flat(vectors: Vectors) -> VectorIndex:
    """An exact inner-product index of `vectors`, float32 (N, E), N >= 0.

    Raises:
        ValueError: not two-dimensional, or a value is not finite.
    """
    index = faiss.IndexFlatIP(_checked(vectors).shape[1])
    index.add(np.ascontiguousarray(vectors, np.float32))
    return VectorIndex(index, None)


def train_lists(sample: Vectors, *, nlist: int, seed: int) -> VectorIndex:
    """An IVF index without rows: its lists are k-means cells of a sample, in one thread.

    Args:
        sample: float32 (M, E), M >= nlist: all of it is trained on.
        nlist: Number of lists.
        seed: Of k-means.

    Raises:
        ValueError: too few rows, or a value is not finite.
    """
    if not 1 <= nlist <= len(_checked(sample)):
        raise ValueError(f"an IVF index of {nlist} lists needs at least as many rows to train on, got {len(sample)}")
    width = sample.shape[1]
    with _one_thread():
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, nlist, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = seed
        # The sample is the training set: faiss must neither sub-sample it again nor print that it is small.
        index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, len(sample)
        index.train(np.ascontiguousarray(sample, np.float32))
    return VectorIndex(index, 1)


def fill_lists(lists: VectorIndex, vectors: Vectors) -> VectorIndex:
    """A copy of an IVF index without rows, with these vectors as its rows 0, 1, ...

    Args:
        lists: Of `train_lists`.
        vectors: float32 (N, E), N >= 0.

    Raises:
        ValueError: another width, or a value is not finite.
    """
    if _checked(vectors).shape[1] != lists.dim:
        raise ValueError(f"vectors must be (N, {lists.dim}), got {vectors.shape}")
    with _one_thread():
        filled = faiss.clone_index(lists._index)
        filled.add(np.ascontiguousarray(vectors, np.float32))
    return VectorIndex(filled, 1)


def join_lists(lists: VectorIndex, parts: Iterable[VectorIndex]) -> VectorIndex:
    """One IVF index with the rows of all parts, one part behind the other; the parts are emptied.

    Args:
        lists: Of `train_lists`.
        parts: Of `fill_lists` on these lists.
    """
    joined = faiss.clone_index(lists._index)
    for part in parts:
        joined.merge_from(part._index, joined.ntotal)
    return VectorIndex(joined, 1)


def keep_rows(index: VectorIndex, rows: Rows) -> None:
    """Take all other rows out of an IVF index, and number those that stay anew.

    Args:
        index: Of `join_lists`; changed.
        rows: (M,) int64 ascending.
    """
    number = np.full(index.num_rows, -1, np.int64)
    number[rows] = np.arange(len(rows))
    ivf = index._index
    ivf.remove_ids(np.flatnonzero(number < 0))
    for one in range(ivf.nlist):
        size = ivf.invlists.list_size(one)
        if size:
            ids = faiss.rev_swig_ptr(ivf.invlists.get_ids(one), size)  # a view of faiss's own memory
            ids[:] = number[ids]


def nearest_rows(vectors: Vectors, asked: Rows, k: int, *, lists: int, probes: int, seed: int) -> Rows:
    """The rows of least Euclidean distance to some of them, by an IVF index that nobody keeps.

    Args:
        vectors: float32 (N, E), N >= 1.
        asked: int64 (Q,) rows.
        k: Rows wanted, the asked one included.
        lists: Of the index, cut to one a 39 rows; 1 searches exactly.
        probes: Lists that are looked at.
        seed: Of k-means.

    Returns:
        int64 (Q, k), nearest first; -1 where the lists that were looked at hold no more.
    """
    nlist = max(1, min(lists, len(_checked(vectors)) // MIN_ROWS_PER_LIST))
    with _one_thread():
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(vectors.shape[1]), vectors.shape[1], nlist, faiss.METRIC_L2)
        index.cp.seed, index.nprobe = seed, min(probes, nlist)
        index.train(vectors)
        index.add(vectors)
        rows: Rows = index.search(vectors[asked], k)[1]
    return rows


def load_index(path: Path, *, dim: int, nprobe: int | None) -> VectorIndex:
    """The index in the file at `path`, checked.

    Args:
        path: A file that `VectorIndex.write` made.
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
