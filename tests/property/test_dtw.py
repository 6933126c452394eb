"""Hard DTW: the published values, every path up to 5 x 5, and the kernel against the plain reference."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.alignment.caption_average import caption_average_kernel, caption_average_matrix
from models.alignment.drop_dtw import cost_percentile, drop_dtw_score_matrix
from models.alignment.dtw import dtw_kernel, dtw_reference, dtw_score_matrix
from models.alignment.otam import otam_kernel, otam_score_matrix
from models.alignment.tiles import score_similarity
from tests.alignment_samples import each_pair, random_set, random_similarity


def all_path_costs(cost: np.ndarray) -> list[float]:
    """The cost of every monotone path, by enumeration."""

    def walk(i: int, j: int) -> list[float]:
        if (i, j) == (cost.shape[0] - 1, cost.shape[1] - 1):
            return [cost[i, j]]
        steps = [(i + a, j + b) for a, b in ((1, 1), (1, 0), (0, 1))]
        return [cost[i, j] + rest for a, b in steps if a < cost.shape[0] and b < cost.shape[1] for rest in walk(a, b)]

    return walk(0, 0)


@pytest.mark.parametrize(("rows", "columns"), itertools.product(range(1, 6), repeat=2))
def test_equals_every_path(rows: int, columns: int) -> None:
    for seed in range(3):
        cost = np.random.default_rng([rows, columns, seed]).normal(size=(rows, columns))
        found = dtw_reference(cost)
        assert found.total == pytest.approx(min(all_path_costs(cost)))
        assert found.total == pytest.approx(cost[tuple(found.path.T)].sum())
        steps = {tuple(step) for step in np.diff(found.path, axis=0)}
        assert steps <= {(1, 1), (1, 0), (0, 1)}
        assert found.path[0].tolist() == [0, 0]
        assert found.path[-1].tolist() == [rows - 1, columns - 1]


def test_equal_predecessors_go_diagonal_then_down_then_right() -> None:
    assert dtw_reference(np.zeros((3, 3))).path.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert dtw_reference(np.zeros((3, 2))).path.tolist() == [[0, 0], [1, 0], [2, 1]]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_kernel_equals_reference(seed: int, with_ties: bool) -> None:
    rng = np.random.default_rng(seed)

    def sequence() -> np.ndarray:
        rows = rng.integers(0, 2, (rng.integers(1, 7), 3)) if with_ties else rng.normal(size=(rng.integers(1, 7), 3))
        return rows.astype(np.float32)

    texts, videos = [sequence() for _ in range(3)], [sequence() for _ in range(4)]
    scores, averages = dtw_score_matrix(texts, videos), caption_average_matrix(texts, videos)
    for i, j in itertools.product(range(3), range(4)):
        norms = [np.maximum(np.linalg.norm(rows.astype(np.float64), axis=1), 1e-30) for rows in (texts[i], videos[j])]
        cosine = (texts[i].astype(np.float64) @ videos[j].T.astype(np.float64)) / norms[0][:, None] / norms[1]
        assert scores[i, j] == pytest.approx(dtw_reference(1 - cosine).score, abs=1e-9) or with_ties
        assert averages[i, j] == pytest.approx(cosine.max(axis=1).mean(), abs=1e-9)


def test_equals_the_oracle_on_ten_thousand_pairs() -> None:
    rng, worst, num_cases = np.random.default_rng(0), 0.0, 0
    while num_cases < 10_000:
        case = random_similarity(rng)
        scores, totals = score_similarity(dtw_kernel, *case)
        for i, j, cost in each_pair(*case):
            expected = dtw_reference(cost)
            worst = max(worst, abs(scores[i, j] - expected.score) / abs(expected.score))
            worst = max(worst, abs(totals[i, j] - expected.total) / abs(expected.total))
            num_cases += 1
    assert worst < 1e-5


def test_equal_predecessors_are_chosen_as_the_oracle_chooses() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        similarity, texts, videos = random_similarity(rng)
        whole = np.round(similarity)
        scores, _ = score_similarity(dtw_kernel, whole, texts, videos)
        for i, j, cost in each_pair(whole, texts, videos):
            assert scores[i, j] == dtw_reference(cost).score


def test_caption_average_equals_the_oracle_on_ten_thousand_pairs() -> None:
    rng, num_cases = np.random.default_rng(2), 0
    while num_cases < 10_000:
        case = random_similarity(rng)
        scores, totals = score_similarity(caption_average_kernel, *case)
        for i, j, cost in each_pair(*case):
            best = [max(1 - value for value in row) for row in cost.tolist()]
            assert abs(scores[i, j] - sum(best) / len(best)) <= 1e-5 * max(abs(value) for value in best)
            assert abs(totals[i, j] - sum(best)) <= 1e-5 * sum(abs(value) for value in best)
            num_cases += 1


def test_a_constant_changes_no_ranking_of_caption_average() -> None:
    similarity, texts, videos = random_similarity(np.random.default_rng(3))
    before, after = (score_similarity(caption_average_kernel, similarity + c, texts, videos)[0] for c in (0.0, 60.0))
    assert np.array_equal(before.argsort(axis=1), after.argsort(axis=1))


SCORERS = [dtw_score_matrix, otam_score_matrix, caption_average_matrix]


@pytest.mark.parametrize("scorer", SCORERS)
def test_batches_threads_and_tiles_change_nothing(scorer, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    texts, videos = random_set(np.random.default_rng(4), num_texts=23, num_videos=50)
    whole = scorer(texts, videos)
    assert np.array_equal(whole, scorer(texts, videos, threads=3))
    order = np.random.default_rng(5).permutation(len(videos))
    assert scorer(texts, [videos[j] for j in order]) == pytest.approx(whole[:, order], rel=1e-12)
    assert scorer(texts[7:9], videos[3:5]) == pytest.approx(whole[7:9, 3:5], rel=1e-12)
    monkeypatch.setattr("models.alignment.tiles._TILE_CELLS", 500)
    monkeypatch.setattr("models.alignment.lanes._BLOCK_COLUMNS", 100)
    assert scorer(texts, videos) == pytest.approx(whole, rel=1e-12)
    assert scorer(texts, videos, precision="float32") == pytest.approx(whole, rel=1e-5, abs=1e-6)


def drop_scores(texts, videos, **kwargs) -> np.ndarray:  # type: ignore[no-untyped-def]
    price = cost_percentile(texts, videos, 30.0)
    return drop_dtw_score_matrix(texts, videos, drop_clip=price, drop_sentence=price, **kwargs)


@pytest.mark.parametrize("scorer", [*SCORERS, drop_scores])
@pytest.mark.parametrize("factor", [0.37, 3.0, 1e4])
def test_a_positive_factor_changes_no_ranking(scorer, factor: float) -> None:  # type: ignore[no-untyped-def]
    texts, videos = random_set(np.random.default_rng(6), num_texts=10, num_videos=40)
    scaled = [[rows * np.float32(factor) for rows in part] for part in (texts, videos)]
    assert np.array_equal(scorer(texts, videos).argsort(axis=1), scorer(*scaled).argsort(axis=1))


@pytest.mark.parametrize("kernel", [caption_average_kernel, dtw_kernel, otam_kernel])
def test_a_pair_has_the_same_score_alone_and_among_longer_ones(kernel) -> None:  # type: ignore[no-untyped-def]
    """Nothing is padded: what stands beside a pair in a tile, however long, does not reach it."""
    similarity, texts, videos = random_similarity(np.random.default_rng(8))
    scores, totals = score_similarity(kernel, similarity, texts, videos)
    for i, j, cost in each_pair(similarity, texts, videos):
        alone = score_similarity(kernel, 1.0 - cost, [len(cost)], [cost.shape[1]])
        assert (alone[0].item(), alone[1].item()) == (scores[i, j], totals[i, j])


def test_empty_sets_and_what_does_not_fit() -> None:
    texts, videos = random_set(np.random.default_rng(7), num_texts=2, num_videos=3)
    assert dtw_score_matrix([], videos).shape == (0, 3)
    assert dtw_score_matrix(texts, []).shape == (2, 0)
    with pytest.raises(ValueError, match="one encoder made both"):
        dtw_score_matrix(texts, [np.ones((2, 5), np.float32)])
    with pytest.raises(ValueError, match="one encoder made them all"):
        dtw_score_matrix([*texts, np.ones((2, 5), np.float32)], videos)
    with pytest.raises(ValueError, match="threads"):
        dtw_score_matrix(texts, videos, threads=0)
    with pytest.raises(ValueError, match="expected"):
        score_similarity(dtw_kernel, np.zeros((3, 3)), [1, 1], [3])
    with pytest.raises(ValueError, match="NaN"):
        score_similarity(dtw_kernel, np.full((2, 3), np.nan), [1, 1], [3])


def test_scale_of_the_embeddings_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    texts = [rng.normal(size=(4, 8)).astype(np.float32) for _ in range(5)]
    videos = [rng.normal(size=(n, 8)).astype(np.float32) for n in (1, 3, 9)]
    scaled = [text * np.float32(8) for text in texts]
    assert np.array_equal(dtw_score_matrix(texts, videos), dtw_score_matrix(scaled, videos))


@pytest.mark.parametrize(
    "bad", [np.zeros((0, 3), np.float32), np.full((2, 3), np.nan, np.float32), np.zeros(3, np.float32)]
)
def test_what_is_no_sequence_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="vectors"):
        dtw_score_matrix([bad], [np.ones((2, 3), np.float32)])


@pytest.mark.shared
def test_golden_hard_dtw(shared_dir: Path) -> None:
    golden = np.load(shared_dir / "golden" / "alignment_golden.npz")
    found = 0
    for name in golden.files:
        if name.startswith("hard_dtw_"):
            costs = golden[f"cost_{name.removeprefix('hard_dtw_')}"].astype(np.float64)
            for cost, expected in zip(costs.reshape(-1, *costs.shape[-2:]), golden[name].ravel(), strict=True):
                _, total = score_similarity(dtw_kernel, 1 - cost, [len(cost)], [cost.shape[1]])
                assert dtw_reference(cost).total == pytest.approx(expected, rel=1e-5, abs=1e-6)
                assert total.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
            found += 1
    assert found == 6
