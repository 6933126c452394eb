"""Messages between a decode process and its supervisor: a JSON header and raw bytes, each with its length before it.

A header's `kind` is `ready`, `plan`, `batch` (pictures follow), `done` (with a `result`) or `error`.
"""

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

_LENGTHS = struct.Struct("<IQ")
LENGTHS_SIZE = _LENGTHS.size

BUG = "bug"
"""Type of an `error` that no file is to blame for."""

Header = Mapping[str, Any]


def write_message(stream: IO[bytes], header: Header, payload: bytes | memoryview = b"") -> None:
    """Write one message and flush it."""
    text = json.dumps(header, allow_nan=False).encode()
    stream.write(_LENGTHS.pack(len(text), len(payload)) + text)
    if payload:
        stream.write(payload)
    stream.flush()


def unpack_lengths(raw: bytes) -> tuple[int, int]:
    """Give the lengths of header and payload from the first `LENGTHS_SIZE` bytes of a message."""
    header, payload = _LENGTHS.unpack(raw)
    return header, payload
