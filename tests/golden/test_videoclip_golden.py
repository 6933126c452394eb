"""The two-tower encoder against the published implementation's outputs (provenance: golden/README.md)."""

import argparse
import re
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from models.backbones.weights import file_sha256, read_weights
from models.encoders.checkpoint import bert_config, load_dual, load_published
from models.encoders.config import DualConfig
from models.encoders.dual import DualEncoder
from pipeline.commands import import_checkpoint

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def checkpoint(shared_dir: Path) -> Path:
    return shared_dir / "golden" / "videoclip_tiny_checkpoint.pt"


@pytest.fixture(scope="module")
def golden(shared_dir: Path) -> dict[str, torch.Tensor]:
    with np.load(shared_dir / "golden" / "videoclip_tiny_golden.npz", allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file}


@pytest.fixture(scope="module")
def num_heads(shared_dir: Path) -> int:
    return bert_config(shared_dir / "golden" / "bert_config", DualConfig()).num_heads


@pytest.fixture(scope="module")
def encoder(checkpoint: Path, num_heads: int) -> DualEncoder:
    return load_published(checkpoint, num_heads=num_heads)[0]


def without_second(captions: torch.Tensor) -> torch.Tensor:
    """Cut the second token out of the published layout `[CLS] [SEP] w_1 ..`, ids or mask."""
    return torch.cat([captions[:, :1], captions[:, 2:]], dim=1)


def outputs(encoder: DualEncoder, golden: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    ids, mask = without_second(golden["caps"]), without_second(golden["cmasks"])
    with torch.inference_mode():
        return {
            "pooled_video": encoder.encode_video(golden["vfeats"], golden["vmasks"]),
            "pooled_text": encoder.encode_text(ids, mask),
            "video_hidden": encoder.video_encoder(golden["vfeats"], golden["vmasks"]),
        }


def differences(encoder: DualEncoder, golden: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: float((got - golden[name]).abs().max()) for name, got in outputs(encoder, golden).items()}


def test_outputs(encoder: DualEncoder, golden: dict[str, torch.Tensor]) -> None:
    assert max(differences(encoder, golden).values()) <= 1e-5


def test_imported_exported_and_imported_again_it_gives_the_same(
    checkpoint: Path, golden: dict[str, torch.Tensor], shared_dir: Path, tmp_path: Path
) -> None:
    words = tmp_path / "words"
    words.mkdir()
    shutil.copy(shared_dir / "golden" / "bert_config" / "config.json", words)
    (words / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "egg"]))
    import_checkpoint(checkpoint, tmp_path / "ours", words)
    first = load_dual(tmp_path / "ours").encoder
    assert isinstance(first, DualEncoder)
    assert max(differences(first, golden).values()) <= 1e-5
    tensors = safetensors.torch.load_file(tmp_path / "ours" / "model.safetensors")
    torch.save({"model": {f"mmmodel.{name}": value for name, value in tensors.items()}}, tmp_path / "theirs.pt")
    import_checkpoint(tmp_path / "theirs.pt", tmp_path / "again", words)
    second = load_dual(tmp_path / "again").encoder
    assert isinstance(second, DualEncoder)
    assert max(differences(second, golden).values()) <= 1e-5
    snippet = re.findall(r"```python\n(.*?)```", (tmp_path / "again" / "README.md").read_text(), flags=re.DOTALL)[0]
    exec(snippet, {"folder": str(tmp_path / "again")})


def test_sizes_follow_from_the_tensors(encoder: DualEncoder, shared_dir: Path) -> None:
    expected = bert_config(shared_dir / "golden" / "bert_config", DualConfig(video_layers=2))
    assert encoder.config == expected


def test_the_digest_is_that_of_the_file(checkpoint: Path, num_heads: int) -> None:
    digest = file_sha256(checkpoint)
    assert load_published(checkpoint, sha256=digest.upper(), num_heads=num_heads)[1] == digest


def test_a_file_with_training_objects_loads_without_their_classes(
    checkpoint: Path, golden: dict[str, torch.Tensor], num_heads: int, tmp_path: Path
) -> None:
    trainer = types.ModuleType("vanished_trainer")
    made = type("Meter", (), {"__module__": "vanished_trainer"})
    trainer.Meter = made  # type: ignore[attr-defined]
    meter = made()
    meter.history = [1.0, torch.zeros(3)]
    saved = read_weights(checkpoint)
    saved |= {"args": argparse.Namespace(lr=5e-5, arch="mmfusion"), "extra_state": {"meters": [meter]}}
    for name, zipped in (("zip", True), ("legacy", False)):
        sys.modules["vanished_trainer"] = trainer
        try:
            torch.save(saved, tmp_path / name, _use_new_zipfile_serialization=zipped)
        finally:
            del sys.modules["vanished_trainer"]
        loaded, _ = load_published(tmp_path / name, num_heads=num_heads)
        assert max(differences(loaded, golden).values()) <= 1e-5
        assert "vanished_trainer" not in sys.modules


def test_position_ids_may_be_absent_and_a_classifier_may_be_present(
    checkpoint: Path, golden: dict[str, torch.Tensor], num_heads: int, tmp_path: Path
) -> None:
    saved = read_weights(checkpoint)["model"]
    kept = {name: value for name, value in saved.items() if not name.endswith("position_ids")}
    kept["mmmodel.video_encoder.classifier.weight"] = torch.ones(779, 48)
    kept["mmmodel.video_encoder.classifier.bias"] = torch.arange(779.0)
    torch.save({"model": kept}, tmp_path / "coin.pt")
    loaded, _ = load_published(tmp_path / "coin.pt", num_heads=num_heads)
    assert max(differences(loaded, golden).values()) <= 1e-5
    assert loaded.config.num_labels == 779
    logits = loaded.label_logits(torch.full((2, 5, 48), 0.5))
    assert torch.equal(logits[1, 4], 24.0 + torch.arange(779.0))


def test_an_absent_layer_is_named(checkpoint: Path, num_heads: int, tmp_path: Path) -> None:
    saved = read_weights(checkpoint)["model"]
    del saved["mmmodel.video_encoder.videomlp.linear2.bias"]
    torch.save({"model": saved}, tmp_path / "cut.pt")
    with pytest.raises(ValueError, match=r"missing video_encoder\.videomlp\.linear2\.bias"):
        load_published(tmp_path / "cut.pt", num_heads=num_heads)


def test_the_number_of_heads_is_asked_for_where_the_width_does_not_tell(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="num_heads"):
        load_published(checkpoint)


def test_padding_does_not_matter(encoder: DualEncoder, golden: dict[str, torch.Tensor]) -> None:
    changed = dict(golden)
    changed["vfeats"] = torch.where(golden["vmasks"][:, :, None], golden["vfeats"], torch.tensor(37.0))
    changed["caps"] = torch.where(golden["cmasks"], golden["caps"], torch.tensor(77))
    before, after = outputs(encoder, golden), outputs(encoder, changed)
    for name in ("pooled_video", "pooled_text"):
        assert (before[name] - after[name]).abs().max() <= 1e-6


def test_a_shorter_window_keeps_the_position_of_its_end(encoder: DualEncoder, golden: dict[str, torch.Tensor]) -> None:
    longest = int(golden["vmasks"].sum(dim=1).max())
    cut = dict(golden, vfeats=golden["vfeats"][:, :longest], vmasks=golden["vmasks"][:, :longest])
    with torch.inference_mode():
        pooled = encoder.encode_video(cut["vfeats"], cut["vmasks"])
    assert longest < 32
    assert (pooled - golden["pooled_video"]).abs().max() <= 1e-5


def test_the_order_of_a_batch_does_not_matter(encoder: DualEncoder, golden: dict[str, torch.Tensor]) -> None:
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    got = outputs(encoder, {name: value[order] for name, value in golden.items()})
    for name, value in got.items():
        assert (value - golden[name][order]).abs().max() <= 1e-5
