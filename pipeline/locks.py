"""Who is at work in a store: locks on files, which end with the process that holds them, however it ends.

Where a file system has no locks, everybody is let in: then nothing but the user keeps `prune` from a run.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.artifacts.durable import make_dir
from stages.artifacts.layout import Store
from stages.errors import TransientError

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
