"""Seeded byte-level damage to files."""

import random
from collections.abc import Callable

_MOST_BYTES = 4000
_HEADER_SHARE = 50  # the first fiftieth of a file is left alone: without a header there is mostly nothing to decode


def _flip(data: bytearray, at: int, rng: random.Random) -> None:
    data[at] ^= 1 << rng.randrange(8)


def _flips(data: bytearray, at: int, rng: random.Random) -> None:
    for _ in range(rng.randrange(2, 30)):
        _flip(data, rng.randrange(len(data) // _HEADER_SHARE, len(data)), rng)


def _noise(data: bytearray, at: int, rng: random.Random) -> None:
    size = min(rng.randrange(16, _MOST_BYTES), len(data) - at)
    data[at : at + size] = rng.randbytes(size)


def _zeros(data: bytearray, at: int, rng: random.Random) -> None:
    size = min(rng.randrange(16, _MOST_BYTES), len(data) - at)
    data[at : at + size] = bytes(size)


def _delete(data: bytearray, at: int, rng: random.Random) -> None:
    del data[at : at + rng.randrange(1, _MOST_BYTES)]


def _insert(data: bytearray, at: int, rng: random.Random) -> None:
    data[at:at] = rng.randbytes(rng.randrange(1, _MOST_BYTES))


def _swap(data: bytearray, at: int, rng: random.Random) -> None:
    other, size = rng.randrange(len(data) // _HEADER_SHARE, len(data)), rng.randrange(16, _MOST_BYTES)
    data[at : at + size], data[other : other + size] = data[other : other + size], data[at : at + size]


def _cut(data: bytearray, at: int, rng: random.Random) -> None:
    del data[at:]


KINDS: dict[str, Callable[[bytearray, int, random.Random], None]] = {
    "flip": _flip, "flips": _flips, "noise": _noise, "zeros": _zeros, "delete": _delete, "insert": _insert,
    "swap": _swap, "cut": _cut,
}  # fmt: skip


def mutate(content: bytes, seed: int) -> tuple[str, bytes]:
    """Damage a file's content.

    Args:
        content: of the file.
        seed: decides everything.

    Returns:
        The kind of damage, and the damaged content.
    """
    rng = random.Random(seed)
    kind = rng.choice(sorted(KINDS))
    data = bytearray(content)
    KINDS[kind](data, rng.randrange(len(data) // _HEADER_SHARE, len(data)), rng)
    return kind, bytes(data)


def noise_in_the_middle(content: bytes, seed: int, size: int = _MOST_BYTES) -> bytes:
    """Overwrite `size` bytes somewhere in the middle third."""
    rng = random.Random(seed)
    data = bytearray(content)
    at = rng.randrange(len(data) // 3, len(data) * 2 // 3)
    data[at : at + size] = rng.randbytes(min(size, len(data) - at))
    return bytes(data)
