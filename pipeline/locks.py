"""Who is at work in a store: locks on files, which end with the process that holds them, however it ends.

Where a file system has no locks, everybody is let in: then nothing but the user keeps `prune` from a run.
"""

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stages.artifacts.durable import make_dir
from stages.artifacts.layout import Store
from stages.errors import TransientError

logger = logging.getLogger(__name__)

_LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def used(store: Store) -> Iterator[None]:
    """Work in a store beside other runs; waits while it is being pruned."""
    with _locked(store.lock_path, fcntl.LOCK_SH):
        yield


@contextmanager
def unused(store: Store) -> Iterator[None]:
    """Keep runs out of a store.

    Raises:
        TransientError: a run is at work in it.
    """
    try:
        with _locked(store.lock_path, fcntl.LOCK_EX | fcntl.LOCK_NB):
            yield
    except BlockingIOError as error:
        raise TransientError(f"{store.root}: a run is at work in this store; wait until it ends") from error


@contextmanager
def alone_in(folders: Iterable[Path]) -> Iterator[None]:
    """Work in some folders, which are made, while nobody else does; waits for those who are at work in one of them.

    Whoever was waited for may have deleted a folder: it is then made anew.
    """
    with ExitStack() as stack:
        for folder in sorted(folders):
            stack.enter_context(_alone_in(folder))
        yield


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except (FileNotFoundError, FileExistsError):  # of a folder that was deleted just now
            if _is_no_folder(folder):
                raise
            continue
        try:
            try:
                _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.warning("waiting_for_another_run folder=%s", folder)
                _lock(descriptor, fcntl.LOCK_EX)
            if _is_at(descriptor, folder / _LOCK):
                yield
                return
        finally:
            os.close(descriptor)


def _is_no_folder(path: Path) -> bool:
    try:
        return not stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def take(descriptor: int) -> None:
    """Mark an open file as being written, until it is closed; waits for whoever is just asking `is_taken`."""
    _lock(descriptor, fcntl.LOCK_EX)


def is_taken(path: Path) -> bool:
    """Whether a process has a file marked as being written."""
    try:
        with _locked(path, fcntl.LOCK_SH | fcntl.LOCK_NB):
            return False
    except BlockingIOError:
        return True


@contextmanager
def _locked(path: Path, operation: int) -> Iterator[None]:
    make_dir(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, operation: int) -> None:
    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
