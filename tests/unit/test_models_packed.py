"""Packed sequences: the layout, and encoders on it against the padded forms."""

import pytest
import torch
from torch import Tensor

from models.encoders import bert
from models.encoders.build import random_encoder
from models.encoders.config import DualConfig
from models.encoders.dual import TwoWayEncoder
from models.encoders.packed import Run, pack, unpack, views
from tests.generators import seeded

SIZES = DualConfig(
    hidden_size=24, num_heads=2, intermediate_size=40, video_layers=2, text_layers=3, vocab_size=60, feature_dim=10,
    max_positions=64, max_video_len=8, max_text_len=16, cls_id=2, sep_id=3,
)  # fmt: skip
LENGTHS = (4, 1, 7, 4, 2, 7, 7)


def padded(sequences: list[Tensor], width: int) -> tuple[Tensor, Tensor]:
    values = torch.zeros(len(sequences), width, *sequences[0].shape[1:], dtype=sequences[0].dtype)
    mask = torch.zeros(len(sequences), width, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        values[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = True
    return values, mask


def test_equal_lengths_stand_together_and_unpacking_gives_the_batch_back() -> None:
    sequences = [torch.full((length, 3), float(index)) for index, length in enumerate(LENGTHS)]
    packed = pack(sequences)
    assert packed.lengths == tuple(sorted(LENGTHS))
    assert packed.runs() == (Run(0, 1, 1), Run(1, 1, 2), Run(3, 2, 4), Run(11, 3, 7))
    assert [view[:, 0, 0].tolist() for view in views(packed.values, packed.runs())] == [[1], [4], [0, 3], [2, 5, 6]]
    for width in (None, 9):
        values, mask = unpack(packed.values, packed, length=width)
        expected, real = padded(sequences, width or 7)
        assert torch.equal(values, expected)
        assert torch.equal(mask, real)


@pytest.mark.parametrize("sequences", [[], [torch.ones(2), torch.ones(0)]])
def test_nothing_to_pack_is_named(sequences: list[Tensor]) -> None:
    with pytest.raises(ValueError, match="expected at least one of at least 1"):
        pack(sequences)


@pytest.mark.parametrize("shared", [False, True])
def test_encoders_give_the_same_vectors_and_gradients_as_with_padding(shared: bool) -> None:
    config = DualConfig(**{**SIZES.to_json(), "shared": shared})
    encoder = random_encoder(config, 0)
    windows = [torch.randn(length, 10, generator=seeded(length)) for length in LENGTHS]
    texts = [torch.randint(4, 60, (length + 2,), generator=seeded(length)) for length in LENGTHS]

    def gradients(encoded: tuple[Tensor, Tensor], encoder: TwoWayEncoder) -> dict[str, Tensor]:
        encoder.zero_grad()
        (encoded[0] * encoded[1]).sum().backward()
        return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}

    with_padding = encoder.encode_video(*padded(windows, 8)), encoder.encode_text(*padded(texts, 12))
    expected = gradients(with_padding, encoder)
    without = encoder.encode_packed_video(pack(windows)), encoder.encode_packed_text(pack(texts))
    found = gradients(without, encoder)
    for one, other in zip(without, with_padding, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-5)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-4)


def test_the_shared_encoder_tells_captions_from_windows_by_type_and_position() -> None:
    encoder = random_encoder(DualConfig(**{**SIZES.to_json(), "shared": True}), 0)
    assert {name.split(".")[0] for name in encoder.state_dict()} == {"video_encoder"}
    text = pack([torch.tensor([2, 9, 3])])
    encoder.encode_packed_text(text).sum().backward()
    embeddings = encoder.video_encoder.bert.embeddings
    positions = embeddings.position_embeddings.weight.grad.abs().sum(dim=1).nonzero()[:, 0].tolist()
    types = embeddings.token_type_embeddings.weight.grad.abs().sum(dim=1).nonzero()[:, 0].tolist()
    assert positions == [10, 11, 12]
    assert types == [1]
    with pytest.raises(ValueError, match="expected at least 28"):
        DualConfig(**{**SIZES.to_json(), "shared": True, "max_positions": 20})


def test_dropout_falls_on_packed_tokens_while_training() -> None:
    encoder = random_encoder(SIZES, 0).train()
    windows = pack([torch.randn(5, 10, generator=seeded())])
    assert not torch.equal(encoder.encode_packed_video(windows), encoder.encode_packed_video(windows))
    encoder.eval()
    assert torch.equal(encoder.encode_packed_video(windows), encoder.encode_packed_video(windows))


def test_within_autocast_products_have_few_shapes_and_filling_up_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = random_encoder(SIZES, 0)
    layers, seen = encoder.text_encoder.encoder.layer, []
    for layer in layers:
        layer.intermediate.dense.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    texts = pack([torch.randint(4, 60, (length,), generator=seeded(length)) for length in (60, 9, 3)])

    def encoded() -> tuple[Tensor, Tensor]:
        encoder.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            vectors = encoder.encode_packed_text(texts)
        vectors.float().square().sum().backward()
        return vectors, layers[0].intermediate.dense.weight.grad.clone()

    filled = encoded()
    monkeypatch.setattr(bert, "_ROWS", 1)
    bare = encoded()
    assert seen == [128] * len(layers) + [72] * len(layers)
    for one, other in zip(filled, bare, strict=True):
        torch.testing.assert_close(one, other, atol=2e-2, rtol=2e-2)
