"""CLIP and SigLIP: towers, pairs, and the preparation of pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from models.backbones.clip import ClipPreprocessing, ClipTowers
from models.encoders.joint import EncoderSpec, open_encoder
from tests.clip_factory import DIM, IMAGE_SIZE, save_random_clip, save_random_siglip

ONE_GREY_LEVEL = 1.001 / 255 / 0.26  # after division by the standard deviation of a colour


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_siglip(tmp_path_factory.mktemp("siglip"))


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Waves of colour, a saturated box with hard edges, and noise: (H, W, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([127 + 90 * np.sin(x / 17 + c + seed) + 30 * np.cos(y / 11 * (c + 1)) for c in range(3)], axis=-1)
    image[height // 4 : height // 2, width // 3 : width // 2] = (250, 20, 60)
    image += np.random.default_rng(seed).normal(0, 8, image.shape)
    return np.clip(image, 0, 255).round().astype(np.uint8)


def pictures(count: int) -> torch.Tensor:
    return torch.from_numpy(np.stack([picture(48, 64, seed) for seed in range(count)]))


@pytest.mark.parametrize("shape", [(240, 320), (320, 240), (180, 321), (100, 80), (224, 224)])
@pytest.mark.parametrize("kind", ["clip", "siglip", "small clip"])
def test_pictures_are_prepared_as_transformers_does(kind: str, shape: tuple[int, int]) -> None:
    small = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    processors = {"clip": CLIPImageProcessorPil, "siglip": SiglipImageProcessorPil}
    processor = CLIPImageProcessorPil(**small) if kind == "small clip" else processors[kind]()
    image = picture(*shape)
    expected = processor(Image.fromarray(image), return_tensors="pt")["pixel_values"][0]
    got = ClipPreprocessing.from_json(processor.to_dict(), image_size=224)(torch.from_numpy(image)[None])[0]
    difference = (got - expected).abs()
    assert got.shape == expected.shape
    # Some versions of Pillow resize along the height first: a little overshoot at hard edges is then cut differently.
    assert (difference > ONE_GREY_LEVEL).float().mean() <= 1e-3
    assert difference.mean() <= 0.3 * ONE_GREY_LEVEL


def test_older_settings_give_sizes_as_numbers() -> None:
    old = {"size": 32, "crop_size": 24, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    settings = ClipPreprocessing.from_json(old, image_size=224)
    assert (settings.short_side, settings.height, settings.width, settings.filter) == (32, 24, 24, "bilinear")
    assert ClipPreprocessing.from_json({}, image_size=224) == ClipPreprocessing()


def test_a_crop_larger_than_the_picture_gets_black_edges() -> None:
    settings = ClipPreprocessing(short_side=8, height=12, width=12, mean=(0.0,) * 3, std=(1.0,) * 3)
    out = settings(torch.full((1, 8, 8, 3), 255, dtype=torch.uint8))
    assert out.shape == (1, 3, 12, 12)
    assert out[0, 0].sum() == 64
    assert out[0, :, 2:10, 2:10].min() == 1


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_pair_gives_unit_vectors(kind: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    towers = ClipTowers(str(folder))
    rows = towers.encode_frames(pictures(4))
    assert rows.shape == (4, DIM)
    assert rows.dtype == torch.float32
    pair = open_encoder(EncoderSpec(kind="clip", path=str(folder)))
    assert (pair.dim, pair.feature_dim, pair.feature_dims, pair.backbone) == (DIM, DIM, (DIM,), "clip")
    assert pair.normalised
    assert not pair.random_weights
    mask = torch.tensor([[True, True], [True, False]])
    windows = pair.encode_windows(rows.reshape(2, 2, DIM), mask)
    texts = pair.encode_texts(["a red square", "A red  square", "a blue circle", "", "word " * 200])
    for vectors in (windows, texts):
        assert torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)))
    assert torch.allclose(windows[1], rows[2] / rows[2].norm(), atol=1e-6)
    assert torch.allclose(texts[0], texts[1])
    assert not torch.allclose(texts[0], texts[2], atol=1e-3)
    assert pair.encode_texts([]).shape == (0, DIM)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_text_does_not_depend_on_its_batch(kind: str, request: pytest.FixtureRequest) -> None:
    towers = ClipTowers(str(request.getfixturevalue(kind)))
    together = towers.encode_texts(["eggs", "crack the eggs into a bowl and whisk them"])
    assert torch.allclose(together[:1], towers.encode_texts(["eggs"]), atol=1e-5)


def test_towers_agree_with_the_library(clip: Path) -> None:
    from transformers import CLIPModel, CLIPTokenizer

    model = CLIPModel.from_pretrained(clip)
    frames, texts = pictures(2), ["a red square", "whisk"]
    pixels = CLIPImageProcessorPil.from_pretrained(clip)([*frames.numpy()], return_tensors="pt")
    tokens = CLIPTokenizer.from_pretrained(clip)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        output = model(**pixels, **tokens)
    towers = ClipTowers(str(clip))
    assert torch.cosine_similarity(towers.encode_frames(frames), output.image_embeds).min() > 0.999
    assert torch.cosine_similarity(towers.encode_texts(texts), output.text_embeds).min() > 0.99999


def test_bfloat16_stays_close(clip: Path) -> None:
    precise, coarse = ClipTowers(str(clip)), ClipTowers(str(clip), precision="bfloat16")
    assert torch.cosine_similarity(precise.encode_frames(pictures(2)), coarse.encode_frames(pictures(2))).min() > 0.99


def test_the_same_seed_saves_the_same_bytes(clip: Path, tmp_path: Path) -> None:
    other = save_random_clip(tmp_path)
    for name in ("model.safetensors", "tokenizer.json", "config.json", "preprocessor_config.json"):
        assert (other / name).read_bytes() == (clip / name).read_bytes()


def test_frames_of_another_form_are_refused(clip: Path) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        ClipTowers(str(clip)).encode_frames(torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE))


@pytest.mark.parametrize("damage", ["no model", "cut", "gap", "settings", "bert"])
def test_a_folder_that_is_no_complete_model_is_refused(damage: str, clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for path in clip.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = folder / "model.safetensors"
    if damage == "no model":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "gap":
        tensors = safetensors.torch.load_file(weights)
        del tensors["visual_projection.weight"]
        safetensors.torch.save_file(tensors, weights, metadata={"format": "pt"})
    elif damage == "settings":
        (folder / "preprocessor_config.json").write_text("{")
    else:
        (folder / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 8, "vocab_size": 9}))
    with pytest.raises(ValueError, match=r"CLIP .*clip: "):
        ClipTowers(str(folder))
