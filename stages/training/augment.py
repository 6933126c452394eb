"""Random views of a picture, as MoCo v2 and VCLR train on.

Source: arXiv:2003.04297 and arXiv:2108.02722 (papers.md 4.2): a random crop brought to one size, colours jittered, grey
now and then, blurred now and then, mirrored now and then. The numbers are torchvision's transforms'; their code is not
used, since torchvision cannot be imported beside the CPU build of torch.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from stages.training.objectives.views import ViewSettings

Picture = NDArray[np.uint8]
Change = Callable[[Image.Image], Image.Image]
_TRIES = 10
_GREATEST_ASPECT = 4 / 3


def random_view(picture: Picture, settings: ViewSettings, generator: np.random.Generator) -> Picture:
    """Draw a view.

    Args:
        picture: (H, W, 3) uint8 RGB.
        settings: how.
        generator: source of all draws.

    Returns:
        (crop, crop, 3) uint8 RGB.
    """
    left, upper, width, height = draw_box(picture.shape[1], picture.shape[0], settings, generator)
    side = (settings.crop, settings.crop)
    box = (left, upper, left + width, upper + height)
    view = Image.fromarray(picture).resize(side, Image.Resampling.BILINEAR, box=box)
    if generator.random() < settings.jitter_rate:
        view = _jitter(view, settings, generator)
    if generator.random() < settings.grey_rate:
        view = view.convert("L").convert("RGB")
    if generator.random() < settings.blur_rate:
        view = view.filter(ImageFilter.GaussianBlur(generator.uniform(settings.least_blur, settings.most_blur)))
    if generator.random() < settings.flip_rate:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.array(view, dtype=np.uint8)


def draw_box(
    width: int, height: int, settings: ViewSettings, generator: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw a crop of a random area and aspect: left, upper, width, height in pixels.

    After some tries that do not fit, the greatest crop in the middle with an aspect between 3:4 and 4:3.
    """
    for _ in range(_TRIES):
        area = width * height * generator.uniform(settings.least_area, settings.most_area)
        aspect = math.exp(generator.uniform(-math.log(_GREATEST_ASPECT), math.log(_GREATEST_ASPECT)))
        wide, high = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < high <= height:
            left = int(generator.integers(width - wide, endpoint=True))
            return left, int(generator.integers(height - high, endpoint=True)), wide, high
    wide = min(width, round(height * _GREATEST_ASPECT))
    high = min(height, round(width * _GREATEST_ASPECT))
    return (width - wide) // 2, (height - high) // 2, wide, high


def _jitter(view: Image.Image, settings: ViewSettings, generator: np.random.Generator) -> Image.Image:
    """Change brightness, contrast, saturation and hue, in a random order."""
    changes: list[Change] = [
        _enhance(ImageEnhance.Brightness, settings.brightness, generator),
        _enhance(ImageEnhance.Contrast, settings.contrast, generator),
        _enhance(ImageEnhance.Color, settings.saturation, generator),
        _turn_hue(generator.uniform(-settings.hue, settings.hue)),
    ]
    for place in generator.permutation(len(changes)):
        view = changes[place](view)
    return view


def _enhance(kind: Callable[[Image.Image], Any], most: float, generator: np.random.Generator) -> Change:
    factor = generator.uniform(1 - most, 1 + most)
    return lambda view: kind(view).enhance(factor)


def _turn_hue(turns: float) -> Change:
    def turn(view: Image.Image) -> Image.Image:
        hsv = np.array(view.convert("HSV"))
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + round(turns * 256)) % 256
        return Image.fromarray(hsv, mode="HSV").convert("RGB")

    return turn
