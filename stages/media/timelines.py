"""Where clips, frames and windows lie on a video's clock: arithmetic on seconds, no file is opened.

Times are float64 seconds on the clock that a browser shows; spans are half-open. The frame at time t is the one with
the largest presentation time <= t.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Tail = Literal["drop", "keep"]
"""What becomes of the end of a video that no whole clip covers.

`drop`: it has no clip; a video shorter than a clip has none at all. `keep`: one more clip covers it, whose span ends
with the video; the frames that it lacks repeat the last one.
"""

Times = NDArray[np.float64]

_BEFORE_S = 1e-3
"""More than the rounding of Matroska's time stamps, half a millisecond, less than any frame lasts."""


def clip_spans(duration_s: float, clip_s: float, stride_s: float, tail: Tail, tolerance_s: float = 0.0) -> Times:
    """Lay clips over a video, the first at 0.

    Args:
        duration_s: end of the last frame, seconds; >= 0.
        clip_s: length of a clip, seconds; > 0.
        stride_s: from one start to the next, seconds; > 0.
        tail: what to do with the end (see `Tail`).
        tolerance_s: a clip that sticks out by no more than this counts as whole, and a tail of no more is ignored
            (half the sampling period: no frame time falls into it).

    Returns:
        (N, 2) float64 `[start_s, end_s)`, starts ascending; N is 0 if nothing fits. No end exceeds `duration_s`.

    Raises:
        ValueError: a length is not positive and finite, or the policy is unknown.
    """
    _check_lengths(duration_s, clip_s, stride_s)
    if tail not in get_args(Tail):
        raise ValueError(f"tail policy: got {tail!r}, expected one of {get_args(Tail)}")
    slack = max(tolerance_s, 1e-9)
    beyond_first = duration_s + slack - clip_s
    num_whole = int(np.floor(beyond_first / stride_s)) + 1 if beyond_first >= 0 else 0
    covered_s = (num_whole - 1) * stride_s + clip_s if num_whole else 0.0
    # With a stride longer than a clip the next start may lie behind the end: nothing is left to keep there.
    next_start_s = num_whole * stride_s
    uncovered = min(duration_s - covered_s, duration_s - next_start_s) > (slack if num_whole else 0.0)
    num_clips = num_whole + int(tail == "keep" and uncovered)
    starts = np.arange(num_clips, dtype=np.float64) * stride_s
    return np.stack([starts, np.minimum(starts + clip_s, duration_s)], axis=1)


def frame_times(spans: Times, fps: float, frames_per_clip: int) -> Times:
    """Choose the times at which the frames of each clip are looked up.

    A frame stands for 1/fps seconds and is looked up just before their middle: this is what ffmpeg's `fps` filter shows
    with its default rounding (VideoCLIP's extraction). In the middle itself look-ups would fall on boundaries of frames
    if a video has an even multiple of `fps`, as 60 of 30, and rounding would decide between two.

    Args:
        spans: (N, 2) float64 seconds.
        fps: frames a second.
        frames_per_clip: F.

    Returns:
        (N, F) float64 seconds; just before `start + (j + 0.5) / fps`. Times of a kept tail may lie behind its end.
    """
    if fps <= 0 or frames_per_clip < 1:
        raise ValueError(f"frame times: got {fps} fps and {frames_per_clip} frames a clip, expected both positive")
    offsets = (np.arange(frames_per_clip, dtype=np.float64) + 0.5) / fps - min(_BEFORE_S, 0.25 / fps)
    times: Times = spans[:, :1] + offsets[None, :]
    return times


def search_windows(duration_s: float, window_s: float, stride_s: float) -> Times:
    """Lay search windows over a video: as `clip_spans` with the tail kept, so that every moment is in a window.

    Returns:
        (W, 2) float64 seconds, the last window cut at the video's end.
    """
    return clip_spans(duration_s, window_s, stride_s, "keep")


def _check_lengths(duration_s: float, length_s: float, stride_s: float) -> None:
    if not (np.isfinite(duration_s) and duration_s >= 0):
        raise ValueError(f"duration: got {duration_s} s, expected a finite number >= 0")
    if not (np.isfinite(length_s) and length_s > 0 and np.isfinite(stride_s) and stride_s > 0):
        raise ValueError(f"clip length and stride: got {length_s} s and {stride_s} s, expected both > 0")
