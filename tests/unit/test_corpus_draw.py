import numpy as np
import pytest

from stages.corpus.compose import Scene, compose
from stages.corpus.draw import PLACES, Images, draw_scene, draw_video, place_pattern
from stages.corpus.settings import CorpusSettings
from stages.corpus.steps import NUM_STEPS, PLACE_NAMES, step_name

SETTINGS = CorpusSettings(width=64, height=48, num_train=2, num_train_pairs=1, num_val=0, num_test=0, num_pairs=0)


def drawn(step: int, seed: int = 0, settings: CorpusSettings = SETTINGS) -> Images:
    return draw_scene(Scene(step=step, start_frame=0, num_frames=16), settings, np.random.default_rng(seed))


@pytest.mark.parametrize("step", range(NUM_STEPS), ids=step_name)
def test_a_scene_moves_unless_it_is_still(step: int) -> None:
    frames = drawn(step)
    assert frames.shape == (16, 48, 64, 3)
    assert frames.dtype == np.uint8
    change = np.abs(np.diff(frames.astype(int), axis=0)).max(axis=(1, 2, 3))
    assert (change == 0).all() if step_name(step).endswith("still") else (change > 20).any()


def test_sway_moves_along_x_and_bounce_along_y() -> None:
    names = [step_name(step) for step in range(NUM_STEPS)]
    for motion, moving, resting in (("sway", 1, 0), ("bounce", 0, 1)):
        red = drawn(names.index(f"disk-{motion}")).astype(float)
        weight = np.clip(red[..., 0] - red[..., 1:].max(axis=3) - 40, 0, None)  # (T, H, W)
        middles = [
            (weight * np.arange(size).reshape(shape)).sum((1, 2)) / weight.sum((1, 2))
            for size, shape in ((48, (1, 48, 1)), (64, (1, 1, 64)))
        ]
        assert np.ptp(middles[moving]) > 12
        assert np.ptp(middles[resting]) < 5


def test_two_scenes_of_a_step_are_no_copies() -> None:
    assert (drawn(8, seed=1) != drawn(8, seed=2)).mean() > 0.5


def test_specks_and_grain_change_the_picture() -> None:
    plain = SETTINGS.model_copy(update={"grain": 0.0, "tint": 0.0})
    assert len(np.unique(drawn(0, settings=plain).reshape(-1, 3), axis=0)) < 400
    assert (drawn(0, settings=plain) != drawn(0, settings=plain.model_copy(update={"grain": 8.0}))).any()
    specked = drawn(0, settings=plain.model_copy(update={"num_distractors": 3}))
    assert (np.diff(specked.astype(int), axis=0) != 0).any()


def test_a_video_is_its_scenes_one_after_the_other() -> None:
    plan = compose(SETTINGS)[0]
    assert draw_video(plan, SETTINGS).shape == (plan.num_frames, 48, 64, 3)


def test_places_have_patterns_of_their_own() -> None:
    assert tuple(PLACES) == PLACE_NAMES
    x = np.linspace(-1, 1, 64, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, 48, dtype=np.float32)[:, None]
    drawn_twice = [[place_pattern(place, x, y, np.random.default_rng(seed)) for seed in (0, 1)] for place in range(6)]
    for first, second in drawn_twice:
        assert first.shape == (48, 64)
        assert np.abs(first).max() <= 1
        assert np.ptp(first) > 1
        assert np.abs(first - second).mean() > 0.1
    columns, rows = drawn_twice[0][0], drawn_twice[1][0]
    assert np.ptp(columns, axis=0).max() == 0
    assert np.ptp(rows, axis=1).max() == 0


def test_the_place_lies_behind_the_shape() -> None:
    scene = Scene(step=0, start_frame=0, num_frames=4)
    plain, patterned = (draw_scene(scene, SETTINGS, np.random.default_rng(0), place=place) for place in (None, 2))
    differs = (plain != patterned).any(axis=-1)[0]
    assert differs[:4].mean() > 0.5  # the upper edge is ground
    assert not differs[20:28, 28:36].any()  # the middle is the disk
