"""TACo's encoder: states, the fusion of pairs whatever stands beside them, published sizes, and its folder."""

import itertools
from pathlib import Path

import pytest
import torch

from models.encoders.build import random_encoder
from models.encoders.checkpoint import DualCheckpoint, load_dual, save_dual
from models.encoders.config import DualConfig, FusionConfig
from models.encoders.packed import pack, unpack
from models.encoders.taco import TACoEncoder
from models.encoders.tokenizer import CaptionTokenizer

SIZES = FusionConfig(
    hidden_size=24, num_heads=2, intermediate_size=40, video_layers=2, text_layers=1, vocab_size=60, feature_dim=10,
    max_positions=64, max_video_len=8, max_text_len=16, cls_id=2, sep_id=3,
)  # fmt: skip
WINDOWS = [torch.randn(length, 10, generator=torch.Generator().manual_seed(length)) for length in (4, 1, 7, 4)]
TEXTS = [torch.tensor(ids) for ids in ([2, 9, 3], [2, 8, 7, 6, 3], [2, 3])]


@pytest.fixture(scope="module")
def encoder() -> TACoEncoder:
    found = random_encoder(SIZES, 0)
    assert isinstance(found, TACoEncoder)
    return found


@torch.no_grad()
def test_a_window_is_the_mean_of_its_states_and_a_text_its_first(encoder: TACoEncoder) -> None:
    windows, texts = pack(WINDOWS), pack(TEXTS)
    states, real = unpack(encoder.window_states(windows), windows)
    means = torch.stack([rows[mask].mean(dim=0) for rows, mask in zip(states, real, strict=True)])
    torch.testing.assert_close(encoder.encode_packed_video(windows), means)
    said, _ = unpack(encoder.text_states(texts), texts)
    torch.testing.assert_close(encoder.encode_packed_text(texts), said[:, 0])
    features, mask = torch.full((4, 9, 10), 3.0), torch.zeros(4, 9, dtype=torch.bool)
    for row, window in enumerate(WINDOWS):
        features[row, : len(window)] = window
        mask[row, : len(window)] = True
    torch.testing.assert_close(encoder.encode_video(features, mask), means)
    with pytest.raises(ValueError, match=r"expected \(B, T, 10\)"):
        encoder.encode_video(features[..., :5], mask)


@torch.no_grad()
def test_a_window_without_a_real_row_has_states_that_mean_nothing(encoder: TACoEncoder) -> None:
    features, mask = torch.randn(3, 4, 10), torch.tensor([[True] * 4, [False] * 4, [True, False, True, False]])
    states = encoder.encode_video_states(features, mask)
    torch.testing.assert_close(states[::2], encoder.encode_video_states(features[::2], mask[::2]))
    assert states[~mask].count_nonzero() == 0
    assert encoder.encode_video_states(features, torch.zeros_like(mask)).shape == states.shape


@torch.no_grad()
def test_a_pair_has_the_same_score_whatever_stands_beside_it(encoder: TACoEncoder) -> None:
    windows, texts = pack(WINDOWS), pack(TEXTS)
    states, real = unpack(encoder.window_states(windows), windows, length=9)
    said, spoken = unpack(encoder.text_states(texts), texts, length=6)
    states[~real], said[~spoken] = 17.0, -9.0  # padding is never read
    lengths = spoken.sum(dim=1), real.sum(dim=1)
    pairs = torch.tensor([*itertools.product(range(3), range(4)), (1, 2), (0, 0)])
    together = encoder.fusion(said, states, lengths, pairs)
    assert together.shape == (14,)
    assert together.std() > 1e-4
    for (i, j), score in zip(pairs.tolist(), together, strict=True):
        text, window = said[i : i + 1, : lengths[0][i]], states[j : j + 1, : lengths[1][j]]
        alone = encoder.fusion(text, window, (lengths[0][i : i + 1], lengths[1][j : j + 1]), torch.tensor([[0, 0]]))
        torch.testing.assert_close(alone[0], score, atol=1e-6, rtol=0)
    assert encoder.fusion(said, states, lengths, pairs[:0]).shape == (0,)


def test_published_sizes() -> None:
    """126.5 / 133.6 / 140.7 / 154.9 million with 0 / 1 / 2 / 4 layers, on ResNet-152 and S3D features together."""
    for layers, millions in ((0, 126.5), (1, 133.6), (2, 140.7), (4, 154.9)):
        with torch.device("meta"):
            encoder = TACoEncoder(FusionConfig(video_layers=layers, feature_dim=2048 + 1024))
        assert sum(parameter.numel() for parameter in encoder.parameters()) / 1e6 == pytest.approx(millions, abs=0.15)


def test_its_folder_opens_as_what_it_is(encoder: TACoEncoder, tmp_path: Path) -> None:
    tokenizer = CaptionTokenizer.train(["stir the soup"], vocab_size=60)
    saved = DualCheckpoint(encoder=encoder, tokenizer=tokenizer, start_weights="random:seed=0", trained=False)
    save_dual(saved, tmp_path)
    found = load_dual(tmp_path).encoder
    assert isinstance(found, TACoEncoder)
    assert found.config == SIZES != DualConfig(**{k: v for k, v in SIZES.to_json().items() if k != "fusion_layers"})
    for name, value in encoder.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)
    text = (tmp_path / "encoder.json").read_text()
    (tmp_path / "encoder.json").write_text(text.replace('"taco"', '"other"'))
    with pytest.raises(ValueError, match="of kind 'other', expected one of dual, taco"):
        load_dual(tmp_path)
