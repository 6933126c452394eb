"""Layouts on keyframes, against a plain search for the nearest."""

import numpy as np
import pytest

from stages.media.consumers import Clock, Consumer, GridConsumer, SpreadConsumer, window_consumer
from stages.media.geometry import Geometry
from stages.media.jobs import consumer_from_json
from stages.media.keyframes import KeyframeRows, NearestKeyframes

EVERY_SECOND = GridConsumer(clip_s=1, stride_s=1, fps=1, frames_per_clip=1, tail="keep", geometry=Geometry())
INNER: list[Consumer] = [EVERY_SECOND, SpreadConsumer(num_spans=7, geometry=Geometry()), window_consumer(8, 4)]


def random_clock(seed: int) -> Clock:
    rng = np.random.default_rng(seed)
    end_s = float(rng.uniform(0.2, 40))
    keyframes = np.unique(np.append(rng.uniform(0, end_s, rng.integers(0, 30)), 0.0))
    return Clock(end_s=end_s, keyframes_s=keyframes)


def nearest(clock: Clock, wanted_s: float) -> float:
    return min(clock.keyframes_s.tolist(), key=lambda time: (round(abs(time - wanted_s), 9), time))


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("inner", INNER)
def test_rows_are_the_wanted_keyframes_each_once(inner: Consumer, seed: int) -> None:
    clock = random_clock(seed)
    instants = inner.plan(clock)
    expected = sorted({nearest(clock, time) for time in instants.times[instants.table[:, 0]].tolist()})
    plan = KeyframeRows(inner=inner).plan(clock)
    assert plan.spans[:, 0].tolist() == expected
    assert plan.spans[:, 1].tolist() == [*expected[1:], clock.end_s]
    assert plan.table.tolist() == [[k] for k in range(len(expected))]
    assert np.all((plan.times >= plan.spans[:, 0]) & (plan.times < plan.spans[:, 0] + 2e-6))


@pytest.mark.parametrize("seed", range(30))
def test_windows_keep_their_spans_and_show_the_nearest_keyframe(seed: int) -> None:
    clock, inner = random_clock(seed), window_consumer(8, 4)
    instants, plan = inner.plan(clock), NearestKeyframes(inner=inner).plan(clock)
    assert plan.spans.tolist() == instants.spans.tolist()
    shown = plan.times[plan.table[:, 0]]
    expected = [nearest(clock, time) for time in instants.times[instants.table[:, 0]].tolist()]
    np.testing.assert_allclose(shown, expected, atol=2e-6)


def test_without_keyframes_there_is_nothing() -> None:
    for consumer in (KeyframeRows(inner=EVERY_SECOND), NearestKeyframes(inner=EVERY_SECOND)):
        plan = consumer.plan(Clock(end_s=10.0))
        assert (plan.spans.shape, plan.times.shape, plan.table.shape) == ((0, 2), (0,), (0, 1))


@pytest.mark.parametrize(
    "consumer", [*INNER, *(KeyframeRows(inner=c) for c in INNER), NearestKeyframes(inner=INNER[2])]
)
def test_a_consumer_survives_the_way_to_a_decode_process(consumer: Consumer) -> None:
    assert consumer_from_json(consumer.to_json()) == consumer
