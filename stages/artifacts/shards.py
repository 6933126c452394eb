"""The door to tar: plain webdataset shards with the same bytes every time, read by name or by offset.

One sample is the run of members that share the key before the first dot. We write with `tarfile`, since the commit
record needs each member's offset and webdataset's writer stamps the clock, and read with webdataset.
"""

import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from webdataset import tariterators

from stages.artifacts.arrays import map_rows
from stages.artifacts.commit import StagedFile
from stages.artifacts.records import Member
from stages.errors import Corrupt

_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SUFFIX = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_HEADER_BYTES = tarfile.BLOCKSIZE


class ShardWriter:
    """Writes samples into a staged tar: fixed mtime, owner and mode, members sorted by suffix within a sample."""

    def __init__(self, file: StagedFile) -> None:
        self._file = file
        self._tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)
        self._keys: set[str] = set()

    def add(self, key: str, parts: Mapping[str, bytes | NDArray[Any] | Mapping[str, Any]]) -> None:
        """Append one sample.

        Args:
            key: the sample's name, `[A-Za-z0-9_-]{1,64}` (webdataset cuts a name at its first dot).
            parts: by suffix (`s3d.npy`, `json`, `f00000.jpg`): bytes as they are, arrays as .npy, mappings as JSON.
        """
        if not _KEY.fullmatch(key) or key in self._keys:
            raise ValueError(f"{key!r} is no new sample key: expected [A-Za-z0-9_-]{{1,64}}, each once a shard")
        self._keys.add(key)
        for suffix, content in sorted(parts.items()):
            if not _SUFFIX.fullmatch(suffix):
                raise ValueError(f"{suffix!r} is no member suffix: expected lower-case letters, digits, '_' and dots")
            self._add_member(f"{key}.{suffix}", _to_bytes(content))

    def _add_member(self, name: str, content: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime, entry.mode, entry.uname, entry.gname = len(content), 0, 0o644, "fabula", "fabula"
        start = self._file.tell()
        self._tar.addfile(entry, io.BytesIO(content))
        self._file.members.append(Member(name, start + _HEADER_BYTES, len(content)))

    def close(self) -> None:
        """Write the end of the archive."""
        self._tar.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error the tar stays without its end: nothing may take it for a finished one.
        if kind is None:
            self.close()


def _to_bytes(content: bytes | NDArray[Any] | Mapping[str, Any]) -> bytes:
    if isinstance(content, bytes):
        return content
    if isinstance(content, np.ndarray):
        buffer = io.BytesIO()
        np.save(buffer, content, allow_pickle=False)
        return buffer.getvalue()
    return json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def read_samples(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Iterate over a tar's samples through webdataset.

    Yields:
        Key, and the raw bytes by suffix.
    """
    with path.open("rb") as file:
        source = {"url": path.name, "stream": file}
        for sample in tariterators.group_by_keys(tariterators.tar_file_expander([source])):
            yield sample["__key__"], {name: data for name, data in sample.items() if not name.startswith("__")}


def read_member(path: Path, member: Member) -> bytes:
    """The payload of one member, without reading the rest of the tar."""
    with path.open("rb") as file:
        file.seek(member.offset)
        content = file.read(member.size)
    if len(content) != member.size:
        raise Corrupt(f"{path}: member {member.name} has {len(content)} of {member.size} bytes; run `fabula verify`")
    return content


def map_array(path: Path, member: Member) -> NDArray[Any]:
    """A member's .npy array, memory-mapped read-only at its place in the tar.

    Args:
        path: the tar.
        member: whose name ends in `.npy`.

    Returns:
        The array; its pages are read when they are touched.

    Raises:
        Corrupt: no array lies there.
    """
    try:
        return map_rows(path, member.offset)
    except ValueError as error:
        raise Corrupt(f"{path}: member {member.name} is no array ({error}); run `fabula verify`") from error


def read_array(path: Path, member: Member) -> NDArray[Any]:
    """A member's .npy array, copied into memory."""
    return np.array(map_array(path, member))
