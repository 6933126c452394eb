"""VideoCLIP's objective: the scale of features and its folding."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from models.encoders.config import DualConfig
from models.encoders.dual import random_dual
from stages.errors import Corrupt
from stages.training.batches import PairBatch
from stages.training.videoclip import FeatureScale, VideoCLIPObjective, measure_scale, sample_videos

SIZES = DualConfig(
    hidden_size=16, num_heads=2, intermediate_size=32, video_layers=1, text_layers=1, vocab_size=40, feature_dim=6,
    max_positions=64, max_video_len=8, max_text_len=16, cls_id=2, sep_id=3, dropout=0.0,
)  # fmt: skip


@dataclass
class Entry:
    rows: np.ndarray

    def map_features(self) -> np.ndarray:
        return self.rows


@dataclass
class Video:
    entry: Entry
    damaged: np.ndarray
    video_id: str = "v"


def nearly_constant(seed: int, count: int) -> np.ndarray:
    return (np.arange(1, 7) * 1e-3 + 1e-6 * np.random.default_rng(seed).standard_normal((count, 6))).astype(np.float32)


def batch_of(features: np.ndarray) -> PairBatch:
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(features.shape[:2], dtype=torch.bool)
    mask[0, 2:] = False
    return PairBatch(
        features=torch.from_numpy(features),
        feature_mask=mask,
        tokens=torch.randint(4, 40, (len(features), 5), generator=generator),
        token_mask=torch.ones(len(features), 5, dtype=torch.bool),
    )


def test_the_scale_is_that_of_the_intact_rows():
    rows = [nearly_constant(seed, 30) for seed in range(3)]
    damaged = [np.zeros(30, bool) for _ in range(3)]
    damaged[1][:10] = True
    rows[1][:10] = 1e3
    scale = measure_scale([Video(Entry(r), d) for r, d in zip(rows, damaged, strict=True)])
    intact = np.concatenate([r[~d] for r, d in zip(rows, damaged, strict=True)]).astype(np.float64)
    np.testing.assert_allclose(scale.mean, intact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(scale.std, intact.std(0), rtol=1e-4)


def test_a_component_that_never_varies_is_not_blown_up():
    rows = nearly_constant(0, 50)
    rows[:, 2] = 0.5
    scale = measure_scale([Video(Entry(rows), np.zeros(50, bool))])
    assert scale.std[2] == pytest.approx(1e-3 * scale.std.max(), rel=1e-5)
    constant = measure_scale([Video(Entry(np.ones((5, 6), np.float32)), np.zeros(5, bool))])
    np.testing.assert_array_equal(constant.std, 1)


def test_a_row_that_is_no_number_is_named():
    rows = nearly_constant(0, 5)
    rows[3, 1] = np.nan
    with pytest.raises(Corrupt, match="video v hold values that are no numbers"):
        measure_scale([Video(Entry(rows), np.zeros(5, bool))])
    measure_scale([Video(Entry(rows), np.arange(5) == 3)])


def test_the_scale_of_many_videos_is_measured_on_a_drawn_part(monkeypatch):
    monkeypatch.setattr("stages.training.videoclip.MOST_MEASURED", 4)
    videos = [Video(Entry(nearly_constant(i, 3)), np.zeros(3, bool), f"v{i}") for i in range(9)]
    chosen = [video.video_id for video in sample_videos(videos, seed=1)]
    assert len(chosen) == 4
    assert chosen == [video.video_id for video in sample_videos(videos[::-1], seed=1)]


def test_no_video_has_no_scale():
    with pytest.raises(ValueError, match="no video"):
        measure_scale([])


def test_folding_changes_no_vector():
    rows = np.stack([nearly_constant(seed, 4) for seed in range(5)])
    scale = measure_scale([Video(Entry(window), np.zeros(4, bool)) for window in rows])
    objective = VideoCLIPObjective(random_dual(SIZES, 0), scale)
    batch = batch_of(rows)
    with torch.inference_mode():
        standardised = (batch.features - objective.mean) * objective.inverse_std * batch.feature_mask[..., None]
        before = objective.encoder.encode_video(standardised, batch.feature_mask)
        loss_before = objective(batch)
    objective.fold_scale()
    with torch.inference_mode():
        after = objective.encoder.encode_video(batch.features, batch.feature_mask)
        loss_after = objective(batch)
    spread = before.std(dim=0).mean()
    assert spread > 1e-2
    assert (after - before).abs().max() < 1e-2 * spread
    assert loss_after == pytest.approx(loss_before.item(), abs=1e-3)
    state = objective.state_dict()
    assert {name.split(".")[0] for name in state} == {"encoder"}


def test_without_a_scale_features_are_taken_as_they_are():
    encoder = random_dual(SIZES, 0)
    plain = VideoCLIPObjective(copy.deepcopy(encoder), None)
    unit = VideoCLIPObjective(encoder, FeatureScale(mean=np.zeros(6, np.float32), std=np.ones(6, np.float32)))
    batch = batch_of(np.random.default_rng(0).standard_normal((5, 4, 6)).astype(np.float32))
    with torch.inference_mode():
        assert plain(batch) == unit(batch)
