"""ResNet without published weights: names, sizes, an independent forward, the folded form, and checkpoints' layouts."""

import copy
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

from models.backbones.resnet import RESNETS, Bottleneck, ResNet, ResNetSize, random_resnet
from models.backbones.resnet_features import IMAGENET_MEAN, IMAGENET_STD, FrozenResNet, ResNetFeatures, normalise_frames
from models.backbones.resnet_weights import load_resnet

TINY = RESNETS["tiny"]
UNEVEN = ResNetSize(blocks=(2, 1, 3, 1), width=4)
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def torchvision_names(blocks: tuple[int, ...]) -> set[str]:
    """The state dict of torchvision's bottleneck networks without `fc`, spelt out from its documentation."""
    names = {"conv1.weight", *(f"bn1.{part}" for part in NORM)}
    for layer, count in enumerate(blocks, start=1):
        for block in range(count):
            here = f"layer{layer}.{block}"
            for number in (1, 2, 3):
                names |= {f"{here}.conv{number}.weight", *(f"{here}.bn{number}.{part}" for part in NORM)}
        names |= {f"layer{layer}.0.downsample.0.weight", *(f"layer{layer}.0.downsample.1.{part}" for part in NORM)}
    return names


@pytest.fixture(scope="module")
def network() -> ResNet:
    """Small, and with norms that are not the identity, as after training."""
    return trained_looking(UNEVEN, 0)


def trained_looking(size: ResNetSize, seed: int) -> ResNet:
    model, generator = random_resnet(size, seed), torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.weight, 0.5), (module.bias, -0.5), (module.running_mean, -0.5)):
                tensor.data.copy_(low + torch.rand(tensor.shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
    return model


def pictures(count: int, height: int = 48, width: int = 64) -> Tensor:
    """Waves of colour: (B, H, W, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        np.stack([127 + 90 * np.sin(x / (5 + k) + c + k) + 30 * np.cos(y / 7 * (c + 1)) for c in range(3)], axis=-1)
        for k in range(count)
    ]
    return torch.from_numpy(np.stack(waves).clip(0, 255).round().astype(np.uint8))


@pytest.mark.parametrize(
    ("name", "entries", "parameters", "dim"),
    # torchvision's documented counts (25,557,032; 44,549,160; 60,192,808) less those of fc, 2,049,000.
    [("resnet50", 318, 23_508_032, 2048), ("resnet101", 624, 42_500_160, 2048), ("resnet152", 930, 58_143_808, 2048)],
)
def test_published_sizes_have_torchvision_s_names_and_counts(
    name: str, entries: int, parameters: int, dim: int
) -> None:
    with torch.device("meta"):
        model = ResNet(RESNETS[name])
    assert set(model.state_dict()) == torchvision_names(RESNETS[name].blocks)
    assert len(model.state_dict()) == entries
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model.size.dim == dim


def hub_names(size: ResNetSize) -> dict[str, str]:
    """Where transformers' ResNetModel keeps each convolution and norm: our module's name by its name."""
    names = {"embedder.embedder.convolution": "conv1", "embedder.embedder.normalization": "bn1"}
    for layer, count in enumerate(size.blocks):
        for block in range(count):
            there, here = f"encoder.stages.{layer}.layers.{block}", f"layer{layer + 1}.{block}"
            for number in range(3):
                names[f"{there}.layer.{number}.convolution"] = f"{here}.conv{number + 1}"
                names[f"{there}.layer.{number}.normalization"] = f"{here}.bn{number + 1}"
        there, here = f"encoder.stages.{layer}.layers.0.shortcut", f"layer{layer + 1}.0.downsample"
        names |= {f"{there}.convolution": f"{here}.0", f"{there}.normalization": f"{here}.1"}
    return names


@pytest.mark.parametrize("shape", [(64, 64), (63, 50), (33, 97)], ids=str)
def test_an_independent_implementation_gives_the_same_features(network: ResNet, shape: tuple[int, int]) -> None:
    size = network.size
    widths = [size.width * 4 * 2**layer for layer in range(4)]
    other = ResNetModel(ResNetConfig(embedding_size=size.width, hidden_sizes=widths, depths=list(size.blocks)))
    ours, names = network.state_dict(), hub_names(size)
    theirs = {key: ours[f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}"] for key in other.state_dict()}
    other.load_state_dict(theirs)
    pixels = normalise_frames(pictures(2, *shape))
    with torch.inference_mode():
        expected = other.eval().double()(pixels.double()).pooler_output.flatten(1)
        got = copy.deepcopy(network).double()(pixels.double())
    assert torch.allclose(got, expected, rtol=1e-10, atol=1e-12)
    assert expected.std() > 0.01


def test_only_the_3x3_convolution_of_a_first_block_strides() -> None:
    blocks = [module for module in ResNet(RESNETS["tiny"]).modules() if isinstance(module, Bottleneck)]
    strides = [(block.conv1.stride[0], block.conv2.stride[0], block.conv3.stride[0]) for block in blocks]
    assert strides == [(1, 1, 1), (1, 2, 1), (1, 2, 1), (1, 2, 1)]


def test_pixels_are_normalised_as_imagenet_is() -> None:
    frames = torch.tensor([[[[0, 128, 255], [255, 0, 64]]]], dtype=torch.uint8)
    got = normalise_frames(frames)
    assert got.shape == (1, 3, 1, 2)
    for column in range(2):
        for colour in range(3):
            value = (int(frames[0, 0, column, colour]) / 255 - IMAGENET_MEAN[colour]) / IMAGENET_STD[colour]
            assert float(got[0, colour, 0, column]) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("shape", [(48, 64), (7, 9), (65, 33)], ids=str)
def test_freezing_changes_nothing_but_rounding(network: ResNet, shape: tuple[int, int]) -> None:
    frames = pictures(3, *shape)
    with torch.inference_mode():
        plain = copy.deepcopy(network).double()(normalise_frames(frames).double())
        frozen = FrozenResNet(network, torch.float32)(frames)
    assert frozen.dtype == torch.float32
    assert (frozen - plain).norm() <= 2e-6 * plain.norm()


def test_freezing_leaves_the_model_alone_and_wants_it_plain(network: ResNet) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    FrozenResNet(network, torch.bfloat16)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    changed = copy.deepcopy(network)
    changed.bn1 = nn.Identity()  # type: ignore[assignment]
    with pytest.raises(ValueError, match="Identity"):
        FrozenResNet(changed, torch.float32)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rows_are_the_same_bytes_each_time_and_alone(precision: str) -> None:
    rows, frames = ResNetFeatures(random_resnet(TINY, 0), precision=precision), pictures(6, 112, 112)
    together = rows(frames)
    assert together.shape == (6, rows.dim)
    assert together.dtype == torch.float32
    assert torch.equal(rows(frames), together)
    assert torch.equal(rows(frames[:4]), together[:4])


def test_bfloat16_stays_close() -> None:
    frames = pictures(3)
    precise, coarse = (ResNetFeatures(random_resnet(TINY, 0), precision=p)(frames) for p in ("float32", "bfloat16"))
    assert torch.cosine_similarity(precise, coarse).min() >= 0.9995


@pytest.mark.parametrize("blocks", [TINY.blocks, RESNETS["resnet50"].blocks, RESNETS["resnet152"].blocks], ids=str)
def test_random_features_fit_float16_and_tell_frames_apart(blocks: tuple[int, int, int, int]) -> None:
    rows = ResNetFeatures(random_resnet(ResNetSize(blocks=blocks, width=8), 0))(pictures(3))
    assert 0.1 < rows.std() < 1000
    unit = nn.functional.normalize(rows, dim=1)
    rounding = (unit.half().float() - unit).norm(dim=1).max()
    apart = torch.cdist(unit, unit)[~torch.eye(3, dtype=torch.bool)].min()
    assert apart > 100 * rounding


def test_one_seed_is_reproducible_and_seeds_differ() -> None:
    first, again, other = (random_resnet(TINY, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["layer3.0.conv2.weight"], other["layer3.0.conv2.weight"])


@pytest.mark.parametrize(
    "frames",
    [torch.zeros((1, 32, 32, 3)), torch.zeros((1, 3, 32, 32), dtype=torch.uint8), torch.zeros((0, 8, 8, 3)).byte()],
    ids=["float", "channels first", "empty"],
)
def test_features_take_decoded_frames_only(frames: Tensor) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        ResNetFeatures(random_resnet(TINY, 0))(frames)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="'half'"):
        ResNetFeatures(random_resnet(TINY, 0), precision="half")  # type: ignore[arg-type]


def layouts(trunk: dict[str, Tensor]) -> dict[str, Any]:
    """The same weights as four programs save them; other tensors stand beside them in each."""
    other = {name: torch.full_like(value, 7) for name, value in trunk.items()}
    heads = {f"fc_{head}.{n}.weight": torch.ones(2, 2) for head in ("inter", "intra", "order", "tsn") for n in (0, 2)}
    heads["fc_order_classifier.bias"] = torch.ones(4)
    return {
        "torchvision": {**trunk, "fc.weight": torch.ones(10, 4), "fc.bias": torch.ones(10)},
        "before counters": {name: value for name, value in trunk.items() if "num_batches" not in name},
        "moco": {
            "epoch": 200,
            "arch": "resnet50",
            "state_dict": {
                **{f"module.encoder_q.{name}": value for name, value in trunk.items()},
                "module.encoder_q.fc.0.weight": torch.ones(4, 4),
                **{f"module.encoder_k.{name}": value for name, value in other.items()},
                "module.queue": torch.ones(4, 8),
            },
        },
        "vclr": {
            "opt": {"epochs": 400},
            "model": {f"module.{name}": value for name, value in {**trunk, **heads}.items()},
            "model_ema": {**other, **heads},
            "contrast": {"memory": torch.ones(8, 4)},
        },
    }


@pytest.mark.parametrize("layout", ["torchvision", "before counters", "moco", "vclr", "safetensors"])
def test_every_layout_loads(network: ResNet, layout: str, tmp_path: Path) -> None:
    trunk = network.state_dict()
    path = tmp_path / ("weights.safetensors" if layout == "safetensors" else "weights.pth")
    if layout == "safetensors":
        safetensors.torch.save_file({**trunk, "fc_inter.0.weight": torch.ones(2, 2)}, path)
    else:
        torch.save(layouts(trunk)[layout], path)
    loaded = load_resnet(path, network.size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert not loaded.training
    assert all(torch.equal(value, trunk[name]) for name, value in loaded.state_dict().items())


def test_weights_of_another_network_are_refused_by_name(network: ResNet, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(layouts(network.state_dict())["vclr"], path)
    with pytest.raises(ValueError, match=r"got 156 tensors, expected 174: missing layer1\.2\.conv1\.weight"):
        load_resnet(path, ResNetSize(blocks=(3, 1, 3, 1), width=4))
    with pytest.raises(ValueError, match=r"conv1\.weight got shape \(4, 3, 7, 7\), expected \(8, 3, 7, 7\)"):
        load_resnet(path, ResNetSize(blocks=(2, 1, 3, 1), width=8))
    with pytest.raises(ValueError, match="expected 0000"):
        load_resnet(path, network.size, sha256="0" * 64)
