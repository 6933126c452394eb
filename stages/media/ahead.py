"""Decoding ahead of the consumer: threads drive decode processes while the model works on earlier frames.

What waits in between is bounded, so that memory depends on neither the length nor the number of the videos.
"""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from stages.errors import DeadlineExceeded, SampleError
from stages.media.attempts import AttemptLog
from stages.media.causes import DECODER_CRASHED, decode_error
from stages.media.isolation import IsolatedPool
from stages.media.messages import Message
from stages.media.process import IsolationSettings

_MOST_BYTES = 64 << 20
_MOST_ITEMS = 4096
_VIDEOS_AHEAD = 4  # a process: what is made of them waits for the oldest, as videos are written in order
_ABORT_EVERY_S = 0.1
_REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One file to decode: the name of its input, and the arguments of the job `sample`."""

    input_id: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A message of a decode process (`jobs.run_sample`); a `plan` begins a file anew and voids what came before."""

    input_id: str
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The end of a file that cannot be used; `attempts` processes died or were stopped over it (0: it was refused)."""

    input_id: str
    error: SampleError
    attempts: int


Item = Decoded | Refused


class DecodeCrew:
    """Some decode processes, each with a thread that drives it; they start at once and outlive the files of a unit."""

    def __init__(self, settings: IsolationSettings, num_processes: int) -> None:
        self._pool = IsolatedPool(settings)
        self._threads = ThreadPoolExecutor(num_processes, thread_name_prefix="decode-ahead")
        self._num_processes = num_processes
        for _ in range(num_processes):
            self._threads.submit(self._pool.start)  # one that fails is tried again for its first file, and raises there

    def decode(self, jobs: Sequence[Job], log: AttemptLog, *, max_attempts: int) -> "Decoding":
        """Begin to decode files.

        Args:
            jobs: in the order in which they are begun.
            log: where attempts are noted; those of earlier runs count.
            max_attempts: processes that one file may cost.
        """
        decoding = Decoding(jobs, self._pool, log, max_attempts)
        decoding.begin(self._threads, self._num_processes)
        return decoding

    def close(self) -> None:
        """End all processes and threads."""
        self._threads.shutdown(cancel_futures=True)
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Decoding:
    """Some files on their way; leave it as a context to stop what is still at work.

    Messages of several files interleave; those of one file come in order up to `done`, or it ends with a `Refused`.
    """

    def __init__(self, jobs: Sequence[Job], pool: IsolatedPool, log: AttemptLog, max_attempts: int) -> None:
        self._waiting = deque(jobs)
        self._pool = pool
        self._log = log
        self._max_attempts = max_attempts
        self._num_open = self._most_open = 0
        self._num_driving = 0
        self._bug: BaseException | None = None
        self._items: deque[Item] = deque()
        self._num_bytes = 0
        self._changed = threading.Condition()
        self._stopped = False

    def begin(self, threads: ThreadPoolExecutor, num_drivers: int) -> None:
        """Let so many threads drive it."""
        self._num_driving = num_drivers
        self._most_open = _VIDEOS_AHEAD * num_drivers
        for _ in range(num_drivers):
            threads.submit(self._drive)

    def take(self, *, wait: bool = True) -> Item | None:
        """Give the next item; None at the end, or if there is none yet and nobody wants to wait.

        A bug in a thread is raised here as soon as it is known: its file never ends, and others wait for that.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._bug or not self._num_driving or not wait)
            if self._bug is not None:
                raise self._bug
            if not self._items:
                return None
            item = self._items.popleft()
            self._num_bytes -= _num_bytes(item)
            self._changed.notify_all()
            return item

    def close_one(self) -> None:
        """Say that a file that has ended is dealt with: one more may be begun."""
        with self._changed:
            self._num_open -= 1
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            while self._num_driving:  # one may have begun a file just now, and its decoder hang
                self._pool.abort()
                self._changed.wait(_ABORT_EVERY_S)

    def _drive(self) -> None:
        """Decode files until none is left; each of the threads does this."""
        try:
            while (job := self._begin_one()) is not None:
                if (refused := self._decode(job)) is not None:
                    self._put(refused)
        except _Stopped:
            return
        except BaseException as error:  # noqa: BLE001 - raised in `take`, by the thread that can do something about it
            self._bug = error
        finally:
            with self._changed:
                self._num_driving -= 1
                self._changed.notify_all()

    def _begin_one(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not self._waiting or self._num_open < self._most_open)
            if self._stopped:
                raise _Stopped
            if not self._waiting:
                return None
            self._num_open += 1
            return self._waiting.popleft()

    def _put(self, item: Item) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._has_room())
            if self._stopped:
                raise _Stopped
            self._items.append(item)
            self._num_bytes += _num_bytes(item)
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._num_bytes < _MOST_BYTES and len(self._items) < _MOST_ITEMS

    def _decode(self, job: Job) -> Refused | None:
        """Decode one file, again if that cost a process, as often as is allowed."""
        while (tried := self._log.num_counted(job.input_id)) < self._max_attempts:
            self._log.begin(job.input_id)
            try:
                for message in self._pool.stream("sample", job.arguments):
                    self._put(Decoded(input_id=job.input_id, message=message))
            except SampleError as error:
                if self._stopped:  # we killed it: no fault of the file
                    raise _Stopped from error
                outcome = _outcome(error)
                self._log.end(job.input_id, outcome, str(error), "\n".join(getattr(error, "__notes__", ())))
                if outcome == _REFUSED:
                    return Refused(input_id=job.input_id, error=error, attempts=0)
            else:
                self._log.end(job.input_id, "done")
                return None
        return Refused(input_id=job.input_id, error=_last_error(self._log, job.input_id), attempts=tried)


class _Stopped(Exception):
    """The consumer is gone."""


def _num_bytes(item: Item) -> int:
    """Memory that an item holds for itself; what lies in a ring is bounded by that."""
    return item.message.payload.nbytes if isinstance(item, Decoded) and item.message.ring is None else 0


def _outcome(error: SampleError) -> str:
    if isinstance(error, DeadlineExceeded):
        return "deadline"
    return "crashed" if error.cause == DECODER_CRASHED else _REFUSED


def _last_error(log: AttemptLog, input_id: str) -> SampleError:
    """The error of the last attempt that counted, the same whether it was made in this run or an earlier one."""
    outcome, message = log.last_death(input_id)
    return DeadlineExceeded(message) if outcome == "deadline" else decode_error(DECODER_CRASHED, message)
