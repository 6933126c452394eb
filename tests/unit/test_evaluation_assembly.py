"""Rows of tables become videos, whatever the order of the rows."""

import numpy as np

from stages.evaluation.assembly import TimedVectors, assemble_videos


def rows(ids: list[str], index: list[int], **more: object) -> TimedVectors:
    place = np.array(index, dtype=np.float64)
    return TimedVectors(
        ids=ids,
        video_ids=[name.split("/")[0] for name in ids],
        index=np.array(index),
        spans=np.stack([place, place + 1], axis=1),
        vectors=place[:, None].astype(np.float32),
        **more,
    )


def test_rows_are_put_in_order_and_other_videos_are_left_out() -> None:
    windows = rows(["b/w1", "a/w0", "b/w0", "c/w0", "b/w2"], [1, 0, 0, 0, 2])
    narrations = rows(
        ["b/n1", "b/n0", "d/n0"], [1, 0, 0], texts=["two", "one", "none"], paragraph_index=np.array([1, 0, 0])
    )
    first, second = assemble_videos(["b", "lost", "a"], windows, narrations)
    assert (first.video_id, second.video_id) == ("b", "a")
    assert first.window_ids == ("b/w0", "b/w1", "b/w2")
    assert first.window_spans.tolist() == [[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    assert first.windows.ravel().tolist() == [0.0, 1.0, 2.0]
    assert first.texts == ("one", "two")
    assert first.paragraph_index.tolist() == [0, 1]
    assert second.narration_ids == ()
    assert second.narration_spans.shape == (0, 2)
    assert second.narrations.shape == (0, 1)
