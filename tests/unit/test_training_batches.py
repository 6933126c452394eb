"""Batches: padding, and that a batch is a function of the step."""

import numpy as np
import pytest
import torch

from models.encoders.tokenizer import CaptionTokenizer
from stages.errors import ConfigError
from stages.training.batches import PairSource, collate, pad_windows
from stages.training.dataset import feature_entries, join_videos, narrations_by_video
from stages.training.sampling import OverlapSampling
from tests.training_samples import DIM, STEPS, make_inputs

SAMPLING = OverlapSampling(draws_per_video=3, min_text_tokens=1, max_text_tokens=6, min_rows=1, max_rows=4)


@pytest.fixture(scope="module")
def tokenizer():
    return CaptionTokenizer.train(STEPS, vocab_size=120)


@pytest.fixture
def videos(tmp_path, tokenizer):
    inputs = make_inputs(tmp_path, 10, damaged={"v02": [3, 4, 5], "v04": list(range(9))})
    return join_videos(
        feature_entries(inputs["features.s3d"], "s3d"),
        narrations_by_video(inputs["paragraphs"]),
        lambda texts: [tokenizer.pieces(text) for text in texts],
        SAMPLING,
    )


def test_collate_pads_to_the_longest(tokenizer):
    windows = [np.full((2, 3), 1.5, np.float16), np.full((4, 3), 2.5, np.float16)]
    batch = collate(windows, [np.array([7, 8, 9]), np.array([7])], tokenizer.frame)
    assert batch.features.dtype == torch.float32
    assert batch.features.shape == (2, 4, 3)
    assert batch.feature_mask.tolist() == [[True, True, False, False], [True] * 4]
    assert batch.features[0, 2:].abs().sum() == 0
    cls, sep, pad = tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id
    assert batch.tokens.tolist() == [[cls, 7, 8, 9, sep], [cls, 7, sep, pad, pad]]
    assert batch.token_mask.sum(1).tolist() == [5, 3]
    assert pad_windows(windows, 6)[0].shape == (2, 6, 3)


def test_a_batch_is_a_function_of_the_step(videos, tokenizer):
    def source(order):
        return PairSource(order, SAMPLING, tokenizer.frame, batch_videos=4, seed=7)

    first, second = source(videos), source(videos[::-1])
    wanted = [first.batch(step) for step in range(6)]
    for step in (5, 0, 3):
        found = second.batch(step)
        assert torch.equal(found.features, wanted[step].features)
        assert torch.equal(found.tokens, wanted[step].tokens)
    assert not torch.equal(wanted[0].features[:4, 0], wanted[2].features[:4, 0])


def test_an_epoch_holds_each_video_once(videos, tokenizer):
    source = PairSource(videos, SAMPLING, tokenizer.frame, batch_videos=3, seed=7)
    assert len(videos) == 9  # v04 has no intact row
    assert source.batches_per_epoch == 3
    batch = source.batch(0)
    assert batch.features.shape[0] == batch.tokens.shape[0] == 9
    assert batch.features.shape[2] == DIM


def test_damaged_rows_never_enter_a_batch(videos, tokenizer):
    (video,) = [video for video in videos if video.video_id == "v02"]
    bad = np.asarray(video.entry.map_features())[[3, 4, 5]].astype(np.float32)
    source = PairSource([video], SAMPLING, tokenizer.frame, batch_videos=1, seed=7)
    for step in range(20):
        batch = source.batch(step)
        rows = batch.features[batch.feature_mask].numpy()
        assert not any((rows == row).all(1).any() for row in bad)


def test_too_few_videos_are_named(videos, tokenizer):
    with pytest.raises(ConfigError, match="9 videos have both features and a usable narration, but a batch takes 32"):
        PairSource(videos, SAMPLING, tokenizer.frame, batch_videos=32, seed=7)
