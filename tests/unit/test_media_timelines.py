"""Spans and times at their edges."""

import numpy as np
import pytest

from stages.media.timelines import clip_spans, frame_times, search_windows


@pytest.mark.parametrize(
    ("duration", "tail", "expected"),
    [
        (0.0, "keep", []),
        (0.0, "drop", []),
        (3.0, "drop", [[0, 2]]),
        (3.0, "keep", [[0, 2], [2, 3]]),
        (4.0, "keep", [[0, 2], [2, 4]]),
        (0.04, "keep", [[0, 0.04]]),
        (0.04, "drop", []),
        (4.01, "keep", [[0, 2], [2, 4]]),
        (3.99, "drop", [[0, 2], [2, 3.99]]),
    ],
)
def test_tail_policies(duration, tail, expected):
    spans = clip_spans(duration, 2.0, 2.0, tail, tolerance_s=0.02)
    np.testing.assert_allclose(spans, np.array(expected, dtype=float).reshape(-1, 2))


def test_overlapping_clips_keep_one_tail_only():
    np.testing.assert_allclose(clip_spans(4.5, 2, 1, "keep"), [[0, 2], [1, 3], [2, 4], [3, 4.5]])


def test_frames_are_looked_up_just_before_the_middle_of_their_interval():
    np.testing.assert_allclose(frame_times(np.array([[1.0, 2.0]]), 4, 4), [[1.124, 1.374, 1.624, 1.874]])
    np.testing.assert_allclose(frame_times(np.array([[0.0, 1.0]]), 1000, 2), [[0.00025, 0.00125]])


def test_a_video_shorter_than_a_window_is_one_window():
    np.testing.assert_allclose(search_windows(3.0, 16, 16), [[0, 3]])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((-1, 1, 1, "keep"), "duration"), ((1, 0, 1, "keep"), "length"), ((1, 1, float("nan"), "drop"), "stride")],
)
def test_lengths_that_make_no_sense_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        clip_spans(*arguments)


def test_an_unknown_tail_policy_is_refused():
    with pytest.raises(ValueError, match="'drop', 'keep'"):
        clip_spans(1, 1, 1, "pad")
