"""Drop-DTW: brute force over what is kept on small matrices, and the kernel against the plain reference."""

import itertools

import numpy as np
import pytest

from models.alignment.drop_dtw import cost_percentile, drop_dtw_kernel, drop_dtw_reference, drop_dtw_score_matrix
from models.alignment.dtw import dtw_reference, dtw_score_matrix
from models.alignment.tiles import score_similarity
from tests.alignment_samples import each_pair, random_set, random_similarity


def cheapest_by_keeping(cost: np.ndarray, drop_clip: float, drop_sentence: float) -> float:
    """Every choice of sentences and clips to keep, and plain DTW between them."""
    num_rows, num_columns = cost.shape
    totals = [num_rows * drop_sentence + num_columns * drop_clip]
    for a, b in itertools.product(range(1, num_rows + 1), range(1, num_columns + 1)):
        drops = (num_rows - a) * drop_sentence + (num_columns - b) * drop_clip
        for rows in itertools.combinations(range(num_rows), a):
            for columns in itertools.combinations(range(num_columns), b):
                totals.append(dtw_reference(cost[np.ix_(rows, columns)]).total + drops)
    return min(totals)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 4), (4, 1), (2, 3), (3, 3), (3, 4), (4, 4)])
def test_equals_brute_force(rows: int, columns: int) -> None:
    for seed in range(6):
        rng = np.random.default_rng([rows, columns, seed])
        cost, prices = rng.normal(0.5, 0.7, size=(rows, columns)), rng.uniform(0.0, 1.0, 2)
        found = drop_dtw_reference(cost, drop_clip=prices[0], drop_sentence=prices[1])
        assert found.total == pytest.approx(cheapest_by_keeping(cost, *prices), abs=1e-12)
        drops = len(found.dropped_clips) * prices[0] + len(found.dropped_sentences) * prices[1]
        assert found.total == pytest.approx(cost[tuple(found.path.T)].sum() + drops)
        items = len(found.path) + len(found.dropped_clips) + len(found.dropped_sentences)
        assert found.score == pytest.approx(-found.total / items)


def test_background_and_a_sentence_that_is_not_shown_are_dropped() -> None:
    cost = np.ones((3, 5))
    cost[0, 1] = cost[2, 3] = 0.0
    found = drop_dtw_reference(cost, drop_clip=0.2, drop_sentence=0.3)
    assert found.path.tolist() == [[0, 1], [2, 3]]
    assert found.dropped_clips.tolist() == [0, 2, 4]
    assert found.dropped_sentences.tolist() == [1]
    assert found.score == pytest.approx(-0.9 / 6)


def test_nothing_fits() -> None:
    found = drop_dtw_reference(np.full((2, 3), 2.0), drop_clip=0.1, drop_sentence=0.1)
    assert found.path.shape == (0, 2)
    assert (found.total, found.score) == (pytest.approx(0.5), pytest.approx(-0.1))


def test_equals_the_oracle_on_ten_thousand_pairs() -> None:
    rng, num_cases = np.random.default_rng(0), 0
    while num_cases < 10_000:
        case, prices = random_similarity(rng), rng.uniform(-0.2, 1.0, 2)
        scores, totals = score_similarity(drop_dtw_kernel, *case, drop_costs=prices)
        for i, j, cost in each_pair(*case):
            expected = drop_dtw_reference(cost, drop_clip=prices[0], drop_sentence=prices[1])
            assert scores[i, j] == pytest.approx(expected.score, rel=1e-9, abs=1e-12)
            assert totals[i, j] == pytest.approx(expected.total, rel=1e-9, abs=1e-12)
            num_cases += 1


def test_drops_that_cost_too_much_leave_dtw() -> None:
    texts, videos = random_set(np.random.default_rng(1), num_texts=6, num_videos=20)
    found = drop_dtw_score_matrix(texts, videos, drop_clip=1e3, drop_sentence=1e3)
    assert found == pytest.approx(dtw_score_matrix(texts, videos), rel=1e-12)
    same = drop_dtw_score_matrix(texts, videos, drop_clip=1e3, drop_sentence=1e3, precision="float32", threads=2)
    assert same == pytest.approx(found, rel=1e-5)


def test_percentile_of_all_costs() -> None:
    texts, videos = random_set(np.random.default_rng(2), num_texts=9, num_videos=30)
    rows, columns = (np.concatenate(part).astype(np.float64) for part in (texts, videos))
    rows, columns = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rows, columns))
    for percent in (1.0, 30.0, 99.0):
        assert cost_percentile(texts, videos, percent) == pytest.approx(
            np.percentile(1.0 - rows @ columns.T, percent), abs=2e-4
        )


def test_what_makes_no_sense_is_refused() -> None:
    texts, videos = random_set(np.random.default_rng(3), num_texts=2, num_videos=2)
    with pytest.raises(ValueError, match="percent"):
        cost_percentile(texts, videos, 0.0)
    with pytest.raises(ValueError, match="finite"):
        drop_dtw_score_matrix(texts, videos, drop_clip=np.inf, drop_sentence=0.0)
    with pytest.raises(ValueError, match="cost"):
        drop_dtw_reference(np.zeros((0, 2)), drop_clip=0.1, drop_sentence=0.1)
