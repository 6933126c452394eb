"""Frozen rows of single frames, brought to a fixed number: a mean, a short sequence, a sequence of equal steps.

Letters: N rows of a video, D their width, F rows that are kept, T steps.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from stages.evaluation.records import F32, F64
from stages.training.dataset import FeatureRows
from stages.training.row_windows import uniform_places


def resampled(rows: F32, spans: F64, duration_s: float, num_steps: int, points: int = 3) -> F32:
    """Rescale a sequence to T equal steps of the video.

    Source: BSN (arXiv:1806.02964) and BMN interpolate linearly between rows; a step is the mean of some points in it.
    We take a row's place from its span's middle instead of its number, so that rows need not be evenly spaced.

    Args:
        rows: (N, D), N at least 1.
        spans: (N, 2) float64 seconds, ascending.
        duration_s: of the video.
        num_steps: T.
        points: of a step, evenly over it, ends left out.

    Returns:
        (T, D) float32; before the first row's middle it is the first row, after the last one's the last.
    """
    middles = spans.mean(axis=1)
    wanted = (np.arange(num_steps * points) + 0.5) * (duration_s / (num_steps * points))
    right = np.searchsorted(middles, wanted).clip(1, max(1, len(rows) - 1))
    left = right - 1
    right = np.minimum(right, len(rows) - 1)
    gaps = np.maximum(middles[right] - middles[left], 1e-12)
    share = ((wanted - middles[left]) / gaps).clip(0.0, 1.0)[:, None]
    values = (1.0 - share) * rows[left] + share * rows[right]
    return np.asarray(values.reshape(num_steps, points, -1).mean(axis=1), dtype=np.float32)


class RowSource(Protocol):
    """Rows of videos by source id."""

    def rows(self, source_id: str) -> FeatureRows:
        """All rows of a video, with the damaged ones marked."""


class EvenRows:
    """Reads F intact rows of a video, spread evenly over them, and remembers which videos have fewer."""

    def __init__(self, source: RowSource, num_kept: int) -> None:
        self._source, self._num_kept = source, num_kept
        self._read: set[str] = set()
        self._short: set[str] = set()

    def rows(self, source_id: str) -> F32:
        """The rows of one video: (F, D) float32."""
        found = self._source.rows(source_id)
        intact = found.features[~found.damaged]
        self._read.add(source_id)
        if len(intact) < self._num_kept:
            self._short.add(source_id)
        return np.asarray(intact[uniform_places(len(intact), self._num_kept)], dtype=np.float32)

    def means(self, source_ids: Sequence[str]) -> F32:
        """The mean of each video's rows: (V, D) float32."""
        return np.stack([self.rows(source_id).mean(axis=0) for source_id in source_ids])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What should be said of the videos that were read."""
        if not self._short:
            return ()
        return (
            f"{len(self._short)} of {len(self._read)} videos have fewer than {self._num_kept} intact rows, some of "
            "which then count twice: extract more rows a second",
        )


def unit_length(vectors: F32) -> F32:
    """Vectors at length 1: (V, D) float32; one of zeros stays."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)
