"""From one video's batches of frames to its feature rows; what computes them is handed in."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.media.batches import read_batch
from stages.media.consumers import GridConsumer
from stages.media.geometry import Rgb
from stages.media.messages import Header
from stages.media.stacks import Clip, ClipStacker
from stages.media.timelines import Times

Encode = Callable[[Rgb], NDArray[np.float32]]
"""(B, F, H, W, 3) uint8 RGB -> (B, D) float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRows:
    """The frozen features of one video.

    Attributes:
        features: (N, D) float16.
        spans: (N, 2) float64 seconds, half-open.
        damaged: (N,) bool.
        num_padded: rows whose clip reaches beyond the video's end (its last frame is repeated).
    """

    features: NDArray[np.float16] = field(repr=False)
    spans: Times = field(repr=False)
    damaged: NDArray[np.bool_] = field(repr=False)
    num_padded: int


class RowBuilder:
    """Gathers a video's clips into batches of a fixed size and their features into rows."""

    def __init__(self, consumer: GridConsumer, encode: Encode, *, batch_size: int, end_s: float) -> None:
        """Start a video.

        Args:
            consumer: how its clips lie.
            encode: computes rows.
            batch_size: clips that `encode` always gets; what the last batch lacks is zeros.
            end_s: of the video's timeline.
        """
        self._encode = encode
        self._batch_size = batch_size
        self._clip_s = consumer.clip_s
        self._spans = consumer.spans(end_s)
        self._stacker = ClipStacker(consumer.times(end_s)[1])
        self._waiting: list[Clip] = []
        self._rows: list[NDArray[np.float16]] = []
        self._damaged: list[bool] = []

    def add(self, header: Header, payload: bytearray) -> None:
        """Take a `batch` message of this consumer."""
        self._take(self._stacker.add(header["first"], read_batch(header, payload), header["damaged"]))

    def finish(self) -> VideoRows:
        """Compute what is left and give all rows."""
        self._take(self._stacker.finish())
        self._flush()
        spans = self._spans[: self._stacker.num_clips]
        return VideoRows(
            features=np.concatenate(self._rows) if self._rows else np.zeros((0, 0), np.float16),
            spans=spans,
            damaged=np.array(self._damaged, dtype=np.bool_),
            num_padded=int(np.sum(spans[:, 1] - spans[:, 0] < self._clip_s - 1e-9)),
        )

    def _take(self, clips: Iterable[Clip]) -> None:
        for clip in clips:
            self._waiting.append(clip)
            self._damaged.append(clip.damaged)
            if len(self._waiting) == self._batch_size:
                self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        batch = np.zeros((self._batch_size, *self._waiting[0].frames.shape), dtype=np.uint8)
        for position, clip in enumerate(self._waiting):
            batch[position] = clip.frames
        self._rows.append(self._encode(batch)[: len(self._waiting)].astype(np.float16))
        self._waiting = []
