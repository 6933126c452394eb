"""Batches of pairs: what is in them, and that a batch is a function of its number."""

import numpy as np
import pytest
import torch

from models.encoders.packed import unpack
from models.encoders.tokenizer import CaptionTokenizer
from stages.errors import ConfigError
from stages.training.batches import PairSource, collate, pad_windows
from stages.training.dataset import NarrationsByVideo, feature_entries, join_videos
from stages.training.layout import ShuffledLayout
from stages.training.sampling import OverlapSampling
from stages.training.team import Part
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
        NarrationsByVideo(inputs["paragraphs"]),
        lambda texts: [tokenizer.pieces(text) for text in texts],
        SAMPLING,
    )


def open_source(videos, tokenizer, batch_videos, epoch=0):
    layout = ShuffledLayout([video.video_id for video in videos], batch_videos, multiple=1, seed=7)
    source = PairSource(
        videos, SAMPLING, layout, lambda index, draws, part: collate(draws[part.of(len(draws))], tokenizer.framed),
        seed=7,
    )  # fmt: skip
    source.begin_epoch(epoch)
    return source


def test_pad_windows_pads_to_the_length():
    windows = [np.full((2, 3), 1.5, np.float16), np.full((4, 3), 2.5, np.float16)]
    features, mask = pad_windows(windows, 6)
    assert features.dtype == torch.float32
    assert features.shape == (2, 6, 3)
    assert mask.sum(1).tolist() == [2, 4]
    assert features[0, 2:].abs().sum() == 0


def test_a_batch_holds_the_rows_and_words_that_were_drawn(videos, tokenizer):
    source = open_source(videos, tokenizer, 4)
    draws, batch = source.draw(0), source.batch(0, Part())
    assert len(draws) == len(batch.windows.lengths) == 12
    windows, real = unpack(batch.windows.values, batch.windows)
    texts, said = unpack(batch.texts.values, batch.texts)
    for row, draw in enumerate(draws):
        features = draw.video.entry.map_features()[draw.pair.start_row : draw.pair.end_row].astype(np.float32)
        assert np.array_equal(windows[row][real[row]].numpy(), features)
        tokens = [tokenizer.cls_id, *draw.pair.tokens.tolist(), tokenizer.sep_id]
        assert texts[row][said[row]].tolist() == tokens


def test_a_batch_is_a_function_of_its_number(videos, tokenizer):
    first, second = open_source(videos, tokenizer, 4), open_source(videos[::-1], tokenizer, 4)
    for index in (1, 0):
        assert torch.equal(first.batch(index, Part()).windows.values, second.batch(index, Part()).windows.values)
        assert torch.equal(first.batch(index, Part()).texts.values, second.batch(index, Part()).texts.values)
    later = open_source(videos, tokenizer, 4, epoch=1)
    assert [d.video.video_id for d in later.draw(2)] != [d.video.video_id for d in first.draw(0)]


def test_the_parts_of_a_batch_are_the_batch(videos, tokenizer):
    source = open_source(videos, tokenizer, 3)
    whole, lengths = source.batch(0, Part()), []
    for size in (1, 2, 4):
        parts = [source.batch(0, Part(rank, size)) for rank in range(size)]
        rows = torch.cat([row for part in parts for row in unpack(part.windows.values, part.windows, length=4)[0]])
        assert torch.equal(rows, unpack(whole.windows.values, whole.windows, length=4)[0].flatten(0, 1))
        lengths.append([len(part.windows.lengths) for part in parts])
    assert lengths == [[9], [5, 4], [3, 2, 2, 2]]


def test_an_epoch_holds_each_video_once(videos, tokenizer):
    source = open_source(videos, tokenizer, 3)
    assert len(videos) == 9  # v04 has no intact row
    assert source.batches_per_epoch == 3
    seen = [draw.video.video_id for index in range(3) for draw in source.draw(index)[::3]]
    assert sorted(seen) == [video.video_id for video in videos]
    assert source.batch(0, Part()).windows.values.shape[1] == DIM


def test_an_epoch_ends_with_an_update(videos):
    ids = [video.video_id for video in videos]
    assert ShuffledLayout(ids, 2, multiple=3, seed=0).batches_per_epoch == 3
    with pytest.raises(ConfigError, match=r"9 videos can be trained on, but an update takes 4 times 3"):
        ShuffledLayout(ids, 4, multiple=3, seed=0)


def test_damaged_rows_never_enter_a_batch(videos, tokenizer):
    (video,) = [video for video in videos if video.video_id == "v02"]
    bad = np.asarray(video.entry.map_features())[[3, 4, 5]].astype(np.float32)
    source = open_source([video], tokenizer, 1)
    for index in range(20):
        rows = source.batch(index, Part()).windows.values.numpy()
        assert not any((rows == row).all(1).any() for row in bad)


def test_more_workers_than_pairs_are_named(videos, tokenizer):
    with pytest.raises(ConfigError, match="batch 0 has 3 pairs, which 4 workers cannot divide"):
        open_source(videos, tokenizer, 1).batch(0, Part(3, 4))
