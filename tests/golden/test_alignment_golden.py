"""Full-video scores as published: the stored outputs of TempCLR's code, and the table of papers.md 7.3."""

from pathlib import Path

import numpy as np
import pytest

from models.alignment.legacy import (
    legacy_caption_average,
    legacy_dtw,
    legacy_dtw_background,
    legacy_otam,
    legacy_otam_background,
    legacy_recall,
)
from stages.evaluation.legacy import legacy_metrics

TABLE = {
    3: (-6400.0, -7040.0, 37.3, 58.7),
    6: (-4160.0, -4480.0, 18.7, 37.3),
    8: (-3600.0, -3840.0, 16.0, 32.0),
    12: (-3040.0, -3200.0, 16.0, 26.7),
    15: (-2816.0, -2944.0, 16.0, 24.5),
    16: (-2640.0, -2880.0, 7.0, 8.0),
}
"""Clips of the video -> distance by DTW and OTAM at constant cost -60, then at +0.5; 8 captions, longest video 16."""


@pytest.fixture
def golden(shared_dir: Path) -> dict[str, np.ndarray]:
    with np.load(shared_dir / "golden" / "alignment_golden.npz") as stored:
        return dict(stored)


@pytest.mark.shared
def test_scores_as_published(golden: dict[str, np.ndarray]) -> None:
    similarity, lengths = golden["fv_sim"], golden["fv_lengths"].tolist()
    averages = legacy_caption_average(similarity, lengths, lengths)
    np.testing.assert_allclose(averages, golden["fv_cap_avg"], rtol=1e-5)
    assert np.array_equal(legacy_dtw(similarity, lengths), golden["fv_dtw_scores"])
    assert np.array_equal(legacy_otam(similarity, lengths), golden["fv_otam_scores_as_published"])


@pytest.mark.shared
def test_ranks_and_metrics_as_published(golden: dict[str, np.ndarray]) -> None:
    similarity, lengths = golden["fv_sim"], golden["fv_lengths"].tolist()
    found = {
        "": (legacy_caption_average(similarity, lengths, lengths), "fv_cap_avg"),
        "DTW-": (legacy_dtw(similarity, lengths), "fv_dtw_scores"),
        "OTAM-": (legacy_otam(similarity, lengths), "fv_otam_scores_as_published"),
    }
    for scores, name in found.values():
        assert np.array_equal(np.argsort(scores, axis=1), np.argsort(golden[name], axis=1))
    lines = [f"{key}R{k}={value:.6f}" for key, (s, _) in found.items() for k, value in legacy_recall(s).items()]
    assert lines == golden["fv_metrics"].tolist()
    clips = legacy_metrics(similarity)
    lines = [f"R{k}={value:.6f}" for k, value in clips.recall.items()] + [f"MR={clips.median_rank:.6f}"]
    assert lines == golden["clip_metrics"].tolist()


@pytest.mark.parametrize("num_clips", TABLE)
@pytest.mark.parametrize(("cost", "column"), [(-60.0, 0), (0.5, 2)])
def test_table_of_constant_costs(num_clips: int, cost: float, column: int) -> None:
    lengths = [8, num_clips, 16]
    similarity = np.full((sum(lengths), sum(lengths)), 1.0 - cost, np.float32)
    by_dtw, by_otam = TABLE[num_clips][column : column + 2]
    assert -legacy_dtw(similarity, lengths)[0, 1] == pytest.approx(by_dtw, abs=0.051)
    assert -legacy_otam(similarity, lengths)[0, 1] == pytest.approx(by_otam, abs=0.051)


def test_with_background_each_pair_keeps_its_nearest_windows() -> None:
    """One far window more than is kept changes nothing but the common factor, which the longest video sets."""
    rng = np.random.default_rng(0)
    near, far = rng.uniform(0.5, 1.0, (7, 5)).astype(np.float32), np.full((7, 9), -50.0, np.float32)
    similarity = np.concatenate([near, far], axis=1)
    texts, videos = [4, 3], [5, 9]
    for score in (legacy_dtw_background, legacy_otam_background):
        found = score(similarity, texts, videos)
        assert found.shape == (2, 2)
        assert np.isfinite(found).all()
        moved = np.concatenate([near, far[:, ::-1]], axis=1)
        assert np.array_equal(found, score(moved, texts, videos))
    with pytest.raises(ValueError, match="expected"):
        legacy_dtw_background(similarity, [4], [5, 9])


def test_with_background_equals_the_formula_where_nothing_is_cropped() -> None:
    """3 captions keep int(3.9) = 3 of 8 windows: proper DTW on them, but the last sentence may lose its last cell."""
    rng = np.random.default_rng(1)
    similarity = rng.normal(size=(3, 8)).astype(np.float32)
    similarity[:, [1, 4, 6]] += 10.0
    kept = (1.0 - similarity[:, [1, 4, 6]].astype(np.float64)) * (3 * 8 / 9)
    total = np.full((3, 3), np.inf)
    for i in range(3):
        for j in range(3):
            before = [total[a, b] for a, b in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if a >= 0 and b >= 0]
            total[i, j] = kept[i, j] + min(before, default=0.0)
    expected = -min(total[2, 2], total[1, 2])
    assert legacy_dtw_background(similarity, [3], [8]).item() == pytest.approx(expected, rel=1e-5)
