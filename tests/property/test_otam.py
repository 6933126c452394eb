"""Hard OTAM: values by hand, every path on small matrices, and the kernel against the plain reference."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from models.alignment.otam import otam_kernel, otam_one_way, otam_reference, otam_score_matrix
from models.alignment.tiles import score_similarity
from tests.alignment_samples import each_pair, random_similarity

THREE = np.array([[0.1, 0.9, 0.8], [0.7, 0.2, 0.6], [0.9, 0.5, 0.3]])


def cheapest_by_walking(cost: np.ndarray) -> float:
    """The recurrence read as walks over the padded matrix, without a table: papers.md 3.4, word by word."""
    padded = np.pad(cost, ((0, 0), (1, 1)))
    last = padded.shape[1] - 1

    def walk(i: int, j: int) -> float:
        if j == 0:
            return 0.0
        if i == 0:
            return padded[0, j] + walk(0, j - 1)
        if j == last:
            return min(walk(i - 1, j - 1), walk(i - 1, j), walk(i, j - 1))
        if j == 1:
            return padded[i, 1] + min(0.0, walk(i - 1, 1), 0.0)
        return padded[i, j] + min(walk(i - 1, j - 1), walk(i, j - 1))

    return walk(padded.shape[0] - 1, last)


@pytest.mark.parametrize(("rows", "columns"), itertools.product(range(1, 5), repeat=2))
def test_equals_every_walk(rows: int, columns: int) -> None:
    for seed in range(5):
        cost = np.random.default_rng([rows, columns, seed]).normal(0.3, 1.0, size=(rows, columns))
        found = otam_reference(cost)
        for way, oriented in ((found.forward, cost), (found.backward, cost.T)):
            assert way.total == pytest.approx(cheapest_by_walking(oriented))
            assert way.total == pytest.approx(oriented[tuple(way.path.T)].sum())
            assert way.score == pytest.approx(-way.total / len(oriented))
            steps = np.diff(way.path, axis=0)
            assert ((steps >= 0) & (steps <= 1)).all()
        assert found.score == found.forward.score + found.backward.score


def test_values_by_hand() -> None:
    assert otam_reference(1.0 - np.eye(5)).score == 0.0
    found = otam_reference(THREE)
    assert found.forward.total == pytest.approx(0.6)
    assert found.forward.path.tolist() == [[0, 0], [1, 1], [2, 2]]
    wide = np.array([[0.1, 0.9, 0.8, 0.4], [0.7, 0.2, 0.6, 0.5]])
    assert otam_one_way(wide).total == pytest.approx(1.4)  # row 0 has to absorb: .1 + .2 + .6 + .5
    assert otam_one_way(wide.T).total == pytest.approx(0.3)


def test_it_may_begin_late_and_end_early() -> None:
    cost = np.ones((3, 6))
    cost[0, 0] = cost[1, 1] = cost[2, 2] = 0.0
    found = otam_reference(cost)
    assert found.backward.total == 0.0
    assert found.backward.path.tolist() == [[0, 0], [1, 1], [2, 2]]


def test_row_zero_absorbs_all_columns_before() -> None:
    cost = np.ones((2, 4))
    cost[0, 3] = cost[1, 3] = 0.0
    assert otam_one_way(cost[:1]).total == 3.0


def test_equals_the_oracle_on_ten_thousand_pairs() -> None:
    rng, worst, num_cases = np.random.default_rng(0), 0.0, 0
    while num_cases < 10_000:
        case = random_similarity(rng)
        scores, totals = score_similarity(otam_kernel, *case)
        for i, j, cost in each_pair(*case):
            expected = otam_reference(cost)
            total = expected.forward.total + expected.backward.total
            # A sum of two scores may come close to 0: relative to the larger of the two.
            scale = max(abs(expected.forward.score), abs(expected.backward.score))
            worst = max(worst, abs(scores[i, j] - expected.score) / scale, abs(totals[i, j] - total) / scale)
            num_cases += 1
    assert worst < 1e-5


def test_scores_of_embeddings() -> None:
    rng = np.random.default_rng(1)
    texts, videos = ([rng.normal(size=(n, 6)).astype(np.float32) for n in sizes] for sizes in ((1, 4), (1, 2, 9)))
    scores = otam_score_matrix(texts, videos)
    for i, j in itertools.product(range(2), range(3)):
        unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (texts[i].astype(float), videos[j])]
        assert scores[i, j] == pytest.approx(otam_reference(1.0 - unit[0] @ unit[1].T).score, abs=1e-6)


@pytest.mark.parametrize("bad", [np.zeros((0, 3)), np.zeros(3), np.full((2, 2), np.nan)])
def test_what_is_no_cost_matrix_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="cost"):
        otam_reference(bad)


@pytest.mark.shared
def test_soft_golden_bounds_the_hard_total(shared_dir: Path) -> None:
    """The published soft minimum, one orientation, lies below the hard one by no more than softening can do."""
    golden = np.load(shared_dir / "golden" / "alignment_golden.npz")
    for index in range(6):
        costs, soft = golden[f"cost_{index}"].astype(np.float64), golden[f"soft_otam_{index}"]
        for cost, expected in zip(costs.reshape(-1, *costs.shape[-2:]), soft.ravel(), strict=True):
            slack = 0.1 * np.log(3.0) * sum(cost.shape)  # gamma, at most three ways into a cell, cells on a path
            assert expected - 1e-5 <= otam_one_way(cost).total <= expected + slack
