"""From feature rows and sentences to vectors, one video at a time, the same bits however the work is divided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.encoders.joint import JointEncoder
from stages.errors import ConfigError, SchemaMismatch
from stages.media.timelines import search_windows
from stages.training.batches import pad_windows
from stages.training.dataset import FeatureEntry
from stages.training.embedding_tables import TextRows, VideoVectors
from stages.training.loop import fixed_arithmetic

Vectors = NDArray[np.float32]
ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedSettings:
    """How videos are cut and batches are made; see `EmbedConfig`."""

    window_s: float
    stride_s: float
    batch_windows: int
    batch_texts: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedEncoder:
    """An encoder that is ready.

    Attributes:
        encoder: in eval mode.
        facts: which one it is: kind, sha256, seed, backbone, description, random_weights, normalised.
        max_rows: feature rows that a window may have; None for any number.
    """

    encoder: JointEncoder
    facts: Mapping[str, Any]
    max_rows: int | None


def rows_over(spans: NDArray[np.float64], windows: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return which rows overlap each window.

    Args:
        spans: (N, 2) float64 seconds, half-open, ordered by start and by end.
        windows: (W, 2) float64 seconds, half-open.

    Returns:
        (W, 2) int64 half-open ranges of rows; empty where nothing overlaps.
    """
    first = np.searchsorted(spans[:, 1], windows[:, 0], side="right")
    last = np.searchsorted(spans[:, 0], windows[:, 1], side="left")
    return np.stack([first, np.maximum(first, last)], axis=1).astype(np.int64)


class Embedder:
    """An encoder with its settings; `features` says in words whose features it is fed."""

    def __init__(self, opened: OpenedEncoder, settings: EmbedSettings, *, features: str) -> None:
        self.encoder = opened.encoder
        self._settings = settings
        self._max_rows = opened.max_rows
        encoder = {**opened.facts, "features": features}
        self.facts = {"encoder": encoder, "window_s": settings.window_s, "stride_s": settings.stride_s}

    def embed(self, video_id: str, entry: FeatureEntry, texts: TextRows) -> VideoVectors:
        """Embed one video.

        Args:
            video_id: for messages.
            entry: its features.
            texts: what was said in it.

        Raises:
            SchemaMismatch: the features are not of the width that the encoder reads.
            ConfigError: a window has more rows than the encoder takes.
        """
        features = np.asarray(entry.map_features(), dtype=np.float32)
        spans, damaged = entry.read_spans(), entry.read_damaged()
        # A row that is no number would make its whole window none.
        damaged = damaged | ~np.isfinite(features).all(axis=1)
        grid = search_windows(
            float(spans[-1, 1]) if len(spans) else 0.0, self._settings.window_s, self._settings.stride_s
        )
        rows = rows_over(spans, grid)
        self._check(video_id, features, rows)
        intact = np.array([not damaged[start:end].all() for start, end in rows], dtype=bool)
        kept = np.flatnonzero(intact)
        with fixed_arithmetic(self._settings.threads):
            windows = self._encode_windows([self._window(features, damaged, *rows[index]) for index in kept])
            said = self._encode_texts([row.text for row in texts.narrations])
        spans_kept = grid[kept]
        means = _paragraph_means(texts, said, windows, spans_kept)
        return VideoVectors(
            window_index=kept,
            window_spans=spans_kept,
            window_damaged=np.array([int(damaged[slice(*rows[index])].sum()) for index in kept], dtype=np.int64),
            windows=windows,
            num_windows_damaged=int((~intact).sum()),
            narrations=said,
            paragraph_texts=means[0],
            paragraph_videos=means[1],
            paragraph_shown=means[2],
        )

    def _check(self, video_id: str, features: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        if features.shape[1] not in self.encoder.feature_dims:
            widths = " or ".join(map(str, self.encoder.feature_dims))
            raise SchemaMismatch(
                f"video {video_id}: its features have {features.shape[1]} components, the encoder "
                f"({self.encoder.description}) reads {widths}; extract with the preset that it was "
                "made for, or choose another encoder"
            )
        most = int((rows[:, 1] - rows[:, 0]).max(initial=0))
        if self._max_rows is not None and most > self._max_rows:
            raise ConfigError(
                f"[embed] window_s = {self._settings.window_s:g}: a window of video {video_id} has {most} feature "
                f"rows, the encoder takes {self._max_rows}; lower window_s"
            )

    def _window(
        self, features: NDArray[np.float32], damaged: NDArray[np.bool_], start: int, end: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Rows of a window with the damaged ones zeroed, and which are real."""
        real = ~damaged[start:end]
        return np.where(real[:, None], features[start:end], np.float32(0)), real

    def _encode_windows(self, windows: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]]) -> Vectors:
        if not windows:
            return np.zeros((0, self.encoder.dim), np.float32)
        longest = max(len(real) for _, real in windows)
        found = []
        for batch in _full_batches(windows, self._settings.batch_windows):
            features, mask = pad_windows([rows for rows, _ in batch], longest)
            for row, (_, real) in enumerate(batch):
                mask[row, : len(real)] = torch.from_numpy(real)
            found.append(self.encoder.encode_windows(features, mask))
        return _first_rows(found, len(windows))

    def _encode_texts(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.encoder.dim), np.float32)
        found = [self.encoder.encode_texts(batch) for batch in _full_batches(texts, self._settings.batch_texts)]
        return _first_rows(found, len(texts))


def _full_batches(items: Sequence[ItemT], size: int) -> list[list[ItemT]]:
    """Cut into batches of one size; the last is filled up with its last item."""
    batches = [list(items[start : start + size]) for start in range(0, len(items), size)]
    batches[-1] += [batches[-1][-1]] * (size - len(batches[-1]))
    return batches


def _first_rows(found: Sequence[Tensor], count: int) -> Vectors:
    vectors: Vectors = torch.cat(list(found))[:count].float().numpy()
    return vectors


def _paragraph_means(
    texts: TextRows, said: Vectors, windows: Vectors, spans: NDArray[np.float64]
) -> tuple[Vectors, Vectors, NDArray[np.bool_]]:
    """Mean narration and mean window of each paragraph, and whether it has a window."""
    owner = np.array([row.paragraph_index for row in texts.narrations], dtype=np.int64)
    count, dim = len(texts.paragraphs), said.shape[1]
    text, video = np.zeros((count, dim), np.float32), np.zeros((count, dim), np.float32)
    shown = np.zeros(count, dtype=bool)
    for number, paragraph in enumerate(texts.paragraphs):
        text[number] = said[owner == paragraph.index].mean(axis=0)
        over = (spans[:, 0] < paragraph.end_s) & (spans[:, 1] > paragraph.start_s)
        shown[number] = over.any()
        if shown[number]:
            video[number] = windows[over].mean(axis=0)
    return text, video, shown
