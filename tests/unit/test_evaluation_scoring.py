"""Ranks of whole galleries, and the scores that come of them."""

import numpy as np
import pytest

from stages.evaluation.scoring import ProtocolSettings, missing_counts, rank_queries, retrieval_scores, too_small
from tests.evaluation_samples import make_set

SCORES = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 5.0], [-np.inf, -np.inf, 1.0]])
RELEVANT = [np.array([0]), np.array([1]), np.array([0, 1])]


def ranked():
    return rank_queries(
        lambda rows: SCORES[rows], query_ids=["q0", "q1", "q2"], gallery_ids=["a", "b", "c"], relevant=RELEVANT
    )


def test_names_the_best_right_answer_and_what_came_first() -> None:
    found = ranked()
    assert found.ranks.tolist() == [1.0, 1.5, 2.0]
    assert found.target_ids == ("a", "b", "a")
    assert found.answer_ids == ("a", "b", "c")
    assert found.scores.tolist() == [3.0, 5.0, -np.inf]
    assert found.num_relevant.tolist() == [1, 1, 2]
    assert (len(found), found.gallery_size) == (3, 3)


def test_scores_come_in_the_order_of_the_tables_with_chance() -> None:
    settings = ProtocolSettings(ks=(1, 2))
    scores = retrieval_scores(ranked(), settings=settings, rng=settings.generator("any"))
    assert [score.name for score in scores] == ["R@1", "R@2", "median_rank", "mean_rank", "MRR", "nDCG"]
    assert [round(score.value, 4) for score in scores[:5]] == [0.3333, 1.0, 1.5, 1.5, 0.7222]
    assert scores[0].chance == pytest.approx((1 / 3 + 1 / 3 + 2 / 3) / 3)
    assert all(score.low <= score.value <= score.high for score in scores)


def test_every_protocol_has_resamples_of_its_own() -> None:
    settings = ProtocolSettings(seed=3)
    draws = {name: settings.generator(name).integers(0, 10**9) for name in ("a", "b")}
    assert draws["a"] == settings.generator("a").integers(0, 10**9)
    assert draws["a"] != draws["b"]
    assert draws["a"] != ProtocolSettings(seed=4).generator("a").integers(0, 10**9)


def test_says_what_is_missing() -> None:
    evaluation = make_set(num_pairs=0, without_features=("x", "y"), without_narrations=("z",))
    assert missing_counts(evaluation) == {"videos_without_features": 2, "videos_without_narrations": 1}
    assert "has 0 videos with both features and narrations (2 without features" in too_small(evaluation)
    assert too_small(make_set()) == ""
