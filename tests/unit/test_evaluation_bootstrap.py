import numpy as np
import pytest

from stages.evaluation.bootstrap import BootstrapSettings, bootstrap, means, medians, pair_accuracy, paired_bootstrap


def test_interval_of_a_mean_is_that_of_the_normal_approximation():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    found = bootstrap(values, means, rng=np.random.default_rng(0), settings=BootstrapSettings(num_resamples=20_000))
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)


def test_covers_the_truth_about_as_often_as_it_says():
    draws = np.random.default_rng(2)
    inside = 0
    for seed in range(300):
        hits = (draws.random(120) < 0.3).astype(float)
        found = bootstrap(hits, means, rng=np.random.default_rng(seed), settings=BootstrapSettings(num_resamples=400))
        inside += found.low <= 0.3 <= found.high
    assert 0.90 <= inside / 300 <= 0.98


def test_same_seed_same_interval_whatever_the_block(monkeypatch):
    values = np.random.default_rng(3).random(50)
    first = bootstrap(values, medians, rng=np.random.default_rng(5))
    assert bootstrap(values, medians, rng=np.random.default_rng(5)) == first
    monkeypatch.setattr("stages.evaluation.bootstrap._BLOCK_CELLS", 500)
    assert bootstrap(values, medians, rng=np.random.default_rng(5)) == first


def test_one_value_has_an_interval_without_width():
    found = bootstrap(np.array([0.5]), means, rng=np.random.default_rng(0))
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_paired_difference_is_sharper_than_two_intervals():
    rng = np.random.default_rng(4)
    difficulty = rng.random(200)
    first, second = difficulty + 0.05, difficulty
    found = paired_bootstrap(first, second, rng=np.random.default_rng(0))
    assert found.low == pytest.approx(0.05)
    assert found.value == pytest.approx(0.05)
    with pytest.raises(ValueError, match="one shape"):
        paired_bootstrap(first, second[:-1], rng=rng)


def test_pairs_stay_together():
    # Two choices that always agree carry the information of one: the interval is that of 50 draws, not of 100.
    choices = np.repeat((np.arange(50) < 25).astype(float)[:, None], 2, axis=1)
    found = pair_accuracy(choices, rng=np.random.default_rng(0), settings=BootstrapSettings(num_resamples=10_000))
    assert found.value == 0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(50), rel=0.06)
    with pytest.raises(ValueError, match=r"\(pairs, 2\)"):
        pair_accuracy(choices[:, 0], rng=np.random.default_rng(0))


@pytest.mark.parametrize("values", [np.array([]), np.array([1.0, np.nan]), np.ones((2, 2))])
def test_values_must_be_finite_numbers(values):
    with pytest.raises(ValueError, match="finite"):
        bootstrap(values, means, rng=np.random.default_rng(0))
