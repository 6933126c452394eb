"""From one video's pictures to its feature rows; what computes them is handed in."""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.media.consumers import Plan
from stages.media.encoders import Encoder, Rows
from stages.media.geometry import Rgb
from stages.media.stacks import ClipBatch, ClipStacker
from stages.media.timelines import Times


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRows:
    """The frozen features of one video.

    Attributes:
        features: (N, D) float16.
        spans: (N, 2) float64 seconds, half-open.
        damaged: (N,) bool.
        num_padded: rows whose clip reaches beyond the video's end.
    """

    features: NDArray[np.float16] = field(repr=False)
    spans: Times = field(repr=False)
    damaged: NDArray[np.bool_] = field(repr=False)
    num_padded: int


class RowBuilder:
    """Gathers a video's clips into batches and their features into rows."""

    def __init__(self, plan: Plan, encoder: Encoder, *, batch_size: int) -> None:
        """Start a video.

        Args:
            plan: how its clips lie.
            encoder: computes rows.
            batch_size: clips that it gets at once.
        """
        self._plan = plan
        self._encoder = encoder
        self._stacker = ClipStacker(plan.table, batch_size)
        self._rows: list[Future[Rows]] = []
        self._damaged: list[bool] = []

    def add(self, first: int, pictures: Sequence[Rgb], damaged: Sequence[bool]) -> None:
        """Take the frames `first`, `first + 1`, ... (see `ClipStacker.add`)."""
        self._submit(self._stacker.add(first, pictures, damaged))

    def end(self) -> None:
        """No more frames come."""
        self._submit(self._stacker.finish())

    def collect(self) -> VideoRows:
        """Wait for all rows."""
        self._encoder.flush()
        rows = [future.result().astype(np.float16) for future in self._rows]
        return VideoRows(
            features=np.concatenate(rows) if rows else np.zeros((0, 0), np.float16),
            spans=self._plan.spans[: len(self._damaged)],
            damaged=np.array(self._damaged, dtype=np.bool_),
            num_padded=int(self._plan.padded[: len(self._damaged)].sum()),
        )

    def _submit(self, batches: Iterable[ClipBatch]) -> None:
        for batch in batches:
            self._rows.append(self._encoder.submit(batch.clips))
            self._damaged += batch.damaged
