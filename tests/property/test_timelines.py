"""Properties of spans and frame times, against plain loops."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.media.timelines import clip_spans, frame_times

durations = st.floats(min_value=0, max_value=500)
lengths = st.floats(min_value=0.5, max_value=40)


@settings(deadline=None)
@given(durations, lengths, lengths)
def test_dropped_tails_leave_whole_clips_only(duration, clip, stride):
    spans = clip_spans(duration, clip, stride, "drop")
    count = 0
    while count * stride + clip <= duration + 1e-9:
        count += 1
    assert abs(len(spans) - count) <= (1 if abs((duration - clip) / stride % 1) < 1e-6 else 0)
    assert np.all(np.abs(spans[:, 1] - spans[:, 0] - clip) < 1e-6)


@settings(deadline=None)
@given(durations, lengths, lengths)
def test_kept_tails_cover_every_instant_that_the_stride_allows(duration, clip, stride):
    spans = clip_spans(duration, clip, stride, "keep")
    assert np.all(spans[:, 0] < spans[:, 1])
    assert np.all(spans[:, 1] <= duration)
    dropped = clip_spans(duration, clip, stride, "drop")
    assert len(dropped) <= len(spans) <= len(dropped) + 1
    if duration > 0 and stride <= clip:
        assert spans[-1, 1] >= duration - 1e-6
        assert np.all(spans[1:, 0] <= spans[:-1, 1] + 1e-9)


@settings(deadline=None)
@given(durations, lengths, st.floats(min_value=0.5, max_value=60), st.integers(1, 64))
def test_frame_times_lie_inside_their_clip_and_ascend(duration, stride, fps, frames):
    spans = clip_spans(duration, frames / fps, stride, "drop")
    times = frame_times(spans, fps, frames)
    assert times.shape == (len(spans), frames)
    assert np.all(times >= spans[:, :1])
    assert np.all(times < spans[:, 1:] + 1e-6)
    assert np.all(np.diff(times, axis=1) > 0)
