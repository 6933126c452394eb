"""Queues before networks: what is filled across videos comes back to whom it belongs."""

import threading
import time

import numpy as np
import pytest

from stages.media.encoders import FillingEncoder, ThreadedEncoder, ThreadPool
from stages.media.geometry import Rgb


def clip(number: int) -> Rgb:
    return np.full((1, 2, 4, 4, 3), number, np.uint8)


def mean_rows(clips: Rgb) -> np.ndarray:
    return clips.reshape(len(clips), -1).mean(axis=1, dtype=np.float32)[:, None] * np.array([1, 2], np.float32)


class Slots:
    """Batches as a card computes them, in this process: rows appear when they are asked for."""

    num_slots = 2

    def __init__(self, batch_size: int) -> None:
        self._hosts = [np.zeros((batch_size, 2, 4, 4, 3), np.uint8) for _ in range(2)]
        self._computed: list[np.ndarray | None] = [None, None]
        self.launches = 0

    def host(self, slot: int) -> Rgb:
        assert self._computed[slot] is None, "the slot's rows were not read"
        return self._hosts[slot]

    def launch(self, slot: int) -> None:
        self.launches += 1
        self._computed[slot] = mean_rows(self._hosts[slot])

    def rows(self, slot: int) -> np.ndarray:
        rows, self._computed[slot] = self._computed[slot], None
        assert rows is not None
        return rows


@pytest.mark.parametrize("batch_size", [1, 3, 4])
@pytest.mark.parametrize("videos", [[1], [2, 5, 1, 7], [4, 4], [10]])
def test_batches_are_filled_across_videos_and_rows_come_back(batch_size: int, videos: list[int]) -> None:
    slots = Slots(batch_size)
    encoder = FillingEncoder(slots)
    futures = [encoder.submit(clip(number)) for number in range(sum(videos))]
    encoder.flush()
    assert [future.result(timeout=0).tolist() for future in futures] == [[[n, 2 * n]] for n in range(sum(videos))]
    assert slots.launches == -(-sum(videos) // batch_size)


def test_a_flush_in_between_loses_nothing() -> None:
    encoder = FillingEncoder(Slots(4))
    first = [encoder.submit(clip(number)) for number in range(3)]
    encoder.flush()
    assert [future.result(timeout=0)[0, 0] for future in first] == [0, 1, 2]
    second = [encoder.submit(clip(number)) for number in range(3, 9)]
    encoder.flush()
    encoder.flush()
    assert [future.result(timeout=0)[0, 0] for future in second] == list(range(3, 9))
    with pytest.raises(ValueError, match="clip by clip"):
        encoder.submit(np.concatenate([clip(0), clip(1)]))


def test_threads_compute_at_once_and_what_waits_is_bounded() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def slow(clips: Rgb) -> np.ndarray:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return mean_rows(clips)

    pool = ThreadPool(3)
    encoder = ThreadedEncoder(slow, pool)
    futures = []
    for number in range(30):
        futures.append(encoder.submit(clip(number)))
        assert sum(not future.done() for future in futures) <= 9
    assert [future.result()[0, 0] for future in futures] == list(range(30))
    assert most == 3
    pool.close()


def test_what_a_network_raises_is_raised_where_its_rows_are_read() -> None:
    def broken(clips: Rgb) -> np.ndarray:
        raise ValueError("a network that fails")

    pool = ThreadPool(1)
    encoder = ThreadedEncoder(broken, pool)
    futures = [encoder.submit(clip(0)) for _ in range(10)]
    with pytest.raises(ValueError, match="a network that fails"):
        futures[-1].result()
    pool.close()
