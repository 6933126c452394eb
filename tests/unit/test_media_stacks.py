"""Frames become batches of clips, however they come."""

import numpy as np
import pytest

from stages.media.consumers import Clock, GridConsumer, SpreadConsumer
from stages.media.geometry import Geometry
from stages.media.stacks import ClipBatch, ClipStacker


def pictures(first: int, count: int) -> list[np.ndarray]:
    return [np.full((2, 2, 3), number, np.uint8) for number in range(first, first + count)]


def numbers(batches: list[ClipBatch]) -> list[list[int]]:
    return [clip[:, 0, 0, 0].tolist() for batch in batches for clip in batch.clips]


def damaged(batches: list[ClipBatch]) -> list[bool]:
    return [flag for batch in batches for flag in batch.damaged]


@pytest.mark.parametrize("at_once", [1, 3, 7, 50])
@pytest.mark.parametrize("batch_size", [1, 2, 4, 10])
def test_overlapping_clips_are_the_same_however_frames_come(at_once: int, batch_size: int) -> None:
    consumer = GridConsumer(clip_s=2, stride_s=1, fps=4, frames_per_clip=8, tail="keep", geometry=Geometry())
    plan = consumer.plan(Clock(end_s=7.3))
    stacker = ClipStacker(plan.table, batch_size)
    batches = []
    for first in range(0, len(plan.times), at_once):
        count = min(at_once, len(plan.times) - first)
        batches += list(stacker.add(first, pictures(first, count), [False] * count))
    batches += list(stacker.finish())
    assert numbers(batches) == plan.table.tolist()
    assert len(plan.spans) == 7
    sizes = [len(batch.clips) for batch in batches]
    assert sizes == [batch_size] * (7 // batch_size) + [7 % batch_size] * (7 % batch_size > 0)


def test_missing_frames_repeat_the_last_one_and_mark_the_clip() -> None:
    stacker = ClipStacker(np.arange(12).reshape(3, 4), 2)
    batches = [*stacker.add(0, pictures(0, 6), [False] * 6), *stacker.finish()]
    assert numbers(batches) == [[0, 1, 2, 3], [4, 5, 5, 5]]
    assert damaged(batches) == [False, True]


def test_nothing_comes_of_no_frames() -> None:
    stacker = ClipStacker(np.arange(12).reshape(3, 4), 2)
    assert list(stacker.finish()) == []


def test_a_damaged_frame_marks_every_clip_that_holds_it() -> None:
    stacker = ClipStacker(np.array([[0, 1], [1, 2], [2, 3]]), 1)
    batches = list(stacker.add(0, pictures(0, 4), [False, False, True, False]))
    assert damaged(batches) == [False, True, True]


def test_times_of_overlapping_clips_are_looked_up_once() -> None:
    consumer = GridConsumer(clip_s=2, stride_s=0.5, fps=8, frames_per_clip=16, tail="drop", geometry=Geometry())
    plan = consumer.plan(Clock(end_s=10.0))
    assert len(plan.times) == 80
    assert plan.table.shape == (17, 16)
    assert np.all(np.diff(plan.table, axis=1) == 1)


def test_a_tail_repeats_the_last_instant() -> None:
    consumer = GridConsumer(clip_s=2, stride_s=2, fps=2, frames_per_clip=4, tail="keep", geometry=Geometry())
    plan = consumer.plan(Clock(end_s=3.0))
    assert plan.times.max() < 3.0
    assert plan.table[1].tolist() == [4, 5, 6, 6]
    assert plan.padded.tolist() == [False, True]


def test_spread_frames_lie_in_the_middles_of_equal_parts() -> None:
    plan = SpreadConsumer(num_spans=4, geometry=Geometry()).plan(Clock(end_s=10.0))
    assert plan.times.tolist() == [1.25, 3.75, 6.25, 8.75]
    assert plan.spans.tolist() == [[0.0, 2.5], [2.5, 5.0], [5.0, 7.5], [7.5, 10.0]]
    assert plan.table.tolist() == [[0], [1], [2], [3]]


def test_pictures_of_another_size_begin_another_batch() -> None:
    sizes = [2, 2, 2, 4, 4, 2]
    frames = [np.full((2, size, 3), number, np.uint8) for number, size in enumerate(sizes)]
    stacker = ClipStacker(np.arange(6)[:, None], 2)
    batches = [*stacker.add(0, frames, [False] * 5 + [True]), *stacker.finish()]
    assert numbers(batches) == [[0], [1], [2], [3], [4], [5]]
    assert [batch.clips.shape[:4] for batch in batches] == [(2, 1, 2, 2), (1, 1, 2, 2), (2, 1, 2, 4), (1, 1, 2, 2)]
    assert damaged(batches) == [False] * 5 + [True]
