"""From feature rows and sentences to vectors, one video at a time, the same bits however the work is divided."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.encoders.joint import has_fusion
from stages.errors import ConfigError, SchemaMismatch
from stages.media.timelines import search_windows
from stages.training.batch_encoder import BatchEncoder, OpenedEncoder, Vectors, Window, cut_window, mean_states
from stages.training.choice import EncoderSettings
from stages.training.dataset import FeatureEntry
from stages.training.embedding_tables import TextRows, VideoVectors


@dataclass(frozen=True, slots=True, kw_only=True)
class CutVideo:
    """One video's windows.

    Attributes:
        grid: (W, 2) float64 seconds.
        ranges: (W, 2) int64 half-open rows of each window.
        windows: W windows with their rows.
        spans: (N, 2) float64 seconds of the rows.
        damaged: (N,) bool, True where a row must not be used.
    """

    grid: NDArray[np.float64]
    ranges: NDArray[np.int64]
    windows: tuple[Window, ...]
    spans: NDArray[np.float64]
    damaged: NDArray[np.bool_]


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


def check_width(video_id: str, features: Vectors, opened: OpenedEncoder) -> None:
    """Refuse features that the encoder does not read.

    Raises:
        SchemaMismatch: their width is another one.
    """
    encoder = opened.encoder
    if features.shape[1] not in encoder.feature_dims:
        widths = " or ".join(map(str, encoder.feature_dims))
        raise SchemaMismatch(
            f"video {video_id}: its features have {features.shape[1]} components, the encoder "
            f"({encoder.description}) reads {widths}; extract with the preset that it was "
            "made for, or choose another encoder"
        )


class Embedder:
    """An encoder with its settings and the grid of windows; `features` says in words whose features it is fed."""

    def __init__(
        self, opened: OpenedEncoder, settings: EncoderSettings, *, window_s: float, stride_s: float, features: str
    ) -> None:
        self.encoder = opened.encoder
        self._opened = opened
        self._batches = BatchEncoder(opened.encoder, settings)
        self._window_s, self._stride_s = window_s, stride_s
        encoder = {**opened.facts, "features": features}
        self.facts = {"encoder": encoder, "window_s": window_s, "stride_s": stride_s}

    def cut(self, video_id: str, entry: FeatureEntry) -> CutVideo:
        """Read one video's features and cut them into windows.

        Args:
            video_id: for messages.
            entry: its features.

        Raises:
            SchemaMismatch: the features are not of the width that the encoder reads.
            ConfigError: a window has more rows than the encoder takes.
        """
        rows = entry.read_rows()
        check_width(video_id, rows.features, self._opened)
        duration_s = float(rows.spans[-1, 1]) if len(rows.spans) else 0.0
        grid = search_windows(duration_s, self._window_s, self._stride_s)
        ranges = rows_over(rows.spans, grid)
        self._check_lengths(video_id, ranges)
        windows = tuple(cut_window(rows.features, rows.damaged, start, end) for start, end in ranges.tolist())
        return CutVideo(grid=grid, ranges=ranges, windows=windows, spans=rows.spans, damaged=rows.damaged)

    def embed(self, video: CutVideo, texts: TextRows) -> VideoVectors:
        """Embed one video and what was said in it."""
        intact = np.array([window.real.any() for window in video.windows], dtype=bool)
        kept = np.flatnonzero(intact)
        windows = self._batches.windows([video.windows[index] for index in kept])
        said = self._batches.texts([row.text for row in texts.narrations])
        spans_kept = video.grid[kept]
        means = _paragraph_means(texts, said, windows, spans_kept)
        return VideoVectors(
            window_index=kept,
            window_spans=spans_kept,
            window_damaged=np.array([int((~video.windows[index].real).sum()) for index in kept], dtype=np.int64),
            windows=windows,
            num_windows_damaged=int((~intact).sum()),
            window_tokens=self._tokens([video.windows[index] for index in kept]) if self.has_fusion else (),
            narrations=said,
            paragraph_texts=means[0],
            paragraph_videos=means[1],
            paragraph_shown=means[2],
        )

    @property
    def has_fusion(self) -> bool:
        """Whether the encoder reads windows and sentences together, for which it needs the states of windows."""
        return has_fusion(self.encoder)

    def _tokens(self, windows: Sequence[Window]) -> list[Vectors]:
        states = self._batches.states(windows)
        return [found[window.real] for found, window in zip(states, windows, strict=True)]

    def states(self, video: CutVideo) -> Vectors:
        """Return one video's hidden state of every row, averaged over the windows that hold it: (N, E) float32.

        NaN where a row is damaged.
        """
        return mean_states(len(video.spans), video.ranges, video.windows, self._batches.states(video.windows))

    def _check_lengths(self, video_id: str, ranges: NDArray[np.int64]) -> None:
        most = int((ranges[:, 1] - ranges[:, 0]).max(initial=0))
        if self._opened.max_rows is not None and most > self._opened.max_rows:
            raise ConfigError(
                f"[embed] window_s = {self._window_s:g}: a window of video {video_id} has {most} feature "
                f"rows, the encoder takes {self._opened.max_rows}; lower window_s"
            )


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
