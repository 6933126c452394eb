"""Features on one scale: what is measured, and that folding it into the encoder changes nothing."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from models.encoders.build import random_encoder
from models.encoders.config import DualConfig
from models.encoders.packed import pack
from stages.errors import Corrupt
from stages.training.batches import PairBatch
from stages.training.scale import FeatureScale, Standardise, measure_scale, sample_videos
from stages.training.tasks.text_video import ScaledEncoder

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
    windows = [torch.from_numpy(window[: 2 + row % 3]) for row, window in enumerate(features)]
    texts = [torch.randint(4, 40, (5,), generator=generator) for _ in features]
    return PairBatch(windows=pack(windows), texts=pack(texts))


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
    monkeypatch.setattr("stages.training.scale.MOST_MEASURED", 4)
    videos = [Video(Entry(nearly_constant(i, 3)), np.zeros(3, bool), f"v{i}") for i in range(9)]
    chosen = [video.video_id for video in sample_videos(videos, seed=1)]
    assert len(chosen) == 4
    assert chosen == [video.video_id for video in sample_videos(videos[::-1], seed=1)]


def test_no_video_has_no_scale():
    with pytest.raises(ValueError, match="no video"):
        measure_scale([])


@pytest.fixture
def nearly_constant_batch():
    rows = np.stack([nearly_constant(seed, 4) for seed in range(5)])
    scale = measure_scale([Video(Entry(window), np.zeros(4, bool)) for window in rows])
    return batch_of(rows), scale


def test_folding_changes_no_vector(nearly_constant_batch):
    batch, scale = nearly_constant_batch
    scaled = ScaledEncoder(random_encoder(SIZES, 0), Standardise(scale, 6))
    with torch.inference_mode():
        before, text = scaled(batch)
        scaled.fold()
        after, again = scaled(batch)
        own = scaled.encoder.encode_packed_video(batch.windows)
    spread = before.std(dim=0).mean()
    assert spread > 1e-2
    assert (after - before).abs().max() < 1e-2 * spread
    assert torch.equal(after, own)
    assert torch.equal(text, again)
    assert {name.split(".")[0] for name in scaled.state_dict()} == {"encoder"}


def test_unfolding_changes_no_vector_either(nearly_constant_batch):
    """An encoder that takes features as they are goes on with standardised ones."""
    batch, scale = nearly_constant_batch
    trained = ScaledEncoder(random_encoder(SIZES, 0), Standardise(scale, 6))
    trained.fold()
    again = Standardise(scale, 6)
    with torch.inference_mode():
        before, _ = trained(batch)
        again.unfold_from(trained.encoder.video_encoder.videomlp.linear1)
        after, _ = ScaledEncoder(trained.encoder, again)(batch)
    assert (after - before).abs().max() < 1e-2 * before.std(dim=0).mean()
    weight = trained.encoder.video_encoder.videomlp.linear1.weight
    torch.testing.assert_close(weight, random_encoder(SIZES, 0).video_encoder.videomlp.linear1.weight)


def test_without_a_scale_features_are_taken_as_they_are():
    features = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    unit = FeatureScale(mean=np.zeros(6, np.float32), std=np.ones(6, np.float32))
    assert torch.equal(Standardise(None, 6)(features), features)
    assert torch.equal(Standardise(unit, 6)(features), features)
