"""CLIP and SigLIP as frozen towers, through `transformers`, with our own preprocessing (no torchvision).

Source: Radford et al., arXiv:2103.00020; Zhai et al., arXiv:2303.15343.

Letters: B frames or texts, H W pixels, D width of the joint space.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging

from models.backbones.restricted_pickle import READING_FAILURES
from models.backbones.towers import FrameTower

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_FILTERS: dict[int, str] = {2: "bilinear", 3: "bicubic"}  # PIL's numbers

_TRUST = {"trust_remote_code": False}
_FAILURES: tuple[type[Exception], ...] = (ValueError, SafetensorError, *READING_FAILURES)

Loaded = TypeVar("Loaded")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPreprocessing:
    """How frames become the image tower's input.

    Attributes:
        short_side: Pixels of the shorter side after resizing; None stretches to `height` x `width` instead.
        height, width: Pixels of the input.
        mean, std: Of each colour, on values in [0, 1].
        filter: Of the resizing, antialiased.
    """

    short_side: int | None = 224
    height: int = 224
    width: int = 224
    mean: tuple[float, ...] = _CLIP_MEAN
    std: tuple[float, ...] = _CLIP_STD
    filter: str = "bicubic"

    @classmethod
    def from_json(cls, settings: dict[str, Any], *, image_size: int) -> "ClipPreprocessing":
        """Read a `preprocessor_config.json`; what it leaves out is as in CLIP, at the network's own image size."""
        size = settings.get("size", image_size)
        crop = settings.get("crop_size", image_size)
        stretched = isinstance(size, dict) and "height" in size
        crop = size if stretched else crop
        height, width = (crop["height"], crop["width"]) if isinstance(crop, dict) else (crop, crop)
        short = size.get("shortest_edge", image_size) if isinstance(size, dict) else size
        return cls(
            short_side=None if stretched else int(short),
            height=int(height),
            width=int(width),
            mean=tuple(settings.get("image_mean", _CLIP_MEAN)),
            std=tuple(settings.get("image_std", _CLIP_STD)),
            filter=_FILTERS.get(settings.get("resample", 3), "bicubic"),
        )

    def __call__(self, frames: Tensor) -> Tensor:
        """Map (B, H, W, 3) uint8 RGB to (B, 3, height, width) float32: resize, centre crop, normalise.

        Resizing does as Pillow does: along the width, then the height, each rounded to whole numbers in [0, 255].
        (Pillow 13 takes the height first for some shapes, which moves about 1e-4 of the values by several levels.)
        """
        pixels = frames.movedim(-1, 1).float()
        height, width = self._resized(*pixels.shape[2:])
        pixels = self._interpolated(pixels, (pixels.shape[2], width))
        pixels = self._interpolated(pixels, (height, width))
        top, left = (pixels.shape[2] - self.height) // 2, (pixels.shape[3] - self.width) // 2
        if top < 0 or left < 0:  # a crop larger than the resized frame: black edges
            pixels = F.pad(pixels, (max(0, -left), max(0, -left) + 1, max(0, -top), max(0, -top) + 1))
            top, left = max(0, top), max(0, left)
        pixels = pixels[:, :, top : top + self.height, left : left + self.width] / 255
        mean = torch.tensor(self.mean, device=pixels.device)[:, None, None]
        std = torch.tensor(self.std, device=pixels.device)[:, None, None]
        return (pixels - mean) / std

    def _interpolated(self, pixels: Tensor, size: tuple[int, int]) -> Tensor:
        if tuple(pixels.shape[2:]) == size:
            return pixels
        return F.interpolate(pixels, size, mode=self.filter, antialias=True).round_().clamp_(0, 255)

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.short_side is None:
            return self.height, self.width
        short = min(height, width)
        return self.short_side * height // short, self.short_side * width // short


class ClipTowers:
    """Image and text tower of one CLIP or SigLIP model.

    Attributes:
        dim: D.
        random_weights: False; a folder of weights is always given.
    """

    random_weights = False

    def __init__(
        self,
        source: str,
        *,
        precision: Literal["float32", "bfloat16"] = "float32",
        device: torch.device | str = "cpu",
    ) -> None:
        """Load a model; code in its repository is never run.

        Args:
            source: A local folder in the hub's layout, or a hub id.
            precision: Of the networks.
            device: Where to compute.

        Raises:
            ValueError: There is no such model, or it is not a CLIP-like pair.
        """
        dtype = torch.float32 if precision == "float32" else torch.bfloat16
        model, self.preprocess = _open_model(source, dtype)
        self._tokenizer = _translated(source, lambda: AutoTokenizer.from_pretrained(source, **_TRUST, use_fast=True))
        self._model = model.eval().requires_grad_(False).to(device)
        self._device = torch.device(device)
        self._dtype = dtype
        self._max_tokens = int(model.config.text_config.max_position_embeddings)
        # SigLIP was trained on texts padded to the full length and attends to the padding.
        self._padding = "max_length" if model.config.model_type.startswith("siglip") else "longest"
        self.dim = self.encode_texts(["a"]).shape[1]

    @torch.inference_mode()
    def encode_frames(self, frames: Tensor) -> Tensor:
        """Encode frames: (B, H, W, 3) uint8 RGB -> (B, D) float32 on the CPU, not normalised.

        Raises:
            ValueError: The shape or the dtype is another one.
        """
        if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
            raise ValueError(f"CLIP frames: got {frames.dtype} {tuple(frames.shape)}, expected uint8 (B, H, W, 3)")
        return self.compute(frames.to(self._device)).cpu()

    def compute(self, frames: Tensor) -> Tensor:
        """Encode frames that lie on the towers' device; so do the rows."""
        pixels = self.preprocess(frames).to(self._dtype)
        return _tensor(self._model.get_image_features(pixel_values=pixels)).float()

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Encode texts, cut to the tower's length: B strings -> (B, D) float32 on the CPU, not normalised."""
        if not texts:
            return torch.zeros((0, self.dim))
        tokens = self._tokenizer(
            list(texts), padding=self._padding, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        )
        inputs = {"input_ids": tokens["input_ids"].to(self._device)}
        if self._padding == "longest":
            inputs["attention_mask"] = tokens["attention_mask"].to(self._device)
        return _tensor(self._model.get_text_features(**inputs)).float().cpu()


class ClipImageTower(FrameTower):
    """The image tower alone, to be trained: decoded frames to rows, with gradient.

    Attributes:
        preprocess: how frames become its input.
    """

    model: Any

    def __init__(self, source: str) -> None:
        """Load a model in float32; see `ClipTowers`.

        Raises:
            ValueError: There is no such model, or it is not a CLIP-like pair.
        """
        super().__init__()
        model, self.preprocess = _open_model(source, torch.float32)
        model.text_model = nn.Identity()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(("vision_model.", "visual_projection.")))
        self.model = model
        with torch.no_grad():
            self.dim = self(torch.zeros((1, self.preprocess.height, self.preprocess.width, 3)).byte()).shape[1]

    def forward(self, frames: Tensor) -> Tensor:
        """Map (B, H, W, 3) uint8 RGB to (B, D), not normalised."""
        return _tensor(self.model.get_image_features(pixel_values=self.preprocess(frames)))


def _open_model(source: str, dtype: torch.dtype) -> tuple[Any, ClipPreprocessing]:
    """Load both towers and how frames are prepared; code in the model's repository is never run."""
    transformers_logging.disable_progress_bar()  # a library draws nothing
    model, loading = _translated(
        source, lambda: AutoModel.from_pretrained(source, **_TRUST, dtype=dtype, output_loading_info=True)
    )
    _refuse_gaps(source, model, loading)
    if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
        raise ValueError(f"CLIP {source}: got a {model.config.model_type} model, expected a CLIP or SigLIP model")
    size = int(model.config.vision_config.image_size)
    return model, _translated(source, lambda: _preprocessing(source, image_size=size))


def _translated(source: str, load: Callable[[], Loaded]) -> Loaded:
    """What `load` gives, or a ValueError that names the model."""
    try:
        return load()
    except _FAILURES as error:
        raise ValueError(f"CLIP {source}: cannot be loaded ({error}); give a local folder or a hub id") from error


def _refuse_gaps(source: str, model: Any, loading: dict[str, Any]) -> None:
    """Refuse a folder whose weights are incomplete: transformers would fill the gaps with random values and go on."""
    gaps = sorted(map(str, [*loading["missing_keys"], *loading["mismatched_keys"]]))
    if gaps:
        got = f"{len(gaps)} of {len(model.state_dict())} tensors are missing or of another shape"
        raise ValueError(f"CLIP {source}: {got} ({', '.join(gaps[:3])}, ...); expected a complete model")


def _tensor(output: Any) -> Tensor:
    # transformers 5 wraps what version 4 returned bare.
    tensor: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return tensor


def _preprocessing(source: str, *, image_size: int) -> ClipPreprocessing:
    path = cached_file(source, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    settings = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    return ClipPreprocessing.from_json(settings, image_size=image_size)
