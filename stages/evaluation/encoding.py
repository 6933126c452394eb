"""The run's encoder over a data set: annotated clips, whole videos, single rows and texts, in one place.

Damaged rows are left out everywhere; what has no intact row has no vector, and the caller is told. A batch never
crosses videos. Letters: E joint width, N rows of a video, W windows, C clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.errors import ConfigError
from stages.evaluation.features import FeatureSource
from stages.evaluation.records import F32, F64, EncoderFacts
from stages.media.timelines import search_windows
from stages.training.batch_encoder import BatchEncoder, OpenedEncoder, Window, cut_window, mean_states
from stages.training.choice import EncoderSettings
from stages.training.dataset import FeatureRows
from stages.training.embedder import check_width, rows_over
from stages.training.row_windows import row_windows


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSpan:
    """A part of a video; without times the whole of it."""

    source_id: str
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowVectors:
    """Windows of one video that have an intact row, in order of time: (W, 2) float64 seconds and (W, E) float32."""

    spans: F64
    vectors: F32


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStates:
    """The hidden state of each row of one video.

    Attributes:
        spans: (N, 2) float64 seconds.
        states: (N, E) float32, zero where a row is damaged.
        real: (N,) bool, False where a row is damaged.
    """

    spans: F64
    states: F32
    real: NDArray[np.bool_]


class DatasetEncoder:
    """An open encoder and the features of a data set's videos."""

    def __init__(self, opened: OpenedEncoder, settings: EncoderSettings, features: FeatureSource) -> None:
        self._opened = opened
        self._batches = BatchEncoder(opened.encoder, settings)
        self._features = features

    @property
    def dim(self) -> int:
        """E."""
        return self._opened.encoder.dim

    def facts(self, features: str) -> EncoderFacts:
        """Which encoder it is; `features` says in words whose features it reads."""
        encoder = self._opened.encoder
        return EncoderFacts(
            description=encoder.description,
            random_weights=encoder.random_weights,
            features=features,
            normalised=encoder.normalised,
        )

    def texts(self, texts: Sequence[str]) -> F32:
        """Encode sentences -> (len(texts), E)."""
        return self._batches.texts(texts)

    def clips(self, clips: Sequence[ClipSpan], *, max_rows: int) -> tuple[F32, NDArray[np.bool_]]:
        """Encode parts of videos, each from its first rows.

        Args:
            clips: C, best with those of a video together.
            max_rows: rows of a clip that are kept; the encoder may take fewer.

        Returns:
            (C, E) vectors, and (C,) bool: False (and a zero vector) where a clip has no intact row.
        """
        most = min(max_rows, self._opened.max_rows or max_rows)
        vectors, found = np.zeros((len(clips), self.dim), np.float32), np.zeros(len(clips), dtype=np.bool_)
        for source_id, places in _by_video(clips).items():
            rows = self._rows(source_id)
            windows = [_clip(rows, clips[place], most) for place in places]
            intact = [number for number, window in enumerate(windows) if window.real.any()]
            kept = [places[number] for number in intact]
            vectors[kept], found[kept] = self._batches.windows([windows[number] for number in intact]), True
        return vectors, found

    def windows(self, source_id: str, *, window_s: float, stride_s: float) -> WindowVectors:
        """Encode a whole video window by window; the last one ends with the video.

        Raises:
            ConfigError: a window has more rows than the encoder takes.
        """
        rows = self._rows(source_id)
        grid = search_windows(float(rows.spans[-1, 1]), window_s, stride_s)
        ranges = rows_over(rows.spans, grid)
        self._check(source_id, int((ranges[:, 1] - ranges[:, 0]).max(initial=0)), f"window_s = {window_s:g}")
        windows = [cut_window(rows.features, rows.damaged, start, end) for start, end in ranges.tolist()]
        kept = [number for number, window in enumerate(windows) if window.real.any()]
        vectors = self._batches.windows([windows[number] for number in kept])
        return WindowVectors(spans=grid[kept], vectors=vectors)

    def states(self, source_id: str, *, window_rows: int, stride_rows: int, cls_visible: bool) -> RowStates:
        """Encode every row of a video in windows of rows; a row that several windows hold has the mean of its states.

        The windows are the published ones: from row 0 on, until what remains fits into one.

        Args:
            source_id: the video.
            window_rows: rows of a window.
            stride_rows: from one window to the next.
            cls_visible: see `JointEncoder.encode_states`.

        Raises:
            ConfigError: a window has more rows than the encoder takes.
        """
        rows = self._rows(source_id)
        self._check(source_id, min(window_rows, len(rows.spans)), f"window_rows = {window_rows}")
        ranges = row_windows(len(rows.spans), window_rows, stride_rows)
        windows = [cut_window(rows.features, rows.damaged, start, end) for start, end in ranges.tolist()]
        states = mean_states(len(rows.spans), ranges, windows, self._batches.states(windows, cls_visible=cls_visible))
        states[rows.damaged] = 0
        return RowStates(spans=rows.spans, states=states, real=~rows.damaged)

    def first_states(self, source_id: str, *, num_rows: int, cls_visible: bool) -> RowStates:
        """Encode the first rows of a video as one window, filled up with empty rows where it is shorter.

        Args:
            source_id: the video.
            num_rows: rows of the window; the encoder may take fewer.
            cls_visible: see `JointEncoder.encode_states`.

        Returns:
            As many rows as the window has, `real` where the video has an intact one; elsewhere the state is what the
            encoder makes of an empty row.
        """
        rows = self._rows(source_id)
        most = min(num_rows, self._opened.max_rows or num_rows)
        kept = min(most, len(rows.spans))
        window = cut_window(rows.features, rows.damaged, 0, kept)
        empty = np.zeros((most - kept, rows.features.shape[1]), np.float32)
        window = Window(rows=np.vstack([window.rows, empty]), real=np.arange(most) < kept)
        window.real[:kept] &= ~rows.damaged[:kept]
        pitch_s = float(rows.spans[1, 0] - rows.spans[0, 0]) if len(rows.spans) > 1 else float(np.ptp(rows.spans[0]))
        more = rows.spans[kept - 1] + pitch_s * np.arange(1, most - kept + 1)[:, None]
        (states,) = self._batches.states([window], cls_visible=cls_visible)
        return RowStates(spans=np.vstack([rows.spans[:kept], more]), states=states, real=window.real)

    def label_logits(self, states: F32) -> F32:
        """Give the logits of the encoder's own head: (N, E) -> (N, K).

        Raises:
            ConfigError: it has no head.
        """
        encoder = self._opened.encoder
        if not encoder.num_labels:
            raise ConfigError(
                f"[[evaluate.benchmarks]] head = 'checkpoint': {encoder.description} has no head on single rows; name "
                "a checkpoint that was fine-tuned with one, or take 'zero_shot'"
            )
        return self._batches.label_logits(states)

    def _rows(self, source_id: str) -> FeatureRows:
        rows = self._features.rows(source_id)
        check_width(source_id, rows.features, self._opened)
        return rows

    def _check(self, source_id: str, most: int, setting: str) -> None:
        if self._opened.max_rows is not None and most > self._opened.max_rows:
            raise ConfigError(
                f"[[evaluate.benchmarks]] {setting}: a window of {source_id} has {most} feature rows, the encoder "
                f"takes {self._opened.max_rows}; lower it"
            )


def _clip(rows: FeatureRows, clip: ClipSpan, most: int) -> Window:
    start, end = 0, len(rows.spans)
    if clip.start_s is not None and clip.end_s is not None:
        ((start, end),) = rows_over(rows.spans, np.array([[clip.start_s, clip.end_s]])).tolist()
    return cut_window(rows.features, rows.damaged, start, min(end, start + most))


def _by_video(clips: Sequence[ClipSpan]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, clip in enumerate(clips):
        places.setdefault(clip.source_id, []).append(place)
    return places
