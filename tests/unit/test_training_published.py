"""Published backbones written in our layout: what their readers then load, and what is refused."""

import re
from pathlib import Path

import pytest
import torch

from models.backbones.resnet import RESNETS
from models.backbones.resnet_weights import load_resnet
from models.backbones.s3d import random_s3d
from models.backbones.vclr import random_vclr, save_vclr
from models.backbones.weights import load_s3d
from stages.errors import ConfigError
from stages.training.published import write_published
from stages.training.tasks.vclr import open_network
from tests.objective_samples import OBJECTIVES


def run_card(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    (snippet,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
    exec(snippet, {"folder": str(folder)})
    return capsys.readouterr().out


def test_vclr_s_file_becomes_a_backbone_and_a_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = random_vclr(RESNETS["tiny"], 3, head_width=32)
    named = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"model": named, "epoch": 4}, tmp_path / "vclr.pth")
    assert write_published(tmp_path / "vclr.pth", tmp_path / "ours", None).startswith("a tiny")
    loaded = load_resnet(tmp_path / "ours" / "model.safetensors", RESNETS["tiny"])
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name
    settings = OBJECTIVES["vclr"].model_copy(update={"head_width": 32})
    begun, came_from = open_network(settings, tmp_path / "ours", seed=0)
    assert came_from.startswith("checkpoint:sha256:")
    assert torch.equal(begun.fc_tsn[2].weight, network.fc_tsn[2].weight)
    assert run_card(tmp_path / "ours", capsys)


def test_s3d_s_file_becomes_safetensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = random_s3d(1)
    torch.save(network.state_dict(), tmp_path / "s3d.pth")
    assert write_published(tmp_path / "s3d.pth", tmp_path / "ours", None).startswith("S3D-G")
    loaded = load_s3d(tmp_path / "ours" / "model.safetensors").state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, loaded[name]), name
    assert run_card(tmp_path / "ours", capsys) == f"{len(loaded)}\n"


def test_the_card_of_a_trained_network_opens_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_vclr(random_vclr(RESNETS["tiny"], 0), tmp_path, {"steps": 3, "start_weights": "random:seed=0"})
    assert "| steps | 3 |" in (tmp_path / "README.md").read_text()
    assert run_card(tmp_path, capsys).startswith("tensor([[")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"layer1.0.conv1.weight": torch.zeros(1)}, "is a ResNet, but none of resnet50"),
        ({"lm_head.weight": torch.zeros(1)}, "holds 1 tensors such as lm_head.weight; expected VideoCLIP's"),
        ({"mmmodel.video_encoder.classifier.weight": torch.zeros(1)}, "holds no tokenizer"),
    ],
)
def test_what_is_none_of_them_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor], message: str) -> None:
    torch.save(tensors, tmp_path / "some.pt")
    with pytest.raises(ConfigError, match=message):
        write_published(tmp_path / "some.pt", tmp_path / "ours", None)
    assert not (tmp_path / "ours").exists()
