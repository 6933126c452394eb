"""The frames of a scene: one shape in one motion before a tinted ground. Numpy only, all frames of a scene at once.

Lengths are in halves of the shorter side: a square frame spans [-1, 1] on both axes, x to the right, y down.
Colours are 8-bit levels held as float32 until the end.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.corpus.compose import Scene, VideoPlan
from stages.corpus.settings import CorpusSettings
from stages.corpus.steps import PLACE_NAMES, appearance_of, motion_of

Floats = NDArray[np.float32]
Images = NDArray[np.uint8]
Field2 = Callable[[Floats, Floats], Floats]

BASE_SIZE = 0.55
DARK_HALF = 0.35
PATTERN_DEPTH = np.float32(0.3)


@dataclass(slots=True, kw_only=True)
class Course:
    """Where the shape is at each of T frames; every array float32 (T,).

    Attributes:
        x: middle, in half sides.
        y: middle, in half sides.
        angle: turn in radians.
        size: radius in half sides.
        light: 1 as coloured, below 1 faded into the ground.
    """

    x: Floats
    y: Floats
    angle: Floats
    size: Floats
    light: Floats


def draw_video(plan: VideoPlan, settings: CorpusSettings) -> Images:
    """All frames of a video.

    Returns:
        uint8 (T, H, W, 3) RGB, scenes one after the other, each drawn by a generator of its own.
    """
    scenes = (
        draw_scene(scene, settings, np.random.default_rng([settings.seed, 2, plan.position, index]), place=plan.place)
        for index, scene in enumerate(plan.scenes)
    )
    frames: Images = np.concatenate(list(scenes))
    return frames


def draw_scene(scene: Scene, settings: CorpusSettings, rng: np.random.Generator, *, place: int | None = None) -> Images:
    """The frames of one scene, uint8 (num_frames, H, W, 3) RGB, before the pattern of a place if there is one."""
    appearance = appearance_of(scene.step)
    course = _course(motion_of(scene.step).name, scene.num_frames, settings, rng)
    x, y = _grid(settings)
    ground = _ground(x, y, settings, rng)
    if place is not None:  # a generator of its own: the rest of the scene is what it would be without
        ground = ground * (1 + PATTERN_DEPTH * place_pattern(place, x, y, rng.spawn(1)[0]))[..., None]
    cover, dark = _cover(SHAPES[appearance.name], course, x, y, settings)
    paint = np.asarray(appearance.colour, np.float32) * np.float32(1 + 0.1 * rng.uniform(-1, 1))
    for speck in _specks(x, y, scene.num_frames, settings, rng):
        # Specks lie on the ground, behind the shape.
        ground = ground + speck[..., None] * (np.float32(rng.uniform(60, 200)) - ground)
    cover *= course.light[:, None, None]
    painted = cover * (1 - np.float32(DARK_HALF) * dark)
    frames = np.empty((scene.num_frames, settings.height, settings.width, 3), np.uint8)
    for channel in range(3):  # planes of one channel are several times faster than a last axis of 3
        level = painted * paint[channel]
        level += (1 - cover) * ground[..., channel]
        frames[..., channel] = np.clip(level, 0, 255, out=level)
    return frames


def _grid(settings: CorpusSettings) -> tuple[Floats, Floats]:
    """Pixel middles in half sides: x (1, W), y (H, 1)."""
    half = min(settings.width, settings.height) / 2
    x = (np.arange(settings.width, dtype=np.float32) + 0.5 - settings.width / 2) / half
    y = (np.arange(settings.height, dtype=np.float32) + 0.5 - settings.height / 2) / half
    return x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]


def _course(motion: str, num_frames: int, settings: CorpusSettings, rng: np.random.Generator) -> Course:
    """Draw home, turn, size, pace and start phase, then move as `motion` says.

    Everything is drawn for every motion, so that what a single frame shows depends on the motion as little as can be.
    """
    time_s = np.arange(num_frames, dtype=np.float32) / np.float32(settings.fps)
    home_x, home_y = (settings.position_jitter * rng.uniform(-1, 1, 2)).astype(np.float32)
    size = np.float32(BASE_SIZE * (1 + settings.size_jitter * rng.uniform(-1, 1)))
    pace = 1 + settings.speed_jitter * rng.uniform(-1, 1)
    reach = np.float32(1 + settings.extent_jitter * rng.uniform(-1, 1))
    phase, turn = rng.uniform(0, 2 * np.pi, 2)
    still = np.zeros(num_frames, np.float32)
    course = Course(
        x=still + home_x, y=still + home_y, angle=still + np.float32(turn), size=still + size, light=still + 1
    )
    angle = (2 * np.pi * pace * time_s + phase).astype(np.float32)
    MOVES[motion](course, angle, reach)
    return course


def _still(course: Course, angle: Floats, reach: np.float32) -> None:
    """Nothing moves."""


def _sway(course: Course, angle: Floats, reach: np.float32) -> None:
    """Left and right, 0.8 times a second."""
    course.x += np.float32(0.45) * reach * np.sin(np.float32(0.8) * angle)


def _bounce(course: Course, angle: Floats, reach: np.float32) -> None:
    """Up and down, 0.8 times a second."""
    course.y += np.float32(0.45) * reach * np.sin(np.float32(0.8) * angle)


def _spin(course: Course, angle: Floats, reach: np.float32) -> None:
    """One turn a second; `reach` has no meaning here."""
    course.angle += angle


def _pulse(course: Course, angle: Floats, reach: np.float32) -> None:
    """Larger and smaller, three times in two seconds."""
    course.size *= 1 + np.float32(0.55) * reach * np.sin(np.float32(1.5) * angle)


def _blink(course: Course, angle: Floats, reach: np.float32) -> None:
    """Dark and bright, twice a second."""
    course.light -= np.float32(0.8) * (np.sin(2 * angle) > 0)


MOVES: Mapping[str, Callable[[Course, Floats, np.float32], None]] = {
    "still": _still,
    "sway": _sway,
    "bounce": _bounce,
    "spin": _spin,
    "pulse": _pulse,
    "blink": _blink,
}


def _cover(shape: Field2, course: Course, x: Floats, y: Floats, settings: CorpusSettings) -> tuple[Floats, Floats]:
    """Coverage of the shape and of its dark half, both (T, H, W) in [0, 1] with edges one pixel soft."""
    scale = (1 / course.size)[:, None, None]
    cos, sin = np.cos(course.angle)[:, None, None] * scale, np.sin(course.angle)[:, None, None] * scale
    from_x = x[None] - course.x[:, None, None]
    from_y = y[None] - course.y[:, None, None]
    u = cos * from_x + sin * from_y
    v = cos * from_y - sin * from_x
    pixels = course.size[:, None, None] * np.float32(min(settings.width, settings.height) / 2)
    cover = np.clip(np.float32(0.5) - shape(u, v) * pixels, 0, 1)
    dark = np.clip(np.float32(0.5) - u * pixels, 0, 1)
    return cover, dark


def _disk(u: Floats, v: Floats) -> Floats:
    """Signed distance to a disk; like every shape here below: negative inside, radius about 1."""
    return np.hypot(u, v) - np.float32(0.95)


def _square(u: Floats, v: Floats) -> Floats:
    """An upright square."""
    distance: Floats = np.maximum(np.abs(u), np.abs(v)) - np.float32(0.82)
    return distance


def _triangle(u: Floats, v: Floats) -> Floats:
    """An equilateral triangle: its sides lie 0.55 from the middle."""
    return np.maximum(np.abs(u) * np.float32(np.sqrt(0.75)) - v * np.float32(0.5), v) - np.float32(0.55)


def _star(u: Floats, v: Floats) -> Floats:
    """Five points: fold the plane into half a point, then one edge from (1.15, 0) to 0.5 at 36 degrees."""
    slice_rad = np.float32(2 * np.pi / 5)
    radius, angle = np.hypot(u, v), np.abs(np.arctan2(v, u))
    folded = np.abs(angle - slice_rad * np.rint(angle / slice_rad))
    tip, dent = np.array([1.15, 0.0]), 0.5 * np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)])
    normal = np.array([dent[1] - tip[1], tip[0] - dent[0]])
    normal_u, normal_v = (normal / np.linalg.norm(normal)).astype(np.float32)
    distance: Floats = normal_u * (radius * np.cos(folded) - np.float32(tip[0])) + normal_v * radius * np.sin(folded)
    return distance


def _cross(u: Floats, v: Floats) -> Floats:
    """Two bars."""
    long_side, short_side = np.maximum(np.abs(u), np.abs(v)), np.minimum(np.abs(u), np.abs(v))
    distance: Floats = np.maximum(long_side - 1, short_side - np.float32(0.34))
    return distance


def _ring(u: Floats, v: Floats) -> Floats:
    """A disk with a hole."""
    return np.abs(np.hypot(u, v) - np.float32(0.75)) - np.float32(0.22)


SHAPES: Mapping[str, Field2] = {
    "disk": _disk,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
}


def _ground(x: Floats, y: Floats, settings: CorpusSettings, rng: np.random.Generator) -> Floats:
    """A tinted and grainy plane that brightens towards a random side, (H, W, 3)."""
    tint = 70 + 40 * settings.tint * rng.uniform(-1, 1, 3)
    slope_x, slope_y = 25 * settings.tint * rng.uniform(-1, 1, 2)
    rise = np.float32(slope_x) * x + np.float32(slope_y) * y
    grain = np.float32(settings.grain) * rng.standard_normal(rise.shape, np.float32)
    return (rise + grain)[..., None] + tint.astype(np.float32)


def place_pattern(place: int, x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    """The pattern of a place, (H, W) float32 in [-1, 1]; pitch and offset differ from scene to scene.

    Each looks the same in a mirror, so that a view that is flipped is still of its place.
    """
    pitch = np.float32(np.pi * rng.uniform(3, 4))
    along_x, along_y = (np.sin(pitch * axis + np.float32(rng.uniform(0, 2 * np.pi))) for axis in (x, y))
    distance = np.hypot(x + np.float32(rng.uniform(-0.3, 0.3)), y + np.float32(rng.uniform(-0.3, 0.3)))
    return PLACES[PLACE_NAMES[place]](along_x, along_y, np.sin(pitch * distance))


PLACES: Mapping[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "columns": lambda along_x, along_y, around: along_x + 0 * along_y,
    "rows": lambda along_x, along_y, around: along_y + 0 * along_x,
    "checks": lambda along_x, along_y, around: np.sign(along_x * along_y),
    "rings": lambda along_x, along_y, around: around,
    "dots": lambda along_x, along_y, around: 2 * (along_x + along_y > 1).astype(np.float32) - 1,
    "grid": lambda along_x, along_y, around: 1 - 2 * (np.maximum(along_x, along_y) > 0.8).astype(np.float32),
}


def _specks(
    x: Floats, y: Floats, num_frames: int, settings: CorpusSettings, rng: np.random.Generator
) -> Iterator[Floats]:
    """Coverage (T, H, W) of each distractor: a small disk that drifts on a line across the frame."""
    time_s = np.arange(num_frames, dtype=np.float32) / np.float32(settings.fps)
    for _ in range(settings.num_distractors):
        from_x, from_y = rng.uniform(-1, 1, 2)
        along_x, along_y = 0.3 * rng.uniform(-1, 1, 2)
        at_x = np.float32(from_x) + np.float32(along_x) * time_s
        at_y = np.float32(from_y) + np.float32(along_y) * time_s
        away = np.hypot(x[None] - at_x[:, None, None], y[None] - at_y[:, None, None])
        pixels = np.float32(min(settings.width, settings.height) / 2)
        yield np.clip(np.float32(0.5) - (away - np.float32(rng.uniform(0.06, 0.12))) * pixels, 0, 1)
