"""Properties of ranks that hold whatever the scores are."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stages.evaluation.metrics import discounted_gains, ranks_of_targets, relevant_ranks

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 8))
# Few distinct values, so that ties are the rule.
SCORES = SHAPES.flatmap(lambda shape: arrays.arrays(np.float64, shape, elements=st.sampled_from([-2.0, 0.0, 0.5, 3.0])))


@st.composite
def judged(draw):
    scores = draw(SCORES)
    relevant = draw(arrays.arrays(np.bool_, scores.shape))
    relevant[:, draw(st.integers(0, scores.shape[1] - 1))] = True
    return scores, relevant


@settings(max_examples=200, deadline=None)
@given(SCORES, st.data())
def test_one_right_answer_is_a_special_case_of_several(scores, data):
    targets = np.array([data.draw(st.integers(0, scores.shape[1] - 1)) for _ in scores])
    relevant = np.zeros(scores.shape, dtype=bool)
    relevant[np.arange(len(scores)), targets] = True
    several = np.array([row[0] for row in relevant_ranks(scores, relevant)])
    assert np.array_equal(several, ranks_of_targets(scores, targets))


@settings(max_examples=200, deadline=None)
@given(SCORES)
def test_all_ranks_of_a_row_are_those_of_a_strict_order_on_average(scores):
    for row in scores:
        places = [1 + sum(row > value) + 0.5 * (sum(row == value) - 1) for value in row]
        assert ranks_of_targets(np.tile(row, (row.size, 1)), np.arange(row.size)).tolist() == places
        assert sum(places) == row.size * (row.size + 1) / 2


@settings(max_examples=200, deadline=None)
@given(judged(), st.randoms(use_true_random=False))
def test_order_of_the_gallery_and_monotone_maps_change_nothing(case, random):
    scores, relevant = case
    columns = list(range(scores.shape[1]))
    random.shuffle(columns)
    expected = [row.tolist() for row in relevant_ranks(scores, relevant)]
    assert [row.tolist() for row in relevant_ranks(scores[:, columns], relevant[:, columns])] == expected
    assert [row.tolist() for row in relevant_ranks(7.5 * scores, relevant)] == expected
    assert [row.tolist() for row in relevant_ranks(np.exp(scores), relevant)] == expected


@settings(max_examples=200, deadline=None)
@given(judged())
def test_ranks_and_gains_stay_in_their_ranges(case):
    ranks = relevant_ranks(*case)
    assert all(row.min() >= 1 and row.max() <= case[0].shape[1] for row in ranks)
    gains = discounted_gains(ranks)
    assert ((gains > 0) & (gains <= 1 + 1e-12)).all()
