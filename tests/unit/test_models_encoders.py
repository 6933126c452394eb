"""Two-tower encoders on disk, tokenizers, and the one interface of all encoders."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from models.backbones.initialise import he_initialise
from models.backbones.s3d import S3D, random_s3d
from models.backbones.s3d_text import hashed_word_id
from models.backbones.weights import file_sha256
from models.encoders.build import random_encoder
from models.encoders.checkpoint import DualCheckpoint, bert_config, dual_from_bert, load_dual, load_published, save_dual
from models.encoders.config import DualConfig
from models.encoders.dual import DualEncoder
from models.encoders.joint import EncoderSpec, S3DText, open_encoder
from models.encoders.tokenizer import CaptionTokenizer
from models.encoders.word_pieces import SPECIAL_TOKENS, train_word_pieces

SENTENCES = ["Crack the eggs into a bowl.", "Whisk the eggs!", "whisking and cracking", "the café's eggs", "a bowl"]
SIZES = DualConfig(
    hidden_size=16, num_heads=2, intermediate_size=32, video_layers=1, text_layers=2, vocab_size=60, max_positions=70,
    feature_dim=6, cls_id=2, sep_id=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> CaptionTokenizer:
    return CaptionTokenizer.train(SENTENCES, vocab_size=SIZES.vocab_size)


@pytest.fixture(scope="module")
def checkpoint(tokenizer: CaptionTokenizer) -> DualCheckpoint:
    return DualCheckpoint(
        encoder=random_encoder(SIZES, 0), tokenizer=tokenizer, start_weights="random:seed=0", trained=False
    )


@pytest.fixture(scope="module")
def network() -> S3D:
    return random_s3d(0)


def windows(width: int, count: int = 3, length: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    features = torch.randn(count, length, width, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(length) < torch.tensor([[length], [2], [1]])[:count]
    return features, mask


def same(one: DualEncoder, other: DualEncoder) -> bool:
    tensors = other.state_dict()
    return all(torch.equal(value, tensors[name]) for name, value in one.state_dict().items())


def test_a_head_is_saved_with_its_encoder(checkpoint: DualCheckpoint, tmp_path: Path) -> None:
    plain = checkpoint
    config = replace(plain.encoder.config, num_labels=5)
    headed = replace(plain, encoder=random_encoder(config, 3))
    save_dual(headed, tmp_path / "head")
    save_dual(plain, tmp_path / "plain")
    loaded = load_dual(tmp_path / "head").encoder
    states = torch.randn(2, config.hidden_size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.label_logits(states), headed.encoder.label_logits(states))
    assert "num_labels" not in (tmp_path / "plain" / "encoder.json").read_text()
    with pytest.raises(ValueError, match="no head on clip states"):
        load_dual(tmp_path / "plain").encoder.label_logits(states)


def test_saving_and_loading_keeps_everything_byte_by_byte(checkpoint: DualCheckpoint, tmp_path: Path) -> None:
    save_dual(checkpoint, tmp_path / "one")
    loaded = load_dual(tmp_path / "one")
    assert same(checkpoint.encoder, loaded.encoder)
    assert loaded.encoder.config == SIZES
    assert (loaded.start_weights, loaded.trained, loaded.random_weights) == ("random:seed=0", False, True)
    save_dual(loaded, tmp_path / "two")
    names = ["README.md", "encoder.json", "model.safetensors", "tokenizer.json"]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_trained_weights_are_not_random(checkpoint: DualCheckpoint) -> None:
    assert not replace(checkpoint, trained=True).random_weights
    assert not replace(checkpoint, start_weights="bert:sha256:00").random_weights


def test_random_encoders_follow_their_seed() -> None:
    first = random_encoder(SIZES, 0)
    assert same(first, random_encoder(SIZES, 0))
    others = [random_encoder(SIZES, seed).video_encoder.videomlp.linear1.weight for seed in (1, 2, 2**32)]
    assert all(not torch.equal(first.video_encoder.videomlp.linear1.weight, other) for other in others)
    assert not torch.equal(others[0], others[1])
    table = "embeddings.word_embeddings.weight"
    assert not torch.equal(*(tower.state_dict()[table] for tower in (first.video_encoder.bert, first.text_encoder)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema 2, expected 1"),
        ({"sizes": None}, "sizes"),
        ({"sizes": {"hidden_size": 3}}, "got keys"),
        ({"sizes": {**SIZES.to_json(), "hidden_size": "16"}}, "hidden_size got '16'"),
        ({"sizes": {**SIZES.to_json(), "feature_dim": 7}}, r"linear1\.weight got shape \(16, 6\), expected \(16, 7\)"),
        ({"sizes": {**SIZES.to_json(), "text_layers": 3}}, "missing text_encoder"),
    ],
)
def test_an_encoder_file_that_does_not_fit_is_refused(
    change: dict[str, Any], message: str, checkpoint: DualCheckpoint, tmp_path: Path
) -> None:
    save_dual(checkpoint, tmp_path)
    facts = json.loads((tmp_path / "encoder.json").read_text())
    (tmp_path / "encoder.json").write_text(json.dumps(facts | change))
    with pytest.raises(ValueError, match=message):
        load_dual(tmp_path)


@pytest.mark.parametrize("name", ["encoder.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"\xff\xfe{", b"{}", b'{"schema": 1}'])
def test_a_damaged_folder_is_refused(
    name: str, content: bytes | None, checkpoint: DualCheckpoint, tmp_path: Path
) -> None:
    save_dual(checkpoint, tmp_path)
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        load_dual(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 15}, {"max_positions": 20}, {"sep_id": 60}, {"hidden_size": 0}, {"dropout": 1.0},
        {"backbone": "vit"}, {"video_layers": True}, {"cls_id": -1},
    ],
)  # fmt: skip
def test_impossible_sizes_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="encoder"):
        DualConfig.from_json(SIZES.to_json() | change)


def test_both_towers_start_from_a_bert(tmp_path: Path) -> None:
    bert = BertForMaskedLM(
        BertConfig(
            vocab_size=60, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=70,
        )
    )  # fmt: skip
    he_initialise(bert, 0)
    bert.config.save_pretrained(tmp_path)
    tensors = dict(bert.state_dict())
    # The published bert-base-uncased has a pooler, and its norms under older names.
    tensors |= {"bert.pooler.dense.weight": torch.ones(16, 16), "bert.pooler.dense.bias": torch.ones(16)}
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): value for name, value in tensors.items()}
    torch.save(old, tmp_path / "pytorch_model.bin")
    config = bert_config(tmp_path, SIZES)
    assert (config.video_layers, config.text_layers, config.hidden_size) == (1, 3, 16)
    encoder, source = dual_from_bert(tmp_path, config=config, seed=0)
    assert source == f"bert:sha256:{file_sha256(tmp_path / 'pytorch_model.bin')}"
    name = "encoder.layer.0.attention.self.query.weight"
    for tower in (encoder.video_encoder.bert, encoder.text_encoder):
        assert torch.equal(tower.state_dict()[name], tensors[f"bert.{name}"])
    token_mlp = random_encoder(config, 0).video_encoder.videomlp.linear1.weight
    assert torch.equal(encoder.video_encoder.videomlp.linear1.weight, token_mlp)


@pytest.mark.parametrize("content", [None, "[]", "{}", '{"hidden_size": "x"}', "{"])
def test_a_bert_without_sizes_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json"):
        bert_config(tmp_path, SIZES)


def test_a_bert_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds neither"):
        dual_from_bert(tmp_path, config=SIZES, seed=0)


def test_other_layouts_are_no_published_checkpoint(tmp_path: Path) -> None:
    torch.save({"model": {"mmmodel.fc.weight": torch.zeros(2, 2)}}, tmp_path / "file.pt")
    with pytest.raises(ValueError, match=r"there is no tensor .*expected VideoCLIP's layout"):
        load_published(tmp_path / "file.pt")
    torch.save({"model": {"mmmodel.video_encoder.videomlp.linear1.weight": torch.zeros(2)}}, tmp_path / "file.pt")
    with pytest.raises(ValueError, match="expected VideoCLIP's layout"):
        load_published(tmp_path / "file.pt")


def test_a_vocabulary_is_the_same_for_the_same_sentences() -> None:
    tokens = train_word_pieces(SENTENCES, 60)
    assert tokens == train_word_pieces(list(SENTENCES), 60)
    assert tuple(tokens[:5]) == SPECIAL_TOKENS
    assert len(tokens) == len(set(tokens)) <= 60
    assert {"the", "eggs"} <= set(tokens)
    assert "é" not in "".join(tokens)


def test_a_vocabulary_does_not_depend_on_the_process() -> None:
    code = f"from models.encoders.word_pieces import train_word_pieces as t; print(t({SENTENCES!r}, 60))"
    root = Path(__file__).parents[2]
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=root, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert done.stdout.strip() == str(train_word_pieces(SENTENCES, 60))


def test_captions_are_framed_and_padded(tokenizer: CaptionTokenizer) -> None:
    ids, mask = tokenizer.encode(["The EGGS", "", "eggs " * 100, "漢字"])
    assert ids.shape == mask.shape == (4, 63)
    the, eggs = (tokenizer.pieces(word)[0] for word in ("the", "eggs"))
    assert ids[0, :5].tolist() == [tokenizer.cls_id, the, eggs, tokenizer.sep_id, tokenizer.pad_id]
    assert mask.sum(dim=1).tolist() == [4, 2, 63, 4]
    assert ids[2, -1] == tokenizer.sep_id
    assert ids[3, 1:3].tolist() == [tokenizer.unk_id] * 2
    empty, _ = tokenizer.encode([])
    assert empty.shape == (0, 0)


def test_a_tokenizer_comes_back_from_each_of_its_forms(tokenizer: CaptionTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    folder = tmp_path / "bert"
    folder.mkdir()
    tokens = train_word_pieces(SENTENCES, SIZES.vocab_size)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    expected, _ = tokenizer.encode(SENTENCES)
    for path in (tmp_path / "tokenizer.json", tmp_path, folder, folder / "vocab.txt"):
        loaded = CaptionTokenizer.load(path)
        assert torch.equal(loaded.encode(SENTENCES)[0], expected)
        assert loaded.vocab_size == tokenizer.vocab_size
        loaded.save(tmp_path / "again.json")
        assert (tmp_path / "again.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("content", [b"", b"{", b'{"model": 3}', b"\xff"])
@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt"])
def test_a_damaged_tokenizer_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"tokenizer|UTF-8"):
        CaptionTokenizer.load(tmp_path / name)


def test_a_dual_checkpoint_is_opened(checkpoint: DualCheckpoint, tmp_path: Path) -> None:
    save_dual(checkpoint, tmp_path)
    digest = file_sha256(tmp_path / "model.safetensors")
    encoder = open_encoder(EncoderSpec(kind="dual", path=str(tmp_path), sha256=digest))
    assert (encoder.dim, encoder.feature_dim, encoder.feature_dims, encoder.backbone) == (16, 6, (6,), "s3d")
    assert encoder.random_weights
    assert not encoder.normalised
    assert str(tmp_path) not in encoder.description
    features, mask = windows(6)
    vectors = encoder.encode_windows(features, mask)
    assert vectors.shape == (3, 16)
    assert torch.allclose(vectors[1:2], encoder.encode_windows(features[1:2, :2], mask[1:2, :2]), atol=1e-6)
    assert encoder.encode_texts(SENTENCES).shape == (5, 16)
    assert encoder.encode_texts([]).shape == (0, 16)
    with pytest.raises(ValueError, match="sha256"):
        open_encoder(EncoderSpec(kind="dual", path=str(tmp_path), sha256="0" * 64))


def test_a_published_file_is_opened_with_its_vocabulary(tokenizer: CaptionTokenizer, tmp_path: Path) -> None:
    encoder = random_encoder(replace(SIZES, hidden_size=64, num_heads=1, vocab_size=120), 0)
    saved = {f"mmmodel.{name}": value.half() for name, value in encoder.state_dict().items()}
    torch.save({"model": saved, "args": None}, tmp_path / "checkpoint_best.pt")
    (tmp_path / "vocab.txt").write_text("\n".join(train_word_pieces(SENTENCES, 60)), encoding="utf-8")
    spec = EncoderSpec(kind="dual", path=str(tmp_path / "checkpoint_best.pt"), tokenizer=str(tmp_path / "vocab.txt"))
    opened = open_encoder(spec)
    assert not opened.random_weights
    assert "published" in opened.description
    assert opened.encode_texts(["whisk"]).dtype == torch.float32
    with pytest.raises(ValueError, match="holds no tokenizer"):
        open_encoder(replace(spec, tokenizer=None))
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *map(str, range(130))]), encoding="utf-8")
    with pytest.raises(ValueError, match="has 135 tokens, the checkpoint 120"):
        open_encoder(spec)


def test_s3d_text_takes_video_embedding_and_mixed_5c(network: S3D) -> None:
    encoder = S3DText(network, hashed_word_id, random_weights=True, description="x")
    assert (encoder.dim, encoder.feature_dim, encoder.feature_dims) == (512, 512, (512, 1024))
    features, mask = windows(1024)
    got = encoder.encode_windows(features, mask)
    with torch.inference_mode():
        rows = network.fc(features)
        expected = torch.stack([row[real].mean(dim=0) for row, real in zip(rows, mask, strict=True)])
    assert torch.allclose(got, expected, atol=1e-5)
    assert torch.allclose(encoder.encode_windows(rows.clone(), mask), expected, atol=1e-5)
    for width in (511, 2048):
        with pytest.raises(ValueError, match=r"got features of shape .*\(B, T, 1024\) mixed_5c"):
            encoder.encode_windows(*windows(width))


def test_a_window_of_the_networks_own_rows_scores_like_the_network(network: S3D) -> None:
    clip = torch.rand((1, 3, 8, 32, 32), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        output = network(clip)
    encoder = S3DText(network, hashed_word_id, random_weights=True, description="x")
    one = torch.ones((1, 1), dtype=torch.bool)
    for rows in (output.mixed_5c, output.video_embedding):
        assert torch.allclose(encoder.encode_windows(rows[None], one), output.video_embedding, atol=1e-4)


def test_s3d_text_is_opened_with_random_weights_and_with_a_file(network: S3D, tmp_path: Path) -> None:
    encoder = open_encoder(EncoderSpec(kind="s3d-text", seed=0))
    assert encoder.random_weights
    assert "seed 0" in encoder.description
    texts = encoder.encode_texts(["Whisk the eggs", "whisk, the eggs!", "a bowl"])
    assert torch.equal(texts[0], texts[1])
    assert not torch.allclose(texts[0], texts[2])
    torch.save(network.state_dict(), tmp_path / "s3d.pth")
    np.save(tmp_path / "words.npy", np.array(["whisk", "eggs"]))
    spec = EncoderSpec(kind="s3d-text", path=str(tmp_path / "s3d.pth"), tokenizer=str(tmp_path / "words.npy"))
    loaded = open_encoder(spec)
    assert not loaded.random_weights
    features, mask = windows(1024)
    assert torch.equal(loaded.encode_windows(features, mask), encoder.encode_windows(features, mask))
    with pytest.raises(ValueError, match="needs its word list"):
        open_encoder(replace(spec, tokenizer=None))


def test_a_window_without_real_clips_gives_numbers(network: S3D) -> None:
    features = torch.ones(1, 2, 512)
    encoder = S3DText(network, hashed_word_id, random_weights=True, description="x")
    assert encoder.encode_windows(features, torch.zeros((1, 2), dtype=torch.bool)).isfinite().all()


@pytest.mark.parametrize("spec", [EncoderSpec(kind="dual"), EncoderSpec(kind="clip"), EncoderSpec(kind="bert")])  # type: ignore[arg-type]
def test_an_incomplete_spec_is_refused(spec: EncoderSpec) -> None:
    with pytest.raises(ValueError, match="encoder"):
        open_encoder(spec)
