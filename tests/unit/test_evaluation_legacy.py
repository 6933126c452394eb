import numpy as np
import pytest

from stages.evaluation.legacy import legacy_metrics
from stages.evaluation.metrics import median_rank, ranks_of_targets, recall_at_k


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


@pytest.mark.shared
def test_msrvtt_matrix_of_a_published_model(shared_dir):
    similarity = np.load(shared_dir / "data" / "features" / "msrvtt_cap4video" / "msrvtt_video_matrix.npy")
    for matrix, expected in ((similarity, [48.0, 73.0, 82.9]), (similarity.T, [45.6, 74.1, 82.7])):
        ranks = ranks_of_targets(matrix, np.arange(len(matrix)))
        assert [round(100 * recall_at_k(ranks, k), 1) for k in (1, 5, 10)] == expected
        assert median_rank(ranks) == 2.0
