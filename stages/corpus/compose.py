"""Which video shows which steps, and when: splits, order-only pairs, scene times. Pure and seeded."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from stages.corpus.settings import CorpusSettings
from stages.corpus.steps import NUM_STEPS
from stages.errors import ConfigError

Steps = tuple[int, ...]
MAX_DEALS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One scene: a step and its span.

    Attributes:
        step: in [0, NUM_STEPS).
        start_frame: first frame, counted from the video's start.
        num_frames: at least 1.
    """

    step: int
    start_frame: int
    num_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPlan:
    """One video before it is drawn.

    Attributes:
        name: file name without suffix, also its seed's second half (`position`).
        position: index in the corpus.
        split: train, val or test.
        pair: '' or the id that it shares with the one video that holds the same steps in another order.
        scenes: in order, without gaps, from frame 0.
        place: index of the pattern behind all scenes; None for none.
    """

    name: str
    position: int
    split: str
    pair: str
    scenes: tuple[Scene, ...]
    place: int | None = None

    @property
    def num_frames(self) -> int:
        """Frames of the whole video."""
        return self.scenes[-1].start_frame + self.scenes[-1].num_frames

    @property
    def steps(self) -> Steps:
        """The steps in order."""
        return tuple(scene.step for scene in self.scenes)


def compose(settings: CorpusSettings) -> tuple[VideoPlan, ...]:
    """Plan the corpus.

    No set of steps occurs in two compositions, whatever their order and split, except in the two videos of a pair;
    the steps of a video differ; every step is dealt equally often (give or take one round).

    Returns:
        One plan a video, splits mixed by a seeded shuffle.

    Raises:
        ConfigError: fewer sets of steps exist than the settings ask for.
    """
    rng = np.random.default_rng([settings.seed, 0])
    seen: set[frozenset[int]] = set()
    drawn: list[tuple[str, str, Steps]] = []
    for split, videos, pairs in (
        ("train", settings.num_train, settings.num_train_pairs),
        ("val", settings.num_val, settings.num_val_pairs),
        ("test", settings.num_test, settings.num_pairs),
    ):
        dealt, reorder = _deal(rng, settings, seen), _REORDER[settings.pair_order]
        for index in range(pairs):
            steps = next(dealt)
            drawn += [(split, f"{split}-pair-{index:03d}", order) for order in (steps, reorder(rng, steps))]
        drawn += [(split, "", next(dealt)) for _ in range(videos - 2 * pairs)]
    order = rng.permutation(len(drawn))
    return tuple(_plan(settings, position, *drawn[source]) for position, source in enumerate(order))


def _deal(rng: np.random.Generator, settings: CorpusSettings, seen: set[frozenset[int]]) -> Iterator[Steps]:
    """Yield step tuples with unseen sets from shuffled decks of all steps, so that all steps are used evenly."""
    deck: list[int] = []
    while True:
        size = int(rng.integers(settings.min_scenes, settings.max_scenes + 1))
        for _ in range(MAX_DEALS):
            if len(deck) <= size:
                # What is left goes first and comes last in the new round: no hand holds a step twice.
                again = frozenset(deck)
                deck += sorted(rng.permutation(NUM_STEPS).tolist(), key=again.__contains__)
            hand = frozenset(deck[:size])
            if len(hand) == size and hand not in seen:
                break
            deck = rng.permutation(deck).tolist()
        else:
            raise ConfigError(
                f"found no unseen set of {size} steps beside {len(seen)} others: ask for fewer videos or more scenes"
            )
        seen.add(hand)
        yield tuple(deck[:size])
        del deck[:size]


def _derange(rng: np.random.Generator, steps: Steps) -> Steps:
    """The same steps with every one at another place (a derangement, uniformly drawn)."""
    while True:
        order = rng.permutation(len(steps))
        if not np.any(order == np.arange(len(steps))):
            return tuple(steps[index] for index in order)


def _swap(rng: np.random.Generator, steps: Steps) -> Steps:
    """The same steps with two neighbours exchanged."""
    first = int(rng.integers(len(steps) - 1))
    return (*steps[:first], steps[first + 1], steps[first], *steps[first + 2 :])


_REORDER: Mapping[str, Callable[[np.random.Generator, Steps], Steps]] = {"deranged": _derange, "swapped": _swap}


def _plan(settings: CorpusSettings, position: int, split: str, pair: str, steps: Steps) -> VideoPlan:
    """Give the scenes of one video their lengths, from a generator of its own: no video depends on another."""
    rng = np.random.default_rng([settings.seed, 1, position])
    span_s = settings.max_scene_s - settings.min_scene_s
    # The exponent bends a uniform draw towards the short end: 1 at long_scenes = 1, 5 at 0.
    drawn = rng.random(len(steps)) ** (5 - 4 * settings.long_scenes)
    lengths = np.ceil((settings.min_scene_s + span_s * drawn) * settings.fps).astype(int)
    lengths = np.minimum(lengths, max(int(settings.max_scene_s * settings.fps), 1)).tolist()
    starts = [0, *itertools.accumulate(lengths)]
    scenes = tuple(
        Scene(step=step, start_frame=start, num_frames=length)
        for step, start, length in zip(steps, starts[:-1], lengths, strict=True)
    )
    place = int(rng.integers(settings.num_places)) if settings.num_places else None
    name = f"demo-{position:04d}"
    return VideoPlan(name=name, position=position, split=split, pair=pair, scenes=scenes, place=place)
