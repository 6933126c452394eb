from collections import Counter
from itertools import pairwise

import pytest
from pydantic import ValidationError

from stages.corpus.compose import VideoPlan, compose
from stages.corpus.settings import CorpusSettings
from stages.corpus.steps import NUM_STEPS, wordings
from stages.errors import ConfigError


@pytest.fixture(scope="module")
def plans() -> tuple[VideoPlan, ...]:
    return compose(CorpusSettings())


def test_sizes_are_those_of_the_settings(plans: tuple[VideoPlan, ...]) -> None:
    settings = CorpusSettings()
    assert Counter(plan.split for plan in plans) == {
        "train": settings.num_train,
        "val": settings.num_val,
        "test": settings.num_test,
    }
    assert settings.num_test >= 100
    assert settings.num_pairs >= 40


def test_test_paragraphs_are_never_seen_in_train_in_any_order(plans: tuple[VideoPlan, ...]) -> None:
    sets = {split: {frozenset(p.steps) for p in plans if p.split == split} for split in ("train", "val", "test")}
    assert not sets["test"] & sets["train"]
    assert not sets["test"] & sets["val"]
    assert not sets["val"] & sets["train"]


def test_pairs_hold_the_same_steps_with_each_at_another_place(plans: tuple[VideoPlan, ...]) -> None:
    pairs: dict[str, list[VideoPlan]] = {}
    for plan in plans:
        if plan.pair:
            pairs.setdefault(plan.pair, []).append(plan)
    settings = CorpusSettings()
    assert len(pairs) == settings.num_pairs + settings.num_train_pairs
    for first, second in pairs.values():
        assert first.split == second.split
        assert frozenset(first.steps) == frozenset(second.steps)
        assert all(a != b for a, b in zip(first.steps, second.steps, strict=True))


def test_pairs_may_differ_by_two_neighbours_alone() -> None:
    sizes = {"num_train": 20, "num_train_pairs": 10, "num_val": 20, "num_val_pairs": 10, "num_test": 0, "num_pairs": 0}
    settings = CorpusSettings(**sizes, pair_order="swapped", min_scenes=6, max_scenes=9)
    pairs: dict[str, list[VideoPlan]] = {}
    for plan in compose(settings):
        pairs.setdefault(plan.pair, []).append(plan)
    assert len(pairs) == 20
    places = set()
    for first, second in pairs.values():
        apart = [place for place, (a, b) in enumerate(zip(first.steps, second.steps, strict=True)) if a != b]
        assert len(apart) == 2
        assert apart[1] == apart[0] + 1
        assert first.steps[apart[0]] == second.steps[apart[1]]
        places.add(apart[0])
    assert len(places) > 3


def test_places_are_drawn_for_videos_and_leave_the_rest_as_it_was() -> None:
    plain, patterned = (compose(CorpusSettings(num_places=number)) for number in (0, 6))
    assert {plan.place for plan in plain} == {None}
    assert {plan.place for plan in patterned} == set(range(6))
    assert [plan.scenes for plan in plain] == [plan.scenes for plan in patterned]


def test_compositions_differ_outside_of_pairs(plans: tuple[VideoPlan, ...]) -> None:
    drawn = Counter(frozenset(plan.steps) for plan in plans)
    assert all(count == (2 if plan.pair else 1) for plan in plans for count in [drawn[frozenset(plan.steps)]])


def test_every_step_occurs_often_and_about_equally_in_train(plans: tuple[VideoPlan, ...]) -> None:
    counts = Counter(step for plan in plans if plan.split == "train" for step in plan.steps)
    assert set(counts) == set(range(NUM_STEPS))
    assert min(counts.values()) >= 10
    assert max(counts.values()) <= 2 * min(counts.values())


def test_scenes_follow_each_other_and_last_four_to_eight_seconds(plans: tuple[VideoPlan, ...]) -> None:
    settings = CorpusSettings()
    for plan in plans:
        assert plan.scenes[0].start_frame == 0
        assert all(a.start_frame + a.num_frames == b.start_frame for a, b in pairwise(plan.scenes))
        assert all(4.0 <= scene.num_frames / settings.fps <= 8.0 for scene in plan.scenes)
        assert len(set(plan.steps)) == len(plan.steps)


def test_names_are_unique_and_do_not_tell_the_split(plans: tuple[VideoPlan, ...]) -> None:
    assert [plan.name for plan in plans] == [f"demo-{index:04d}" for index in range(len(plans))]
    splits = [plan.split for plan in plans]
    assert splits != sorted(splits)


def test_same_seed_same_plan_other_seed_other_plan() -> None:
    assert compose(CorpusSettings(seed=3)) == compose(CorpusSettings(seed=3))
    assert compose(CorpusSettings(seed=3)) != compose(CorpusSettings(seed=4))


def test_every_step_has_at_least_four_wordings_and_no_two_steps_share_one() -> None:
    said = [wording for step in range(NUM_STEPS) for wording in wordings(step)]
    assert min(len(wordings(step)) for step in range(NUM_STEPS)) >= 4
    assert len(said) == len(set(said))
    assert all(wording == wording.lower() and wording.replace(" ", "").isalpha() for wording in said)


def test_more_videos_than_sets_of_steps_is_an_error() -> None:
    with pytest.raises(ConfigError, match="fewer videos or more scenes"):
        compose(CorpusSettings(num_train=700, num_train_pairs=0, num_test=0, num_pairs=0, min_scenes=2, max_scenes=2))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"num_test": 10, "num_pairs": 6}, "num_test"),
        ({"min_scenes": 4, "max_scenes": 3}, "max_scenes"),
        ({"min_scene_s": 6.0, "max_scene_s": 5.0}, "max_scene_s"),
        ({"width": 95}, "width"),
        ({"colour": 1}, "colour"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CorpusSettings.model_validate(wrong)
