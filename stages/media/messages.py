"""Messages between a decode process and its supervisor: a JSON header and raw bytes, each with its length before it.

A header's `kind` is `ready`, `plan`, `batch` (pictures follow), `done` (with a `result`) or `error`. Bytes that lie in
the shared ring do not follow: the header says `at` which place.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from stages.media.ring import Place, Ring

_LENGTHS = struct.Struct("<IQ")
LENGTHS_SIZE = _LENGTHS.size

BUG = "bug"
"""Type of an `error` that no file is to blame for."""

Header = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as the supervisor has it.

    Attributes:
        header: its JSON.
        payload: (n,) uint8; valid until it is let go.
        ring: in which the payload lies; None if it is memory of its own.
    """

    header: Header
    payload: NDArray[np.uint8] = field(repr=False)
    ring: Ring | None = None

    def let_go(self) -> None:
        """Give the payload's memory back to the decode process, in the order in which messages came."""
        if self.ring is not None:
            self.ring.let_go(Place(*self.header["at"]))


def write_message(stream: IO[bytes], header: Header, payload: bytes | memoryview = b"") -> None:
    """Write one message and flush it."""
    text = json.dumps(header, allow_nan=False).encode()
    stream.write(_LENGTHS.pack(len(text), len(payload)) + text)
    if payload:
        stream.write(payload)
    stream.flush()


def read_message(header: bytes | bytearray, payload: bytearray, ring: Ring) -> Message:
    """Make a message of its two parts; one whose header says `at` has its payload in the ring."""
    fields: Header = json.loads(bytes(header))
    if "at" in fields:
        return Message(header=fields, payload=ring.view(Place(*fields["at"])), ring=ring)
    return Message(header=fields, payload=np.frombuffer(payload, np.uint8))


def unpack_lengths(raw: bytes) -> tuple[int, int]:
    """Give the lengths of header and payload from the first `LENGTHS_SIZE` bytes of a message."""
    header, payload = _LENGTHS.unpack(raw)
    return header, payload
