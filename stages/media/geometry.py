"""The size of the pictures that a consumer wants; planning asks for it, so it knows no decoder."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]


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
