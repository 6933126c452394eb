"""Pictures as they cross from the decode process to the model's: several in one message, raw or as JPEGs."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.media.frames import Sample
from stages.media.geometry import Rgb
from stages.media.messages import Header, Message

BATCH_BYTES = 1 << 19
"""A batch is sent once it holds this many bytes."""

Bytes = NDArray[np.uint8]
"""A picture of three dimensions, or a JPEG of one."""


def batch_samples(
    samples: Iterable[Sample], qualities: Sequence[int | None]
) -> Iterator[tuple[Header, Sequence[Bytes]]]:
    """Gather samples of the same request into messages of about `BATCH_BYTES`.

    Args:
        samples: in the order of the frames.
        qualities: for each request that of its JPEGs; None: it wants pixels.

    Yields:
        Headers of kind `batch` with `request`, `first` (index of the first), `shapes` (of each picture), `times`
        (seconds, of the frames) and `damaged`, each with its pictures. Batches of different requests interleave; those
        of one request are in order and gapless.
    """
    waiting = [_Batch(request, quality) for request, quality in enumerate(qualities)]
    for sample in samples:
        batch = waiting[sample.request]
        batch.add(sample)
        if batch.num_bytes >= BATCH_BYTES:
            yield batch.take()
    for batch in waiting:
        if batch.num_bytes:
            yield batch.take()


def read_batch(message: Message) -> list[Bytes]:
    """Give the pictures of a `batch` message, as views of its payload: they are gone once it is let go."""
    pictures, start = [], 0
    for shape in message.header["shapes"]:
        size = int(np.prod(shape))
        pictures.append(message.payload[start : start + size].reshape(shape))
        start += size
    return pictures


class _Batch:
    """What waits for one request."""

    def __init__(self, request: int, quality: int | None) -> None:
        self._request = request
        self._quality = quality
        self._samples: list[Sample] = []
        self._pictures: list[Bytes] = []
        self._latest: tuple[Rgb, Bytes] | None = None
        self.num_bytes = 0

    def add(self, sample: Sample) -> None:
        if self._latest is None or sample.rgb is not self._latest[0]:  # one frame may answer several times in a row
            self._latest = sample.rgb, self._encode(sample.rgb)
        self._samples.append(sample)
        self._pictures.append(self._latest[1])
        self.num_bytes += self._latest[1].nbytes

    def take(self) -> tuple[Header, Sequence[Bytes]]:
        samples, pictures = self._samples, self._pictures
        self._samples, self._pictures, self.num_bytes = [], [], 0
        header = {
            "kind": "batch",
            "request": self._request,
            "first": samples[0].index,
            "shapes": [picture.shape for picture in pictures],
            "times": [sample.time_s for sample in samples],
            "damaged": [sample.damaged for sample in samples],
        }
        return header, pictures

    def _encode(self, rgb: Rgb) -> Bytes:
        if self._quality is None:
            return rgb
        from stages.media.jpeg import encode_jpeg  # Pillow takes its time, and who reads batches does not need it

        return np.frombuffer(encode_jpeg(rgb, self._quality), np.uint8)
