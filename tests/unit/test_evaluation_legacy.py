import numpy as np
import pytest

from stages.evaluation.legacy import legacy_metrics, legacy_metrics_of_ranks
from stages.evaluation.metrics import ranks_of_targets
from stages.evaluation.scoring import ProtocolSettings, rank_queries, retrieval_scores, with_legacy


def naive(similarity, ks=(1, 5, 10)):
    """The published formula, as papers.md 7.1 words it."""
    positions = []
    for row, own in zip(similarity, np.diag(similarity), strict=True):
        positions += [p for p, value in enumerate(np.sort(-row)) if value == -own]
    return [float(np.mean(np.array(positions) < k)) for k in ks], float(np.median(positions) + 1), len(positions)


def test_golden_of_a_constant_matrix():
    found = legacy_metrics(np.ones((20, 20)))
    assert list(found.recall.values()) == pytest.approx([0.05, 0.25, 0.5])
    assert (found.median_rank, found.num_entries) == (10.5, 400)


def test_golden_of_the_identity():
    found = legacy_metrics(np.eye(20))
    assert list(found.recall.values()) == [1.0, 1.0, 1.0]
    assert found.median_rank == 1.0


def test_golden_of_half_an_identity():
    found = legacy_metrics(np.diag([1.0] * 10 + [0.0] * 10))
    assert list(found.recall.values()) == pytest.approx([0.095238, 0.285714, 0.523810], abs=1e-6)
    assert (found.median_rank, found.num_entries) == (10.0, 210)


def test_equals_the_published_formula_with_ties_and_nan():
    rng = np.random.default_rng(0)
    for _ in range(50):
        similarity = rng.integers(0, 6, (12, 12)).astype(np.float32)
        similarity[3, 3] = np.nan
        found = legacy_metrics(similarity)
        assert (list(found.recall.values()), found.median_rank, found.num_entries) == naive(similarity)


def test_refuses_what_it_cannot_score():
    with pytest.raises(ValueError, match="square"):
        legacy_metrics(np.ones((2, 3)))
    with pytest.raises(ValueError, match="no row"):
        legacy_metrics(np.full((2, 2), np.nan))


@pytest.mark.shared
def test_golden_clip_metrics(shared_dir):
    with np.load(shared_dir / "golden" / "alignment_golden.npz") as golden:
        similarity, expected = golden["fv_sim"], dict(entry.split("=") for entry in golden["clip_metrics"].tolist())
    found = legacy_metrics(similarity)
    assert {f"R{k}": f"{value:.6f}" for k, value in found.recall.items()} | {
        "MR": f"{found.median_rank:.6f}"
    } == expected


def test_ranks_alone_give_the_published_metrics():
    rng = np.random.default_rng(1)
    for _ in range(30):
        similarity = rng.integers(0, 6, (12, 12)).astype(np.float32)
        own = np.diag(similarity)[:, None]
        ranks, num_equal = ranks_of_targets(similarity, np.arange(12)), (similarity == own).sum(axis=1) - 1
        assert legacy_metrics_of_ranks(ranks, num_equal) == legacy_metrics(similarity)


@pytest.mark.shared
@pytest.mark.parametrize(("axis", "recalls"), [("text", [48.0, 73.0, 82.9]), ("video", [45.6, 74.1, 82.7])])
def test_msrvtt_matrix_of_a_published_model(shared_dir, axis, recalls):
    matrix = np.load(shared_dir / "data" / "features" / "msrvtt_cap4video" / "msrvtt_video_matrix.npy")
    matrix = matrix if axis == "text" else matrix.T
    ids = [str(row) for row in range(len(matrix))]
    own = [np.array([row]) for row in range(len(matrix))]
    ranked = rank_queries(lambda rows: matrix[rows], query_ids=ids, gallery_ids=ids, relevant=own)
    settings = ProtocolSettings()
    scores = with_legacy(retrieval_scores(ranked, settings=settings, rng=settings.generator(axis)), ranked)
    by_name = {score.name: score for score in scores}
    assert [round(100 * by_name[f"R@{k}"].value, 1) for k in (1, 5, 10)] == recalls
    assert by_name["median_rank"].value == 2.0
    published, num_entries = legacy_metrics(matrix), len(matrix) + int(ranked.num_equal.sum())
    assert [by_name[f"R@{k}"].legacy for k in (1, 5, 10)] == list(published.recall.values())
    assert published.num_entries == num_entries
    assert num_entries == (1000 if axis == "text" else 1012)  # 12 ties
    assert all(score.low <= score.value <= score.high for score in scores)
