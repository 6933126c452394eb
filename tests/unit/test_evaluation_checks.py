"""Degenerate predictions: one answer to everything, and hubs; nothing is said of what is merely bad."""

import numpy as np
import pytest

from stages.evaluation.checks import occurrence_skewness, retrieval_warnings
from stages.evaluation.records import RankedQueries
from stages.evaluation.scoring import rank_queries


def ranked(scores: np.ndarray) -> RankedQueries:
    queries, gallery = scores.shape
    return rank_queries(
        lambda rows: scores[rows],
        query_ids=[f"q{row}" for row in range(queries)],
        gallery_ids=[f"v{column}" for column in range(gallery)],
        relevant=[np.array([row % gallery]) for row in range(queries)],
    )


def test_skewness_of_known_counts() -> None:
    assert occurrence_skewness(np.full(9, 4)) == 0.0
    counts = np.array([0, 0, 0, 10])
    deviation = counts - 2.5
    assert occurrence_skewness(counts) == pytest.approx(np.mean(deviation**3) / np.mean(deviation**2) ** 1.5)


def test_random_scores_are_not_degenerate() -> None:
    for seed in range(5):
        assert retrieval_warnings(ranked(np.random.default_rng(seed).standard_normal((300, 200)))) == ()
    found = ranked(np.random.default_rng(0).standard_normal((300, 200)))
    assert found.occurrences.sum() == 300 * 10


def test_hubs_are_named() -> None:
    rng = np.random.default_rng(1)
    scores = rng.standard_normal((300, 200))
    scores[:, :3] += 2.5  # three videos that are near to everything
    (warning,) = retrieval_warnings(ranked(scores))
    assert warning.startswith("hubs: the skewness of the 10-occurrence is")
    assert "among the first 10 of" in warning


def test_one_answer_to_everything_is_named() -> None:
    scores = np.random.default_rng(2).standard_normal((40, 12))
    scores[:, 4] = 9.0
    assert retrieval_warnings(ranked(scores))[0].startswith("v4 comes first for 100% of the queries")


def test_too_few_queries_tell_nothing() -> None:
    assert retrieval_warnings(ranked(np.ones((5, 50)))) == ()
    assert retrieval_warnings(ranked(np.ones((50, 2)))) == ()
