"""One pass over a video serves any number of consumers, each with its own times and picture size."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.media.causes import NO_FRAMES, decode_error
from stages.media.decoders import open_decoder
from stages.media.decoders.base import Frame
from stages.media.geometry import Geometry, Rgb
from stages.media.sources import Source

_REORDERED = 16
"""Frames by which time may go back in a sound file: of two frames with one time stamp the first is shown, and some AVIs
number their packets in the order of decoding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRequest:
    """What one consumer wants of a video.

    Attributes:
        times_s: (N,) float64 ascending, seconds on the browser's clock.
        geometry: the picture size.
    """

    times_s: NDArray[np.float64]
    geometry: Geometry


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One answer: the frame shown at `requests[request].times_s[index]`.

    Attributes:
        request: position in the list of requests.
        index: position in its times.
        time_s: the frame's true presentation time.
        rgb: (H, W, 3) uint8. The same array may answer several times in a row: do not write into it.
        damaged: its content may differ from the undamaged file's.
    """

    request: int
    index: int
    time_s: float
    rgb: Rgb
    damaged: bool


@dataclass(slots=True, kw_only=True)
class PassFacts:
    """What one pass met; complete when the pass has ended.

    Attributes:
        num_frames: frames that decoded.
        num_errors: decode errors, and frames with stray time stamps, that were passed over.
        end_s: end of the last frame, seconds.
        missing_before: for each request, times before the first frame (answered with the first).
        missing_after: for each request, times at or after the end (not answered).
    """

    num_frames: int = 0
    num_errors: int = 0
    end_s: float = 0.0
    missing_before: list[int] = field(default_factory=list)
    missing_after: list[int] = field(default_factory=list)


def sample_frames(
    source: Source,
    requests: Sequence[FrameRequest],
    *,
    decoder: str = "pyav",
    end_s: float = math.inf,
    facts: PassFacts | None = None,
) -> Iterator[Sample]:
    """Decode a video once, forward, and answer all requests on the way; memory does not grow with its length.

    Args:
        source: the file, or the folder of pictures.
        requests: what each consumer wants.
        decoder: name of a decoder (`decoders.DECODERS`).
        end_s: of the timeline, seconds: a frame at or behind it has a stray time stamp.
        facts: filled while the pass goes on.

    Yields:
        Answers in the order of the frames; for each request the indices ascend. A time before the first frame is
        answered with the first frame; a time after the last frame's end is not answered. Both are counted in `facts`.

    Raises:
        DecodeError: the file cannot be opened, or not one frame decodes.
    """
    facts = facts if facts is not None else PassFacts()
    facts.missing_before = [0] * len(requests)
    with open_decoder(decoder).open(source) as video:
        cursors = [_Cursor(position, request) for position, request in enumerate(requests)]
        yield from _serve(_in_order(video.frames(), end_s, facts), cursors, facts)
        facts.num_errors += video.num_errors
    facts.missing_after = [cursor.num_left for cursor in cursors]
    if not facts.num_frames:
        raise decode_error(
            NO_FRAMES,
            f"{source.name}: no frame decodes ({facts.num_errors} decode errors), expected at least one; the file is "
            "damaged or cut: fetch it again or leave it out",
        )


def _in_order(frames: Iterable[Frame], end_s: float, facts: PassFacts) -> Iterator[tuple[Frame, bool]]:
    """Give the frames whose times ascend, each with whether others may be missing before it.

    Where time goes far back, one of two frames has a stray time stamp: the first, if the second is later than what came
    before both, else the second. The timeline knows already of those behind its end, and a folder may hold more
    pictures than are wanted: they are not counted.
    """
    before_s, lost = -math.inf, False
    held: tuple[Frame, bool] | None = None
    for frame in frames:
        if frame.time_s >= end_s:
            lost = True
        elif held is None or frame.time_s > held[0].time_s:
            if held is not None:
                yield held
                before_s = held[0].time_s
            held, lost = (frame, frame.after_loss or lost), False
        elif frame.time_s < held[0].time_s - _REORDERED * held[0].duration_s:
            facts.num_errors += 1
            if frame.time_s > before_s:
                held, lost = (frame, True), False
            else:
                lost = True
    if held is not None:
        yield held


def _serve(frames: Iterable[tuple[Frame, bool]], cursors: "list[_Cursor]", facts: PassFacts) -> Iterator[Sample]:
    shown: Frame | None = None
    for following, after_loss in frames:
        facts.num_frames += 1
        if shown is None:
            facts.missing_before = [cursor.count_before(following.time_s) for cursor in cursors]
        else:
            for cursor in cursors:
                yield from cursor.serve(shown, following.time_s, after_loss)
        shown = following
    if shown is not None:
        facts.end_s = shown.time_s + shown.duration_s
        for cursor in cursors:
            yield from cursor.serve(shown, facts.end_s, False)


class _Cursor:
    """How far one request has been answered."""

    def __init__(self, position: int, request: FrameRequest) -> None:
        self._position = position
        self._times = request.times_s
        self._geometry = request.geometry
        self._next = 0

    @property
    def num_left(self) -> int:
        return len(self._times) - self._next

    def count_before(self, time_s: float) -> int:
        return int(np.searchsorted(self._times, time_s, side="left"))

    def serve(self, frame: Frame, until_s: float, lost_behind: bool) -> Iterator[Sample]:
        """Answer all open times before `until_s` with `frame`; behind it others may have been lost."""
        if self._next == len(self._times) or self._times[self._next] >= until_s:
            return
        rgb = frame.rgb(self._geometry)
        while self._next < len(self._times) and self._times[self._next] < until_s:
            overdue = self._times[self._next] >= frame.time_s + 1.5 * frame.duration_s
            damaged = frame.corrupt or (lost_behind and bool(overdue))
            yield Sample(request=self._position, index=self._next, time_s=frame.time_s, rgb=rgb, damaged=damaged)
            self._next += 1
