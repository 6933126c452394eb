import numpy as np
import pytest

from stages.evaluation.metrics import discounted_gains, ranks_of_targets, relevant_ranks


def test_rank_counts_greater_and_half_of_equal():
    scores = np.array([[3.0, 2.0, 2.0, 2.0, 1.0]])
    assert ranks_of_targets(scores, np.array([1])).tolist() == [3.0]
    assert ranks_of_targets(scores, np.array([0])).tolist() == [1.0]
    assert ranks_of_targets(scores, np.array([4])).tolist() == [5.0]


def test_constant_scores_give_the_middle_rank():
    assert (ranks_of_targets(np.ones((20, 20)), np.arange(20)) == 10.5).all()


def test_right_answers_do_not_compete_with_each_other():
    scores = np.array([[5.0, 4.0, 4.0, 3.0, 4.0]])
    relevant = np.array([[True, False, True, False, True]])
    assert [ranks.tolist() for ranks in relevant_ranks(scores, relevant)] == [[1.0, 2.5, 3.5]]


def test_tied_right_answers_on_top_are_a_perfect_order():
    ranks = relevant_ranks(np.array([[1.0, 1.0, 0.0]]), np.array([[True, True, False]]))
    assert ranks[0].tolist() == [1.0, 2.0]
    assert discounted_gains(ranks).tolist() == [1.0]


def test_infinite_scores_have_ranks():
    scores = np.array([[-np.inf, 1.0, -np.inf]])
    assert ranks_of_targets(scores, np.array([0])).tolist() == [2.5]


@pytest.mark.parametrize("column", [0, 2])
def test_nan_anywhere_is_an_error(column):
    scores = np.ones((2, 3))
    scores[1, column] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        ranks_of_targets(scores, np.array([0, 0]))
    with pytest.raises(ValueError, match="query 1 has a NaN score"):
        relevant_ranks(scores, np.eye(2, 3, dtype=bool))


def test_a_query_without_right_answer_is_an_error():
    with pytest.raises(ValueError, match="query 1 has no right answer"):
        relevant_ranks(np.ones((2, 2)), np.array([[True, False], [False, False]]))


def test_shapes_and_targets_are_checked():
    with pytest.raises(ValueError, match="one target a row"):
        ranks_of_targets(np.ones((2, 3)), np.array([0]))
    with pytest.raises(ValueError, match=r"\[0, 3\)"):
        ranks_of_targets(np.ones((2, 3)), np.array([0, 3]))
    with pytest.raises(ValueError, match="must be"):
        relevant_ranks(np.ones((2, 3)), np.ones((3, 2), dtype=bool))


def test_discounted_gain_by_hand():
    gain = (1 / np.log2(2) + 1 / np.log2(5)) / (1 / np.log2(2) + 1 / np.log2(3))
    assert discounted_gains([np.array([1.0, 4.0])])[0] == pytest.approx(gain)
