"""A decoded picture becomes the small one that a consumer wants: turn, scale, crop; deterministic."""

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from stages.media.geometry import Geometry, Rgb

# What ffmpeg's scale filter uses unless told, hence what published extractors saw.
_SCALING = Interpolation.BICUBIC
# libswscale is twice as fast in two steps: these are scaled as what stands beside them, and the small picture is turned
# into RGB. It is nearer to an exact conversion, too, than its single step, which loses half of the colours' resolution.
_FIRST_STEP = {"yuvj": "yuvj422p", "yuv": "yuv422p"}


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
