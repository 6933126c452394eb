"""Which neighbours of a hit belong to its moment."""

import numpy as np

from stages.retrieval.moments import find_moments, half_height


def spans(num_windows: int, window_s: float = 8.0, stride_s: float = 4.0) -> np.ndarray:
    starts = np.arange(num_windows) * stride_s
    return np.stack([starts, starts + window_s], axis=1)


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_a_peak_takes_its_neighbours_down_to_half_height() -> None:
    (moment,) = find_moments(scores(0, 0, 0.6, 1, 0.7, 0, 0), spans(7), [3])
    assert (moment.first, moment.last) == (2, 4)
    assert (moment.start_s, moment.end_s, moment.score) == (8.0, 24.0, 1.0)


def test_every_window_being_a_hit_does_not_make_the_whole_video_one_moment() -> None:
    found = find_moments(scores(0, 0, 0, 1, 0.9, 0, 0, 0), spans(8), range(8))
    assert (found[0].first, found[0].last) == (3, 4)
    assert all(a.end_s <= b.start_s or b.end_s <= a.start_s for a in found for b in found if a is not b)


def test_two_peaks_are_two_moments_best_first() -> None:
    found = find_moments(scores(0, 0.8, 0, 0, 0, 1, 0), spans(7, window_s=4.0), [1, 5])
    assert [(moment.first, moment.last) for moment in found] == [(5, 5), (1, 1)]


def test_a_gap_in_time_ends_a_moment() -> None:
    times = np.array([[0, 4], [4, 8], [20, 24], [24, 28]], float)
    (moment,) = find_moments(scores(0, 1, 1, 0), times, [1])
    assert (moment.start_s, moment.end_s) == (4.0, 8.0)


def test_windows_that_touch_up_to_rounding_are_neighbours() -> None:
    times = np.array([[0.0, 0.1 + 0.2], [0.3, 0.6], [0.6, 0.9]])
    (moment,) = find_moments(scores(1, 1, 0), times, [0])
    assert (moment.first, moment.last) == (0, 1)


def test_a_moment_s_score_is_its_best_window_even_if_that_was_not_retrieved() -> None:
    (moment,) = find_moments(scores(0, 0, 0.8, 1, 0), spans(5), [2])
    assert moment.score == 1.0


def test_one_window_and_equal_windows() -> None:
    assert [(m.first, m.last) for m in find_moments(scores(0.5), spans(1), [0])] == [(0, 0)]
    assert [(m.first, m.last) for m in find_moments(scores(0.5, 0.5, 0.5), spans(3), [0, 1, 2])] == [(0, 2)]
    assert find_moments(scores(0.5), spans(1), []) == []


def test_half_height_is_between_background_and_peak() -> None:
    assert half_height(scores(0, 0, 0, 1), 1.0) == 0.5
