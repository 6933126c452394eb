"""Memory that two sides share: nothing is overwritten before it is let go."""

import threading
import time

import numpy as np
import pytest

from stages.media.ring import Ring, open_shared_memory


def two_sides(size: int) -> tuple[Ring, Ring]:
    descriptor = open_shared_memory(size)
    return Ring(descriptor), Ring(descriptor)


def test_everything_arrives_whatever_the_sizes() -> None:
    writer, reader = two_sides(1000)
    rng = np.random.default_rng(0)
    places, sent = [], []

    def write() -> None:
        for number in range(500):
            place = writer.reserve(int(rng.integers(1, 500)))
            writer.view(place)[:] = number % 251
            sent.append(place)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    while len(places) < 500:
        if len(sent) > len(places):
            place = sent[len(places)]
            time.sleep(0.0005 * (len(places) % 3))
            assert set(reader.view(place).tolist()) == {len(places) % 251}
            reader.let_go(place)
            places.append(place)
        else:
            time.sleep(0.0005)
    thread.join()
    assert not is_held(reader)


def test_the_writer_waits_for_the_reader() -> None:
    writer, reader = two_sides(1000)
    first, second = writer.reserve(500), writer.reserve(500)
    third: list[float] = []
    thread = threading.Thread(target=lambda: third.append(writer.reserve(300).offset), daemon=True)
    thread.start()
    time.sleep(0.1)
    reader.view(first)
    assert third == []
    assert is_held(reader)
    reader.let_go(first)
    thread.join(timeout=5)
    assert third == [0]
    reader.view(second)
    before = time.monotonic()
    reader.let_go(second)
    assert before <= reader.free_since <= time.monotonic()
    assert not is_held(reader)


def is_held(reader: Ring) -> bool:
    """Whether the writer may wait: then it is free since now, whenever one asks."""
    earlier = reader.free_since
    time.sleep(0.002)
    return reader.free_since > earlier


def test_what_is_too_large_is_refused() -> None:
    writer, _ = two_sides(1000)
    assert writer.fits(500)
    assert not writer.fits(501)
    with pytest.raises(ValueError, match="expected at most 500"):
        writer.reserve(501)
