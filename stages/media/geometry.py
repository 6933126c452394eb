"""A decoded picture becomes the small one that a consumer wants: turn, scale, crop; deterministic."""

from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]

# What ffmpeg's scale filter uses unless told, hence what published extractors saw.
_SCALING = Interpolation.BICUBIC
# libswscale is twice as fast in two steps: these are scaled as what stands beside them, and the small picture is turned
# into RGB. It is nearer to an exact conversion, too, than its single step, which loses half of the colours' resolution.
_FIRST_STEP = {"yuvj": "yuvj422p", "yuv": "yuv422p"}


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
        self._resize, self._convert = VideoReformatter(), VideoReformatter()

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
        if (first := _first_step(picture)) is not None:
            picture = self._resize.reformat(
                picture, width=coded[0], height=coded[1], format=first, interpolation=_SCALING, threads=1
            )
        small = self._convert.reformat(
            picture, width=coded[0], height=coded[1], format="rgb24", interpolation=_SCALING, threads=1
        )
        turned = np.rot90(_pixels(small), quarter_turns)
        side = self._geometry.crop
        if side is not None:
            top, left = (height - side) // 2, (width - side) // 2
            turned = turned[top : top + side, left : left + side]
        return np.array(turned, dtype=np.uint8, order="C")


def _pixels(picture: av.VideoFrame) -> Rgb:
    """The pixels of an rgb24 picture where they lie: (H, W, 3), rows padded."""
    plane = picture.planes[0]
    rows = np.frombuffer(plane, dtype=np.uint8).reshape(picture.height, plane.line_size)
    return rows[:, : 3 * picture.width].reshape(picture.height, picture.width, 3)


def _first_step(picture: av.VideoFrame) -> str | None:
    """The pixel format in which a picture is scaled before it becomes RGB; None: both at once."""
    name = picture.format.name
    return next((step for prefix, step in _FIRST_STEP.items() if name.startswith(prefix)), None)
