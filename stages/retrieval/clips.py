"""Where the clip index of a bundle comes from: vectors that are searched exactly, or parts that units have filled."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stages.errors import Corrupt
from stages.retrieval.ivf import IvfFacts, IvfSettings, draw_rows
from stages.retrieval.ivf_build import Parts, TrainedLists, measure, take_rows
from stages.retrieval.vectors import VectorIndex, Vectors, build_flat, join_lists, keep_rows, load_index


class ClipSource(Protocol):
    """Gives the index of the window vectors."""

    def build(self, window_ids: Sequence[str], order: NDArray[np.int64]) -> tuple[VectorIndex, IvfFacts | None]:
        """Build it.

        Args:
            window_ids: N ids in row order.
            order: (N,) int64: row r of the index is row `order[r]` of what the source holds; it may hold more.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatClips:
    """An exact index of vectors, float32 (N, E)."""

    vectors: Vectors

    def build(self, window_ids: Sequence[str], order: NDArray[np.int64]) -> tuple[VectorIndex, IvfFacts | None]:
        """See `ClipSource`."""
        return build_flat(self.vectors[order]), None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedClips:
    """An IVF index whose lists were trained, and filled part by part, before.

    Attributes:
        lists: The trained lists.
        filled: Files of the filled parts, in row order.
        parts: The vectors of the parts, for measuring.
        settings: `nprobe`, `target_recall` and `seed`.
        on_part: Told how many parts are joined.
    """

    lists: TrainedLists
    filled: Sequence[Path]
    parts: Parts
    settings: IvfSettings
    on_part: Callable[[int], None]

    def build(self, window_ids: Sequence[str], order: NDArray[np.int64]) -> tuple[VectorIndex, IvfFacts | None]:
        """See `ClipSource`.

        Raises:
            Corrupt: the windows do not lie in the order of the manifest.
        """
        if not (np.diff(order) > 0).all():
            raise Corrupt("the shards of the embeddings do not follow the manifest's order; embed again")
        if not len(order):
            return build_flat(np.zeros((0, self.lists.index.dim), np.float32)), None
        joined = join_lists(self.lists.index, self._read())
        if len(order) < joined.num_rows:
            keep_rows(joined, order)
        held_out = draw_rows(window_ids, self.settings).held_out
        return measure(joined, self.lists, lambda: take_rows(self.parts(), order), held_out, self.settings)

    def _read(self) -> Iterable[VectorIndex]:
        for number, path in enumerate(self.filled):
            yield load_index(path, dim=self.lists.index.dim, nprobe=1)
            self.on_part(number + 1)
