"""Which file has which content, without reading it again: hashes remembered by size, mtime and inode.

The cache lies beside the artifacts, is none, and may be deleted: then everything is hashed again.
"""

import io
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR

import pyarrow.parquet as pq

from stages.artifacts.durable import replace
from stages.artifacts.hashing import fingerprint, hash_bytes, hash_file
from stages.artifacts.layout import Store
from stages.artifacts.tables import INT64, STRING, columns_table, read_table
from stages.errors import Corrupt, SchemaMismatch

_SCHEMA = {"path": STRING, "size": INT64, "mtime_ns": INT64, "inode": INT64, "hash": STRING}
logger = logging.getLogger(__name__)

_FILES_PER_BATCH = 2_000
_SAVE_EVERY_S = 30.0
_HASH_THREADS = 4
_INT64_MAX = (1 << 63) - 1

_Known = tuple[tuple[int, int, int], str]
"""Key and content hash of a file, as of when it was read."""
_UNKNOWN: _Known = ((-1, -1, -1), "")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file below a folder.

    Attributes:
        path: relative, POSIX, as the file system gives it (a name that is no UTF-8 holds surrogates).
        size: bytes.
        mtime_ns: of the inode.
        inode: its number, without the sign bit: tables hold signed numbers.
    """

    path: str
    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: str, stat: os.stat_result) -> "FoundFile":
        """A file of that status."""
        return cls(path, stat.st_size, stat.st_mtime_ns, stat.st_ino & _INT64_MAX)

    @property
    def key(self) -> tuple[int, int, int]:
        """What must be unchanged for the content to count as unchanged."""
        return (self.size, self.mtime_ns, self.inode)


def scan(folder: Path) -> Iterator[FoundFile]:
    """Every file below a folder, hidden ones and linked folders left out, in no particular order.

    A link to nothing, or to itself, is a file, too: it cannot be read, and whoever asked for it should hear so. What
    vanishes meanwhile is not there, and a folder below it that cannot be read is left out.

    Raises:
        OSError: the folder itself cannot be read.
    """
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            yield from _scan_one(folder, prefix, pending)
        except OSError as error:
            if not prefix:
                raise
            if not isinstance(error, FileNotFoundError):
                logger.warning("folder_not_readable path=%s error=%s", prefix.rstrip("/"), error.strerror)


def _scan_one(folder: Path, prefix: str, pending: list[str]) -> Iterator[FoundFile]:
    """The files of one folder; those below it wait."""
    with os.scandir(folder / prefix) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(f"{prefix}{entry.name}/")
            elif (stat := _stat(entry)) is None:
                continue
            elif S_ISDIR(stat.st_mode):
                logger.warning("linked_folder_not_followed path=%s", prefix + entry.name)
            else:
                yield FoundFile.of(prefix + entry.name, stat)


def _stat(entry: "os.DirEntry[str]") -> os.stat_result | None:
    """What an entry leads to; of a link that leads nowhere, the link itself; None if it is gone."""
    try:
        return entry.stat()
    except OSError:
        try:
            return entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None


def look_at(folder: Path, path: str) -> FoundFile:
    """One file below a folder; one that is not there is of no size, and cannot be read."""
    try:
        stat = (folder / path).stat()
    except OSError:
        return FoundFile(path, 0, 0, 0)
    return FoundFile.of(path, stat)


def folder_as_file(path: str, inside: Sequence[FoundFile]) -> FoundFile:
    """A folder whose files are one content; its key changes if that of any of them does.

    Args:
        path: of the folder.
        inside: the files in it.
    """
    keys = fingerprint(sorted((_plain(file.path.rpartition("/")[2]), *file.key) for file in inside))
    newest = max((file.mtime_ns for file in inside), default=0)
    return FoundFile(path, sum(file.size for file in inside), newest, int(keys[:15], 16))


class ContentHashes:
    """The hashes of the files of one folder."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._folder = folder
        self._path = store.stat_cache_dir / f"{hash_bytes(os.fsencode(folder.resolve()))[:16]}.parquet"

    def resolve(
        self,
        files: Sequence[FoundFile],
        *,
        rehash: bool = False,
        on_progress: Callable[[int, int], None],
    ) -> Mapping[str, str]:
        """The content hash of each file by path; a file that cannot be read maps to ''.

        Args:
            files: as scanned.
            rehash: read every file, whatever the cache says.
            on_progress: called with bytes hashed and bytes to hash.
        """
        known = self._load()
        missing = [file for file in files if rehash or known.get(file.path, _UNKNOWN)[0] != file.key]
        found: dict[str, str] = {}
        done, total, saved_at = 0, sum(file.size for file in missing), time.monotonic()
        for start in range(0, len(missing), _FILES_PER_BATCH):
            batch = missing[start : start + _FILES_PER_BATCH]
            with ThreadPoolExecutor(_HASH_THREADS) as pool:
                for file, digest in zip(batch, pool.map(self._hash, batch), strict=True):
                    found[file.path] = digest
                    known[file.path] = (file.key, digest)
                    done += file.size
                    on_progress(done, total)
            if start + _FILES_PER_BATCH >= len(missing) or time.monotonic() - saved_at > _SAVE_EVERY_S:
                self._save(known)
                saved_at = time.monotonic()
        return {file.path: found.get(file.path, known[file.path][1]) for file in files}

    def _hash(self, file: FoundFile) -> str:
        path = self._folder / file.path
        try:
            if path.is_dir():
                return _hash_folder(path)
            return hash_file(path) if path.is_file() else ""  # reading a pipe would wait for ever
        except OSError:
            return ""

    def _load(self) -> dict[str, _Known]:
        if not self._path.is_file():
            return {}
        try:
            columns = read_table(self._path, list(_SCHEMA)).to_pydict()
        except (Corrupt, SchemaMismatch):  # it is only a cache
            return {}
        keys = zip(columns["size"], columns["mtime_ns"], columns["inode"], strict=True)
        return dict(zip(columns["path"], zip(keys, columns["hash"], strict=True), strict=True))

    def _save(self, known: Mapping[str, _Known]) -> None:
        """Write what is known: also of files that others look at, such as features that lie beside the videos."""
        rows = [(path, *key, digest) for path, (key, digest) in sorted(known.items()) if digest]
        columns = dict(zip(_SCHEMA, zip(*rows, strict=True), strict=True)) if rows else {name: () for name in _SCHEMA}
        buffer = io.BytesIO()
        pq.write_table(columns_table(_SCHEMA, columns), buffer, compression="zstd")
        replace(self._path, buffer.getvalue())


def _hash_folder(path: Path) -> str:
    """Names and contents of the files in a folder, without those below it and hidden ones; '' if there is none."""
    inside = sorted(entry.name for entry in os.scandir(path) if entry.is_file() and not entry.name.startswith("."))
    return fingerprint([[_plain(name), hash_file(path / name)] for name in inside]) if inside else ""


def _plain(name: str) -> str:
    """A file's name; of one that is no UTF-8, which has no JSON, its bytes are spelt out."""
    return os.fsencode(name).decode(errors="backslashreplace")
