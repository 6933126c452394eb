"""Towers that are trained give the rows of the frozen ones, and pass gradients to their own weights alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.actions.tsn import ConsensusHead, SegmentNetwork
from models.backbones.clip import ClipImageTower, ClipTowers
from models.backbones.resnet import RESNETS, random_resnet
from models.backbones.resnet_features import ResNetFeatures
from models.backbones.towers import ResNetTower
from tests.clip_factory import save_random_clip, save_random_siglip


def pictures(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (*shape, 40, 48, 3), dtype=np.uint8))


@pytest.mark.parametrize("save", [save_random_clip, save_random_siglip])
def test_clip(save: object, tmp_path: Path) -> None:
    folder = str(save(tmp_path))  # type: ignore[operator]
    tower = ClipImageTower(folder).eval()
    frozen = ClipTowers(folder)
    rows = tower(pictures(3))
    assert tower.dim == frozen.dim == rows.shape[1]
    torch.testing.assert_close(rows, frozen.encode_frames(pictures(3)))
    rows.sum().backward()
    trained = {name for name, parameter in tower.named_parameters() if parameter.requires_grad}
    moved = {name for name, parameter in tower.named_parameters() if parameter.grad is not None}
    assert moved == trained
    assert not any("text" in name or "logit" in name for name in trained)


def test_resnet() -> None:
    model = random_resnet(RESNETS["tiny"], 0)
    tower = ResNetTower(model)
    rows = tower(pictures(3))
    torch.testing.assert_close(rows, ResNetFeatures(model)(pictures(3)), rtol=1e-4, atol=1e-5)
    rows.sum().backward()
    assert all(parameter.grad is not None for parameter in tower.parameters())
    assert tower.dim == 256


def test_a_consensus_is_the_mean_of_the_segments_scores() -> None:
    head = ConsensusHead(256, 4, dropout=0.0, init_std=0.5, seed=0)
    network = SegmentNetwork(ResNetTower(random_resnet(RESNETS["tiny"], 0)), head).eval()
    frames = pictures(2, 3)
    with torch.no_grad():
        together = network(frames)
        alone = torch.stack([network(frames[:, k : k + 1]) for k in range(3)]).mean(dim=0)
    assert together.shape == (2, 4)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_a_head_starts_small_from_its_seed_and_drops_while_training() -> None:
    heads = [ConsensusHead(1000, 50, dropout=0.5, init_std=0.01, seed=seed) for seed in (0, 0, 1)]
    weights = [head.classify.weight for head in heads]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert float(weights[0].detach().std()) == pytest.approx(0.01, rel=0.03)
    rows = torch.ones(1, 2, 1000)
    assert torch.equal(heads[0].eval()(rows), heads[0](rows))
    assert not torch.equal(heads[0].train()(rows), heads[0](rows))
