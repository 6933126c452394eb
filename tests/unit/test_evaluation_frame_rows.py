"""Rows brought to a fixed number, against NumPy's interpolation and by hand."""

import numpy as np
import pytest

from stages.evaluation.frame_rows import resampled
from stages.training.row_windows import uniform_places


@pytest.mark.parametrize(
    ("num_rows", "num_kept", "places"),
    [
        (300, 30, [round(x) - 1 for x in (1 + 299 * k / 29 for k in range(30))]),
        (5, 5, [0, 1, 2, 3, 4]),
        (3, 6, [0, 0, 1, 1, 2, 2]),
        (1, 4, [0, 0, 0, 0]),
        (9, 1, [0]),
    ],
)
def test_places_are_a_rounded_linspace_from_one(num_rows: int, num_kept: int, places: list[int]) -> None:
    assert uniform_places(num_rows, num_kept).tolist() == places


def test_resampling_is_linear_interpolation_between_middles() -> None:
    rng = np.random.default_rng(0)
    edges = np.cumsum(rng.uniform(0.2, 2.0, 18))
    spans = np.stack([edges[:-1], edges[1:]], axis=1) - edges[0]
    duration_s = float(spans[-1, 1])
    rows = rng.standard_normal((len(spans), 4)).astype(np.float32)
    got = resampled(rows, spans, duration_s, 10)
    points = (np.arange(30) + 0.5) * duration_s / 30
    for column in range(4):
        expected = np.interp(points, spans.mean(axis=1), rows[:, column]).reshape(10, 3).mean(axis=1)
        np.testing.assert_allclose(got[:, column], expected, rtol=1e-5, atol=1e-6)
    assert got.dtype == np.float32


def test_resampling_of_one_row_repeats_it() -> None:
    got = resampled(np.array([[1.0, 2.0]], np.float32), np.array([[0.0, 3.0]]), 3.0, 4)
    assert got.tolist() == [[1.0, 2.0]] * 4


def test_steps_of_a_longer_sequence_average_their_rows() -> None:
    rows = np.arange(12, dtype=np.float32)[:, None]
    spans = np.stack([np.arange(12.0), np.arange(12.0) + 1], axis=1)
    np.testing.assert_allclose(resampled(rows, spans, 12.0, 4)[:, 0], [1, 4, 7, 10], atol=1e-6)
