"""Random views: their size, that they are the draw's, and each change against a plain computation."""

import colorsys

import numpy as np
import pytest

from stages.training.augment import draw_box, random_view
from stages.training.objectives.views import ViewSettings

STILL = ViewSettings(crop=24, least_area=1.0, jitter_rate=0, grey_rate=0, blur_rate=0, flip_rate=0)
PICTURE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)


def view(settings: ViewSettings, seed: int = 0, picture: np.ndarray = PICTURE) -> np.ndarray:
    return random_view(picture, settings, np.random.default_rng(seed))


def with_(**changes: float) -> ViewSettings:
    return STILL.model_copy(update=changes)


def test_a_view_is_the_draw_s() -> None:
    published = ViewSettings(crop=20)
    picture = np.random.default_rng(1).integers(0, 256, (31, 47, 3), dtype=np.uint8)
    first = view(published, 3, picture)
    assert first.shape == (20, 20, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, view(published, 3, picture))
    assert len({view(published, seed, picture).tobytes() for seed in range(20)}) == 20


def test_boxes_have_the_area_and_aspect_that_were_asked_for() -> None:
    settings = ViewSettings(least_area=0.2, most_area=0.5)
    for seed in range(200):
        left, upper, width, height = draw_box(340, 256, settings, np.random.default_rng(seed))
        assert 0 <= left <= 340 - width
        assert 0 <= upper <= 256 - height
        assert 0.19 < width * height / (340 * 256) < 0.51
        assert 3 / 4 - 0.02 < width / height < 4 / 3 + 0.02
    # A picture that no such box fits: the greatest in its middle.
    assert draw_box(1000, 10, ViewSettings(least_area=1.0), np.random.default_rng(0)) == (493, 0, 13, 10)


def test_without_changes_the_picture_stays() -> None:
    """A square box of the whole area is the whole picture; no other aspect fits."""
    assert all(np.array_equal(view(STILL, seed), PICTURE) for seed in range(20))


def test_mirrored_and_grey_views() -> None:
    assert np.array_equal(view(with_(flip_rate=1)), PICTURE[:, ::-1])
    grey = view(with_(grey_rate=1))
    expected = PICTURE @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey - expected[..., None]).max() <= 1


def test_blurred_views_are_smoother() -> None:
    blurred = view(with_(blur_rate=1, least_blur=1.5)).astype(float)
    assert np.abs(np.diff(blurred, axis=0)).mean() < 0.3 * np.abs(np.diff(PICTURE.astype(float), axis=0)).mean()
    assert blurred.mean() == pytest.approx(PICTURE.mean(), abs=2)


def test_brightness_scales_and_hue_turns() -> None:
    only = {"jitter_rate": 1, "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
    assert np.abs(view(with_(**only)).astype(int) - PICTURE).max() <= 6  # through HSV and back
    dark = PICTURE // 2
    bright = view(with_(**{**only, "brightness": 0.4}), picture=dark).astype(float)
    factor = bright.sum() / dark.sum()
    assert 0.6 <= factor <= 1.4
    assert np.abs(bright - dark * factor).max() <= 5
    turned = view(with_(**{**only, "hue": 0.5}))
    hues = [[colorsys.rgb_to_hsv(*(pixel / 255))[0] for pixel in each.reshape(-1, 3)] for each in (PICTURE, turned)]
    strong = PICTURE.reshape(-1, 3).max(1) - PICTURE.reshape(-1, 3).min(1).astype(int) > 100
    turns = (np.array(hues[1]) - np.array(hues[0]))[strong] % 1
    assert np.ptp(np.unwrap(2 * np.pi * np.sort(turns))) < 0.3
    assert 0.02 < abs(((np.median(turns) + 0.5) % 1) - 0.5) <= 0.5


def test_ranges_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ValueError, match="least_area or least_blur is above"):
        ViewSettings(least_area=0.5, most_area=0.4)
