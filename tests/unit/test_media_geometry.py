"""Scaling, turning and cropping of pictures."""

import av
import numpy as np
import pytest

from stages.media.geometry import Geometry
from stages.media.scaling import Scaler


def flat(width, height, value=128):
    return av.VideoFrame.from_ndarray(np.full((height, width, 3), value, np.uint8), format="rgb24")


@pytest.mark.parametrize(
    ("geometry", "size", "expected"),
    [
        (Geometry(), (129, 97), (97, 129)),
        (Geometry(short_side=224), (1920, 1080), (224, 398)),
        (Geometry(short_side=224), (204, 360), (395, 224)),
        (Geometry(short_side=64, crop=48), (320, 240), (48, 48)),
        (Geometry(width=160), (640, 272), (68, 160)),
        (Geometry(width=160), (4000, 8), (1, 160)),
        (Geometry(width=340, height=256), (640, 272), (256, 340)),
    ],
)
def test_sizes(geometry, size, expected):
    picture = Scaler(geometry)(flat(*size), 0)
    assert picture.shape == (*expected, 3)
    assert picture.flags.c_contiguous
    assert np.all(np.abs(picture.astype(int) - 128) <= 1)


def test_a_sideways_picture_is_turned_before_its_size_counts():
    pixels = np.zeros((48, 96, 3), np.uint8)
    pixels[:, 48:] = 255  # the right half is white: turned counter-clockwise, the top is
    turned = Scaler(Geometry(short_side=24))(av.VideoFrame.from_ndarray(pixels, format="rgb24"), 1)
    assert turned.shape == (48, 24, 3)
    assert turned[:16].min() > 250
    assert turned[-16:].max() < 5


@pytest.mark.parametrize("fields", [{"short_side": 0}, {"short_side": 32, "width": 32}, {"crop": 32}, {"height": 9}])
def test_impossible_geometries_are_refused(fields):
    with pytest.raises(ValueError, match="geometry"):
        Geometry(**fields)


def test_a_crop_larger_than_the_picture_is_refused():
    with pytest.raises(ValueError, match="at most short_side=32"):
        Geometry(short_side=32, crop=33)
