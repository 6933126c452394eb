"""Parts of pictures: where they may lie, how often they are drawn, and what is cut."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from stages.media.crops import Box, cut, fixed_boxes, multi_scale_box, random_area_box

SIZES = [(256, 340), (340, 256), (64, 64), (30, 400), (1, 1)]


def inside(box: Box, height: int, width: int) -> bool:
    rows = box.top >= 0 and box.height >= 1 and box.top + box.height <= height
    return rows and box.left >= 0 and box.width >= 1 and box.left + box.width <= width


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_drawn_parts_lie_in_the_picture(height: int, width: int) -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        assert inside(random_area_box(height, width, generator), height, width)
        assert inside(multi_scale_box(height, width, generator), height, width)


def test_areas_and_ratios_are_those_asked_for() -> None:
    generator = np.random.default_rng(0)
    boxes = [random_area_box(1000, 1000, generator, areas=(0.2, 1.0)) for _ in range(4000)]
    areas = np.array([box.height * box.width for box in boxes]) / 1e6
    ratios = np.array([box.width / box.height for box in boxes])
    assert areas.min() > 0.195
    assert 0.74 < ratios.min() < ratios.max() < 1.35
    # Where every ratio fits (an area below 3/4), areas are uniform and ratios even in their logarithm.
    small = areas < 0.7
    np.testing.assert_allclose(np.quantile(areas[small], [0.25, 0.5, 0.75]), [0.325, 0.45, 0.575], atol=0.015)
    assert abs(np.log(ratios[small]).mean()) < 0.01


def test_a_long_picture_gives_its_middle() -> None:
    assert random_area_box(10, 400, np.random.default_rng(0), areas=(1.0, 1.0)) == Box(
        top=0, left=193, height=10, width=13
    )


def test_multi_scale_parts_are_at_five_places_with_neighbouring_scales() -> None:
    generator = np.random.default_rng(0)
    boxes = [multi_scale_box(200, 300, generator) for _ in range(3000)]
    sides = [200, 175, 150, 132]
    steps = {abs(sides.index(box.height) - sides.index(box.width)) for box in boxes}
    assert steps == {0, 1}
    places = Counter((box.top, box.left) for box in boxes if box.height == box.width == 150)
    assert set(places) == {(0, 0), (0, 150), (50, 0), (50, 150), (25, 75)}
    assert min(places.values()) > 0.6 * max(places.values())


def test_fixed_parts() -> None:
    (centre,) = fixed_boxes(256, 340, "centre", 1.0)
    assert (centre.top, centre.left, centre.height, centre.width) == (0, 42, 256, 256)
    assert [(box.top, box.left) for box in fixed_boxes(256, 340, "three", 1.0)] == [(0, 0), (0, 42), (0, 84)]
    assert [(box.top, box.left) for box in fixed_boxes(340, 256, "three", 1.0)] == [(0, 0), (42, 0), (84, 0)]
    ten = fixed_boxes(256, 340, "ten", 224 / 256)
    assert [(box.top, box.left) for box in ten[:5]] == [(0, 0), (0, 116), (32, 0), (32, 116), (16, 58)]
    assert [box.mirrored for box in ten] == [False] * 5 + [True] * 5
    assert {(box.height, box.width) for box in ten} == {(224, 224)}


def test_cutting_without_a_change_of_size_copies_pixels() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    box = Box(top=3, left=7, height=16, width=16)
    np.testing.assert_array_equal(cut(picture, box, 16), picture[3:19, 7:23])
    mirrored = Box(top=3, left=7, height=16, width=16, mirrored=True)
    np.testing.assert_array_equal(cut(picture, mirrored, 16), picture[3:19, 7:23][:, ::-1])


def test_cutting_resamples_with_antialiasing() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    part = torch.from_numpy(picture[4:36, 10:42].astype(np.float32)).permute(2, 0, 1)[None]
    expected = nn.functional.interpolate(part, (8, 8), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    got = cut(picture, Box(top=4, left=10, height=32, width=32), 8)
    np.testing.assert_allclose(got.astype(np.float32), expected, atol=1.01)
