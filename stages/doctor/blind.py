"""A network that sees nothing: extract with it decodes and masks as ever, and computes no features."""

import numpy as np
from numpy.typing import NDArray

from stages.media.backbones import LoadedBackbone
from stages.media.consumers import clip_geometry
from stages.media.geometry import Geometry, Rgb
from stages.media.presets import ClipPreset

_CLIP_SIDE = 224
"""Pixels: what CLIP's image towers want unless their folder says otherwise; no state depends on it."""


def blind_backbone(preset: ClipPreset | None) -> LoadedBackbone:
    """Give one for S3D's preset, or for CLIP (None)."""
    geometry = clip_geometry(preset) if preset is not None else Geometry(short_side=_CLIP_SIDE, crop=_CLIP_SIDE)
    return LoadedBackbone(encode=_see_nothing, geometry=geometry, dim=1)


def _see_nothing(clips: Rgb) -> NDArray[np.float32]:
    return np.zeros((len(clips), 1), np.float32)
