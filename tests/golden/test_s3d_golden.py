"""S3D-G against the published implementation's outputs (provenance: golden/README.md of the shared folder)."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from models.backbones.s3d import S3D
from models.backbones.s3d_features import S3DFeatures
from models.backbones.s3d_text import WordList, word_ids

pytestmark = pytest.mark.shared


def golden_weight(name: str, shape: list[int]) -> torch.Tensor:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if name.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif name.endswith(("running_mean", "bias")):
        values = 0.1 * rng.standard_normal(shape)
    elif len(shape) == 1:
        values = rng.uniform(0.5, 1.5, shape)
    else:
        values = rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


@pytest.fixture(scope="module")
def golden(shared_dir: Path) -> dict[str, np.ndarray]:
    return dict(np.load(shared_dir / "golden" / "s3d_golden.npz", allow_pickle=False))


@pytest.fixture(scope="module")
def published(shared_dir: Path) -> S3D:
    shapes = json.loads((shared_dir / "golden" / "s3d_howto100m_keys.json").read_text())
    model = S3D()
    assert {name: list(value.shape) for name, value in model.state_dict().items()} == shapes
    assert len(shapes) == 537
    model.load_state_dict({name: golden_weight(name, shape) for name, shape in shapes.items()})
    return model.eval()


def worst(got: torch.Tensor, expected: np.ndarray) -> float:
    return float(np.abs(got.numpy() - expected).max() / expected.std())


def cases(golden: dict[str, np.ndarray]) -> list[str]:
    return sorted(name.removeprefix("input_shape_") for name in golden if name.startswith("input_shape_"))


def test_video_tower(published: S3D, golden: dict[str, np.ndarray]) -> None:
    assert cases(golden)
    for case in cases(golden):
        frames = np.random.default_rng(int(case)).random(tuple(golden[f"input_shape_{case}"]), dtype=np.float32)
        with torch.inference_mode():
            output = published(torch.from_numpy(frames))
        assert worst(output.video_embedding, golden[f"video_embedding_{case}"]) <= 1e-4
        assert worst(output.mixed_5c, golden[f"mixed_5c_{case}"]) <= 1e-4


def test_sentence_tower(published: S3D, golden: dict[str, np.ndarray]) -> None:
    first = [str(word) for word in golden["first_words"]]
    words = first + [f"w{index}" for index in range(len(first), 66249)]
    ids = word_ids([str(sentence) for sentence in golden["sentences"]], WordList(words))
    with torch.inference_mode():
        got = published.text_module(ids)
    assert worst(got, golden["text_embedding"]) <= 1e-4


def test_parameter_counts(published: S3D) -> None:
    sizes = {name: value.numel() for name, value in published.named_parameters()}
    text = sum(size for name, size in sizes.items() if name.startswith("text_module."))
    head = sizes["fc.weight"] + sizes["fc.bias"]
    assert (sum(sizes.values()) - text - head, head, text) == (9_146_000, 524_800, 21_540_536)


@pytest.mark.parametrize("output", ["video_embedding", "mixed_5c"])
def test_folded_network_agrees_with_the_published_outputs(
    published: S3D, golden: dict[str, np.ndarray], output: str
) -> None:
    # Case 0 is given in float; whole-number pixels are what S3DFeatures takes, so the plain network is asked again.
    shape = tuple(golden["input_shape_0"])
    frames = np.random.default_rng(0).random(shape, dtype=np.float32)
    pixels = torch.from_numpy(np.round(frames * 255).astype(np.uint8)).movedim(1, -1).contiguous()
    with torch.inference_mode():
        plain = getattr(published(pixels.movedim(-1, 1).float() / 255), output)
    precise = S3DFeatures(published, output=output)(pixels)
    assert worst(precise, plain.numpy()) <= 1e-5
    coarse = S3DFeatures(published, output=output, precision="bfloat16")(pixels)
    assert torch.cosine_similarity(coarse, plain).min() >= 0.9995
    whole = S3DFeatures(published, output=output, arithmetic="int8")(pixels)
    assert torch.cosine_similarity(whole, plain).min() >= 0.9995
    # The golden input differs from the rounded one by half a grey level at most.
    assert torch.cosine_similarity(precise, torch.from_numpy(golden[f"{output}_0"])).min() >= 0.999
