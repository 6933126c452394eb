"""Frames become clips, whatever the batches."""

import numpy as np
import pytest

from stages.media.consumers import GridConsumer
from stages.media.geometry import Geometry
from stages.media.stacks import ClipStacker


def pictures(first: int, count: int) -> np.ndarray:
    return np.arange(first, first + count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)


@pytest.mark.parametrize("batch", [1, 3, 7, 50])
def test_overlapping_clips_are_the_same_for_any_batches(batch: int) -> None:
    consumer = GridConsumer(clip_s=2, stride_s=1, fps=4, frames_per_clip=8, tail="keep", geometry=Geometry())
    times, table = consumer.times(7.3)
    stacker = ClipStacker(table)
    clips = []
    for first in range(0, len(times), batch):
        count = min(batch, len(times) - first)
        clips += list(stacker.add(first, pictures(first, count), [False] * count))
        assert len(stacker._frames) <= 8 + batch
    clips += list(stacker.finish())
    assert [clip.frames[:, 0, 0, 0].tolist() for clip in clips] == table.tolist()
    assert stacker.num_clips == len(consumer.spans(7.3)) == 7


def test_missing_frames_repeat_the_last_one_and_mark_the_clip() -> None:
    stacker = ClipStacker(np.arange(12).reshape(3, 4))
    clips = [*stacker.add(0, pictures(0, 6), [False] * 6), *stacker.finish()]
    assert [clip.frames[:, 0, 0, 0].tolist() for clip in clips] == [[0, 1, 2, 3], [4, 5, 5, 5]]
    assert [clip.damaged for clip in clips] == [False, True]
    assert stacker.num_clips == 2


def test_a_damaged_frame_marks_every_clip_that_holds_it() -> None:
    stacker = ClipStacker(np.array([[0, 1], [1, 2], [2, 3]]))
    clips = list(stacker.add(0, pictures(0, 4), [False, False, True, False]))
    assert [clip.damaged for clip in clips] == [False, True, True]


def test_times_of_overlapping_clips_are_looked_up_once() -> None:
    consumer = GridConsumer(clip_s=2, stride_s=0.5, fps=8, frames_per_clip=16, tail="drop", geometry=Geometry())
    times, table = consumer.times(10.0)
    assert len(times) == 80
    assert table.shape == (17, 16)
    assert np.all(np.diff(table, axis=1) == 1)


def test_a_tail_repeats_the_last_instant() -> None:
    consumer = GridConsumer(clip_s=2, stride_s=2, fps=2, frames_per_clip=4, tail="keep", geometry=Geometry())
    times, table = consumer.times(3.0)
    assert times.max() < 3.0
    assert table[1].tolist() == [4, 5, 6, 6]
