"""Files and folders that survive a power cut, on whatever file system a store lies."""

import errno
import os
import re
import shutil
import uuid
from pathlib import Path

_NO_LINK = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS})
"""Another device, too many links, a file of somebody else (Linux protects those), a file system without links."""

_NO_STORAGE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG}
)
_ASIDE = re.compile(r"\..+\.[0-9a-f]{32}")


def storage_problem(error: OSError) -> str | None:
    """What to tell the user if the file system, and no bug, is the cause of an error; else None."""
    if error.errno not in _NO_STORAGE:
        return None
    where = f"{error.filename}: " if error.filename is not None else ""
    remedy = "make room, or mend the path or its permissions, and run again: what is committed stays"
    return f"{where}{error.strerror}; {remedy}"


def sync_dir(path: Path) -> None:
    """Make a directory's entries durable, where the file system can."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # as network file systems say that they cannot
            raise
    finally:
        os.close(descriptor)


def make_dir(path: Path) -> None:
    """Make a directory and those above it, durable; one that is there already stays as it is."""
    if path.is_dir():
        return
    make_dir(path.parent)
    path.mkdir(exist_ok=True)
    sync_dir(path.parent)


def publish(path: Path, content: bytes) -> bool:
    """Write a file in one atomic step, unless it is there already.

    Returns:
        True when this call made it, False when another was first (its content stands).
    """
    make_dir(path.parent)
    aside = _aside(path)
    try:
        _write_synced(aside, content)
        os.link(aside, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        if path.exists():
            return False
        aside.replace(path)  # without links, of two at the same moment the later stands: its content is the same
    finally:
        aside.unlink(missing_ok=True)
    sync_dir(path.parent)
    return True


def replace(path: Path, content: bytes) -> None:
    """Write a file in one atomic step, over an earlier one."""
    make_dir(path.parent)
    aside = _aside(path)
    try:
        _write_synced(aside, content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_dir(path.parent)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or, where there can be no link, make a copy, over what may lie there."""
    make_dir(target.parent)
    aside = _aside(target)
    try:
        try:
            os.link(source, aside)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            _copy(source, aside)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)  # it is still there if both were one file already
    sync_dir(target.parent)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def left_aside(folder: Path) -> list[Path]:
    """Files below a folder that a kill has left under the name by which they were written."""
    return sorted(path for path in folder.rglob(".*") if _ASIDE.fullmatch(path.name) and path.is_file())


def _aside(path: Path) -> Path:
    """A name beside a file that nobody else has."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
