"""A decoded picture becomes the small one that a consumer wants: turn, scale, crop; deterministic."""

from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]

# Bicubic is what ffmpeg's scale filter uses unless told, hence what published extractors saw.
_SCALING = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The picture that a consumer wants; nothing set: the full picture as displayed.

    Attributes:
        short_side: scale the short side to this, the long one in proportion (cut to int).
        width: scale the width to this, the height in proportion (rounded); not together with `short_side`.
        height: with `width`: stretch to exactly these.
        crop: side of the centre square that is kept after scaling; at most `short_side`.
    """

    short_side: int | None = None
    width: int | None = None
    height: int | None = None
    crop: int | None = None

    def __post_init__(self) -> None:
        sizes = [size for size in (self.short_side, self.width, self.height, self.crop) if size is not None]
        if any(size < 1 for size in sizes) or (self.short_side and self.width) or (self.height and not self.width):
            raise ValueError(
                f"geometry: got {self}, expected positive sizes; short_side, or width, or width and height"
            )
        if self.crop and self.crop > (self.short_side or 0):
            raise ValueError(f"geometry: got a crop of {self.crop} px, expected at most short_side={self.short_side}")

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """Give the (width, height) in pixels to which a displayed picture is scaled before the crop."""
        if self.short_side:
            if width <= height:
                return self.short_side, max(int(height * self.short_side / width), self.short_side)
            return max(int(width * self.short_side / height), self.short_side), self.short_side
        if self.width:
            return self.width, self.height or max(round(height * self.width / width), 1)
        return width, height


class Scaler:
    """Brings pictures of one video to one geometry; keeps libswscale's tables between frames."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._reformatter = VideoReformatter()

    def __call__(self, picture: av.VideoFrame, quarter_turns: int) -> Rgb:
        """Convert one picture.

        Args:
            picture: as decoded, any pixel format.
            quarter_turns: by how many times 90 degrees counter-clockwise it has to be turned for display.

        Returns:
            (H, W, 3) uint8 RGB, contiguous, owning its memory.
        """
        sideways = quarter_turns % 2 == 1
        shown = (picture.height, picture.width) if sideways else (picture.width, picture.height)
        width, height = self._geometry.scaled(*shown)
        coded = (height, width) if sideways else (width, height)
        small = self._reformatter.reformat(
            picture, width=coded[0], height=coded[1], format="rgb24", interpolation=_SCALING, threads=1
        )
        turned = np.rot90(small.to_ndarray(), quarter_turns)
        side = self._geometry.crop
        if side is not None:
            top, left = (height - side) // 2, (width - side) // 2
            turned = turned[top : top + side, left : left + side]
        return np.array(turned, dtype=np.uint8, order="C")
