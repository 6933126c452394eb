"""S3D-G for inference: from decoded frames to feature rows.

Letters: B clips, F frames a clip, H W pixels, D feature width.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from models.backbones.planar import Convolutions, FloatConvolutions
from models.backbones.s3d import MIXED_5C_DIM, S3D, VIDEO_EMBEDDING_DIM
from models.backbones.s3d_inference import FrozenS3D

Output = Literal["video_embedding", "mixed_5c"]
Precision = Literal["float32", "bfloat16"]
Arithmetic = Literal["float", "int8"]


def _int8_convolutions(dtype: torch.dtype) -> Convolutions:
    from models.backbones.int8 import Int8Convolutions  # loads numba: where it is wanted only

    return Int8Convolutions(dtype)


_CONVOLUTIONS: dict[Arithmetic, Callable[[torch.dtype], Convolutions]] = {
    "float": FloatConvolutions, "int8": _int8_convolutions,
}  # fmt: skip

_PIXELS_AT_ONCE = 30 * 224 * 224
"""On the CPU: maps of one clip of VideoCLIP's stay in the cache and in memory that malloc reuses (12 % faster)."""


class S3DFeatures:
    """The frozen video tower as a function from decoded frames to feature rows."""

    def __init__(
        self,
        model: S3D,
        *,
        output: Output = "video_embedding",
        l2_normalise: bool = False,
        precision: Precision = "float32",
        arithmetic: Arithmetic = "float",
        device: torch.device | str = "cpu",
    ) -> None:
        """Prepare a copy of the model; `model` itself is left as it is.

        Args:
            model: With its weights loaded.
            output: Which of the two pooled outputs becomes the feature.
            l2_normalise: Scale each row to length 1, as VideoCLIP's extractor does (papers: fact sheet 2.3).
            precision: Of the feature maps; the mean over the last map and `fc` are float32 in either case.
            arithmetic: Of the convolutions: `float` in that precision, or `int8`, on a CPU.
            device: Where to compute.

        Raises:
            ValueError: `output`, `precision` or `arithmetic` is none of the names above; or int8 on a card.
        """
        if output not in ("video_embedding", "mixed_5c"):
            raise ValueError(f"S3D output: got {output!r}, expected 'video_embedding' or 'mixed_5c'")
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"S3D precision: got {precision!r}, expected 'float32' or 'bfloat16'")
        self.output = output
        self.l2_normalise = l2_normalise
        self.dim = VIDEO_EMBEDDING_DIM if output == "video_embedding" else MIXED_5C_DIM
        dtype = torch.float32 if precision == "float32" else torch.bfloat16
        self._device = torch.device(device)
        if arithmetic not in _CONVOLUTIONS or (arithmetic == "int8" and self._device.type != "cpu"):
            raise ValueError(f"S3D arithmetic: got {arithmetic!r} on {device}, expected 'float', or 'int8' on a CPU")
        # In whole numbers one clip: a map's unit must not depend on other clips.
        self._pixels_at_once = 1 if arithmetic == "int8" else _PIXELS_AT_ONCE
        self._model = FrozenS3D(model, _CONVOLUTIONS[arithmetic](dtype)).to(device)

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Tensor:
        """Encode clips.

        Args:
            frames: (B, F, H, W, 3) uint8, RGB; F, H and W even.

        Returns:
            (B, D) float32 on the CPU, D = `dim`.

        Raises:
            ValueError: The shape or the dtype is another one.
        """
        if frames.dtype != torch.uint8 or frames.ndim != 5 or frames.shape[4] != 3:
            raise ValueError(f"S3D frames: got {frames.dtype} {tuple(frames.shape)}, expected uint8 (B, F, H, W, 3)")
        if any(size % 2 or not size for size in frames.shape[1:4]):
            raise ValueError(f"S3D frames: got {tuple(frames.shape[1:4])}, expected even F, H, W")
        at_once = len(frames)
        if self._device.type == "cpu":
            at_once = self._pixels_at_once // math.prod(frames.shape[1:4])
        return torch.cat([self.compute(part.to(self._device)).cpu() for part in frames.split(max(1, at_once))])

    def compute(self, frames: Tensor) -> Tensor:
        """Encode clips of the same shape, all at once, that lie on the network's device; so do the rows."""
        result = self._model(frames)
        features: Tensor = result.video_embedding if self.output == "video_embedding" else result.mixed_5c
        return F.normalize(features, dim=1) if self.l2_normalise else features
