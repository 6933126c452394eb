import itertools

import numpy as np
import pytest

from stages.evaluation.chance import chance_levels, mixed_survival, survival
from stages.evaluation.metrics import discounted_gains, relevant_ranks


def by_enumeration(gallery_size, num_relevant, ks):
    """Every order of the right answers is equally likely: average over all of them."""
    placements = list(itertools.combinations(range(gallery_size), num_relevant))
    scores = np.tile(-np.arange(gallery_size, dtype=float), (len(placements), 1))
    relevant = np.zeros(scores.shape, dtype=bool)
    for row, columns in zip(relevant, placements, strict=True):
        row[list(columns)] = True
    ranks = relevant_ranks(scores, relevant)
    best = np.array([row[0] for row in ranks])
    levels = {f"R@{k}": float(np.mean(best <= k)) for k in ks}
    return levels | {
        "median_rank": float(np.median(best)),
        "mean_rank": float(best.mean()),
        "MRR": float(np.mean(1 / best)),
        "nDCG": float(discounted_gains(ranks).mean()),
    }


@pytest.mark.parametrize(("gallery_size", "num_relevant"), [(1, 1), (2, 1), (7, 1), (8, 1), (8, 3), (9, 2), (6, 6)])
def test_exact_expectations(gallery_size, num_relevant):
    found = chance_levels(gallery_size, np.full(4, num_relevant), ks=(1, 3, 10))
    expected = by_enumeration(gallery_size, num_relevant, (1, 3, 10))
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected)


def test_queries_with_different_numbers_of_right_answers_are_averaged():
    found = chance_levels(10, np.array([1, 1, 4]), ks=(2,))
    parts = [chance_levels(10, np.array([count]), ks=(2,)) for count in (1, 1, 4)]
    for name in ("R@2", "mean_rank", "MRR", "nDCG"):
        assert found[name] == pytest.approx(np.mean([part[name] for part in parts]))


def test_the_usual_gallery():
    found = chance_levels(1000, np.ones(5, dtype=np.int64), ks=(1, 5, 10))
    assert [found[f"R@{k}"] for k in (1, 5, 10)] == pytest.approx([0.001, 0.005, 0.01])
    assert (found["median_rank"], found["mean_rank"]) == pytest.approx((500.5, 500.5))


def test_survival_falls_from_one_to_zero():
    tail = survival(30, 4)
    assert (tail[0], tail[-1]) == (1.0, 0.0)
    assert (np.diff(tail) <= 0).all()
    assert mixed_survival(30, np.array([4, 4])) == pytest.approx(tail)


@pytest.mark.parametrize("count", [0, 4])
def test_impossible_numbers_of_right_answers(count):
    with pytest.raises(ValueError, match=r"\[1, 3\]"):
        survival(3, count)
