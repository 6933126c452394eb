"""Decoding ahead of the consumer: one thread drives the decode process while the model works on earlier frames.

What waits in between is bounded, so that memory depends on neither the length nor the number of the videos.
"""

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from stages.errors import DeadlineExceeded, SampleError
from stages.media.attempts import AttemptLog
from stages.media.causes import DECODER_CRASHED, decode_error
from stages.media.isolation import IsolatedPool
from stages.media.messages import Header
from stages.media.process import IsolationSettings

_MOST_BYTES = 64 << 20
_MOST_ITEMS = 4096
_REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One file to decode: the name of its input, and the arguments of the job `sample`."""

    input_id: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message of a decode process (`jobs.run_sample`); a `plan` begins a file anew and voids what came before."""

    input_id: str
    header: Header
    payload: bytearray


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The end of a file that cannot be used; `attempts` processes died or were stopped over it (0: it was refused)."""

    input_id: str
    error: SampleError
    attempts: int


def decode_ahead(
    jobs: Sequence[Job], settings: IsolationSettings, log: AttemptLog, *, max_attempts: int
) -> Iterator[Message | Refused]:
    """Decode files one after the other, ahead of the consumer.

    Args:
        jobs: in the order in which their messages come.
        settings: of the decode process.
        log: where attempts are noted; those of earlier runs count.
        max_attempts: processes that one file may cost.

    Yields:
        For each file its messages up to `done`, or a `Refused`.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="decode-ahead") as executor:
        driver = _Driver(IsolatedPool(settings), log, max_attempts)
        ended = executor.submit(driver.run, jobs)
        try:
            while (item := driver.waiting.take()) is not None:
                yield item
            ended.result()  # a bug in the thread is raised here
        finally:
            driver.stop()


class _Stopped(Exception):
    """The consumer is gone."""


class _Waiting:
    """What is decoded and not yet consumed: a queue that is bounded in bytes."""

    def __init__(self) -> None:
        self._items: deque[Message | Refused | None] = deque()
        self._num_bytes = 0
        self._changed = threading.Condition()
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether nobody will take anything any more."""
        return self._stopped

    def put(self, item: Message | Refused | None) -> None:
        """Append an item once there is room for it."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._has_room())
            if self._stopped:
                raise _Stopped
            self._items.append(item)
            self._num_bytes += _num_bytes(item)
            self._changed.notify_all()

    def take(self) -> Message | Refused | None:
        """Wait for the next item; None is the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._items)
            item = self._items.popleft()
            self._num_bytes -= _num_bytes(item)
            self._changed.notify_all()
            return item

    def stop(self) -> None:
        """Let whoever puts fail."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._num_bytes < _MOST_BYTES and len(self._items) < _MOST_ITEMS


def _num_bytes(item: Message | Refused | None) -> int:
    return len(item.payload) if isinstance(item, Message) else 0


class _Driver:
    """What runs in the thread; the pool's processes live as long as that does."""

    def __init__(self, pool: IsolatedPool, log: AttemptLog, max_attempts: int) -> None:
        self.waiting = _Waiting()
        self._pool = pool
        self._log = log
        self._max_attempts = max_attempts

    def stop(self) -> None:
        """Make the thread end soon, whatever it waits for."""
        self.waiting.stop()
        self._pool.abort()

    def run(self, jobs: Sequence[Job]) -> None:
        """Decode all files, in order."""
        try:
            with self._pool:
                for job in jobs:
                    if (refused := self._decode(job)) is not None:
                        self.waiting.put(refused)
        except _Stopped:
            return
        finally:
            if not self.waiting.stopped:
                self.waiting.put(None)

    def _decode(self, job: Job) -> Refused | None:
        """Decode one file, again if that cost a process, as often as is allowed."""
        while (tried := self._log.num_counted(job.input_id)) < self._max_attempts:
            self._log.begin(job.input_id)
            try:
                for header, payload in self._pool.stream("sample", job.arguments):
                    self.waiting.put(Message(input_id=job.input_id, header=header, payload=payload))
            except SampleError as error:
                if self.waiting.stopped:  # we killed it: no fault of the file
                    raise _Stopped from error
                outcome = _outcome(error)
                self._log.end(job.input_id, outcome, str(error), "\n".join(getattr(error, "__notes__", ())))
                if outcome == _REFUSED:
                    return Refused(input_id=job.input_id, error=error, attempts=0)
            else:
                self._log.end(job.input_id, "done")
                return None
        return Refused(input_id=job.input_id, error=_last_error(self._log, job.input_id), attempts=tried)


def _outcome(error: SampleError) -> str:
    if isinstance(error, DeadlineExceeded):
        return "deadline"
    return "crashed" if error.cause == DECODER_CRASHED else _REFUSED


def _last_error(log: AttemptLog, input_id: str) -> SampleError:
    """The error of the last attempt that counted, the same whether it was made in this run or an earlier one."""
    outcome, message = log.last_death(input_id)
    return DeadlineExceeded(message) if outcome == "deadline" else decode_error(DECODER_CRASHED, message)
