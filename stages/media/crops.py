"""Parts of a decoded picture: drawn ones to train on, fixed ones to test on. Knows pictures and numbers only.

Sources: RandomResizedCrop is Szegedy et al. (arXiv:1409.4842), section 6, as torchvision draws it; MultiScaleCrop is
Wang et al., TSN (arXiv:1608.00859), section 3.3.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from stages.media.geometry import Rgb

FixedCrops = Literal["centre", "three", "ten"]

_TRIES = 10
_MULTI_SCALES = (1.0, 0.875, 0.75, 0.66)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A part of a picture, in pixels; it lies inside of it.

    Attributes:
        top: of its first row.
        left: of its first column.
        height: rows, at least 1.
        width: columns, at least 1.
        mirrored: left and right are exchanged after it is cut.
    """

    top: int
    left: int
    height: int
    width: int
    mirrored: bool = False


def random_area_box(
    height: int,
    width: int,
    generator: np.random.Generator,
    *,
    areas: tuple[float, float] = (0.08, 1.0),
    ratios: tuple[float, float] = (3 / 4, 4 / 3),
) -> Box:
    """Draw a part by its area and its ratio of width to height, then its place.

    Args:
        height: of the picture.
        width: of the picture.
        generator: source of the draws.
        areas: least and greatest share of the picture's area, uniform.
        ratios: least and greatest ratio, uniform in their logarithm.

    Returns:
        The part; of a picture that is too long or too high for the ratios, after ten tries, its middle.
    """
    for _ in range(_TRIES):
        area = height * width * generator.uniform(*areas)
        ratio = math.exp(generator.uniform(math.log(ratios[0]), math.log(ratios[1])))
        rows, columns = max(1, round(math.sqrt(area / ratio))), max(1, round(math.sqrt(area * ratio)))
        if rows <= height and columns <= width:
            top, left = generator.integers(height - rows + 1), generator.integers(width - columns + 1)
            return Box(top=int(top), left=int(left), height=rows, width=columns)
    columns = min(width, max(1, round(height * ratios[1])))
    rows = min(height, max(1, round(columns / ratios[0])))
    return Box(top=(height - rows) // 2, left=(width - columns) // 2, height=rows, width=columns)


def multi_scale_box(height: int, width: int, generator: np.random.Generator) -> Box:
    """Draw a part at a corner or the centre; its sides are shares of the short side, of two neighbouring scales."""
    short = min(height, width)
    sides = [max(1, int(short * scale)) for scale in _MULTI_SCALES]
    row = int(generator.integers(len(sides)))
    column = int(generator.integers(max(0, row - 1), min(len(sides), row + 2)))
    rows, columns = sides[row], sides[column]
    places = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]
    down, right = places[int(generator.integers(len(places)))]
    top, left = down * (height - rows) // 2, right * (width - columns) // 2
    return Box(top=top, left=left, height=rows, width=columns)


def fixed_boxes(height: int, width: int, kind: FixedCrops, share: float) -> list[Box]:
    """The parts whose answers are averaged in a test.

    Args:
        height: of the picture.
        width: of the picture.
        kind: `centre`; `three` along the long side; `ten`: corners and centre, and all mirrored.
        share: side of the square parts, as a share of the short side, in (0, 1].
    """
    side = max(1, round(min(height, width) * share))
    far, middle = (height - side, width - side), ((height - side) // 2, (width - side) // 2)
    if kind == "centre":
        places = [middle]
    elif kind == "three":
        ends = [(0, middle[1]), (far[0], middle[1])] if height > width else [(middle[0], 0), (middle[0], far[1])]
        places = [ends[0], middle, ends[1]]
    else:
        places = [(0, 0), (0, far[1]), (far[0], 0), far, middle]
    flips = (False, True) if kind == "ten" else (False,)
    return [
        Box(top=top, left=left, height=side, width=side, mirrored=mirrored)
        for mirrored in flips
        for top, left in places
    ]


def cut(picture: Rgb, box: Box, side: int) -> Rgb:
    """Cut a part and bring it to a square.

    Args:
        picture: (H, W, 3) uint8.
        box: the part.
        side: pixels of the result.

    Returns:
        (side, side, 3) uint8, resampled bilinearly with antialiasing, contiguous.
    """
    part = picture[box.top : box.top + box.height, box.left : box.left + box.width]
    if part.shape[:2] != (side, side):
        part = np.asarray(Image.fromarray(part).resize((side, side), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(part[:, ::-1] if box.mirrored else part)
