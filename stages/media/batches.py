"""Frames as they cross from the decode process to the model's: batches of equal pictures, bounded in bytes."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from stages.media.frames import Sample
from stages.media.messages import Header

BATCH_BYTES = 1 << 19
"""A batch is sent once it holds this many bytes."""


def batch_samples(samples: Iterable[Sample]) -> Iterator[tuple[Header, memoryview]]:
    """Gather samples of the same request into messages of about `BATCH_BYTES`.

    Yields:
        Headers of kind `batch` with `request`, `first` (index of the first), `shape` (n, H, W, 3), `times` (seconds, of
        the frames) and `damaged`, each with its payload. Batches of different requests interleave; those of one request
        are in order and gapless.
    """
    waiting: dict[int, list[Sample]] = {}
    for sample in samples:
        group = waiting.setdefault(sample.request, [])
        group.append(sample)
        if len(group) * sample.rgb.nbytes >= BATCH_BYTES:
            yield _batch(waiting.pop(sample.request))
    for request in sorted(waiting):
        yield _batch(waiting[request])


def read_batch(header: Header, payload: bytes | bytearray) -> NDArray[np.uint8]:
    """Give the pictures of a `batch` message: (n, H, W, 3) uint8, a view of `payload`."""
    return np.frombuffer(payload, dtype=np.uint8).reshape(header["shape"])


def _batch(samples: list[Sample]) -> tuple[Header, memoryview]:
    pictures = np.stack([sample.rgb for sample in samples])
    header = {
        "kind": "batch",
        "request": samples[0].request,
        "first": samples[0].index,
        "shape": list(pictures.shape),
        "times": [sample.time_s for sample in samples],
        "damaged": [sample.damaged for sample in samples],
    }
    return header, pictures.reshape(-1).data
