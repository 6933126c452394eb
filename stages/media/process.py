"""One decode process as its supervisor sees it: start, job, messages within a deadline, and what it died of."""

import collections
import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stages
from stages.errors import DeadlineExceeded, SampleError
from stages.media.causes import DECODER_CRASHED, decode_error, normalise_words
from stages.media.messages import LENGTHS_SIZE, Message, read_message, unpack_lengths, write_message
from stages.media.ring import Ring, open_shared_memory

_START_DEADLINE_S = 60.0
_LOOK_S = 1.0
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationSettings:
    """How decode processes are held.

    Attributes:
        deadline_s: longest silence: how long a job may keep its supervisor waiting for a message. Time in which the
            supervisor is busy itself does not count, and a long video is not late as long as its frames come.
        memory_mib: address space of a process, MiB.
        recycle_after: jobs after which a process is replaced.
        preload: modules that a process imports at its start (tests register decoders so).
    """

    deadline_s: float = 300.0
    memory_mib: int = 4096
    recycle_after: int = 200
    preload: tuple[str, ...] = ()


class DecodeProcess:
    """One decode process with its three pipes and the memory that it shares.

    It dies with the thread that made it (Linux sends the signal when that thread ends). It has a session of its own:
    Ctrl-C is for the supervisor, which may still want what is being decoded; and it is killed with all it has started.
    """

    def __init__(self, settings: IsolationSettings) -> None:
        self.num_jobs = 0
        root = str(Path(next(iter(stages.__path__))).parent)
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        shared = open_shared_memory()
        command = [sys.executable, "-m", "stages.media.worker"]
        arguments = [str(os.getpid()), str(settings.memory_mib), str(shared), *settings.preload]
        # One thread each: threads of numeric libraries would only reserve address space.
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._child = subprocess.Popen(
            [*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment, bufsize=0, pass_fds=(shared,), start_new_session=True,
        )  # fmt: skip
        self._ring = Ring(shared)
        os.close(shared)
        self._last_words: collections.deque[bytes] = collections.deque(maxlen=20)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._replies = self._child.stdout.fileno() if self._child.stdout else -1
        self._enlarge_pipe()
        self._ready = False

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._child.poll() is None

    def send(self, job: Mapping[str, Any]) -> None:
        """Hand over a job; a process that is already dead is noticed when its reply is read."""
        self.await_start()
        self._last_words.clear()
        if self._child.stdin is not None:
            try:
                write_message(self._child.stdin, job)
            except BrokenPipeError:
                self._child.wait(timeout=_START_DEADLINE_S)

    def messages(self, name: str, settings: IsolationSettings) -> Iterator[Message]:
        """Give messages until `done` or `error`; each must come within the deadline once it is waited for."""
        while True:
            message = self._read_message(settings.deadline_s)
            if message is None:
                raise self._post_mortem(name, settings)
            yield message
            if message.header["kind"] in ("done", "error"):
                return

    def signal_end(self) -> None:
        """Make the process end, and what it has started; whoever reads from it notices."""
        if self.alive:  # its number is nobody else's
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the process at once and collect it."""
        self.signal_end()
        self._child.wait()
        self._listener.join()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()

    def await_start(self) -> None:
        """Wait until it is ready for a job.

        Raises:
            RuntimeError: it does not start.
        """
        if self._ready:
            return
        message = self._read_message(_START_DEADLINE_S)
        if message is None:
            self.kill()
            # Our own code or environment, no file's fault: a bug stops the run.
            raise RuntimeError(f"a decode process did not start{self._words()}")
        self._ready = True

    def _read_message(self, deadline_s: float) -> Message | None:
        """Read one message; None if the time is over or the process is gone."""
        lengths = self._read(LENGTHS_SIZE, deadline_s)
        if lengths is None:
            return None
        header_size, payload_size = unpack_lengths(bytes(lengths))
        header = self._read(header_size, deadline_s)
        payload = self._read(payload_size, deadline_s) if header is not None else None
        if header is None or payload is None:
            return None
        return read_message(header, payload, self._ring)

    def _read(self, size: int, deadline_s: float) -> bytearray | None:
        data, filled = bytearray(size), 0
        while filled < size:
            if not self._await_bytes(deadline_s):
                return None
            count = os.readv(self._replies, [memoryview(data)[filled:]])
            if count == 0:
                return None
            filled += count
        return data

    def _await_bytes(self, deadline_s: float) -> bool:
        """Wait until something can be read; time in which the process may have waited for room does not count.

        Nor does time in which this process was stopped, or the machine slept: no look counts for more than it was to
        take, or one that came back late would find the deadline over.
        """
        silent_s = 0.0
        while silent_s < deadline_s:
            look_s, begun = min(deadline_s - silent_s, _LOOK_S), time.monotonic()
            if self._can_read(look_s):
                return True
            if (free_since := self._ring.free_since) > begun:
                silent_s, begun = 0.0, free_since
            silent_s += min(time.monotonic() - begun, look_s)
        return False

    def _can_read(self, timeout_s: float) -> bool:
        poller = select.poll()
        poller.register(self._replies, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))

    def _post_mortem(self, name: str, settings: IsolationSettings) -> SampleError:
        """Say why no message came: the process is dead, or it is killed now because it hangs."""
        hangs = not self._can_read(0)  # a dead one's pipe is at its end, which can be read
        try:
            code = self._child.wait(timeout=1.0 if hangs else 10.0)
        except subprocess.TimeoutExpired:
            self.signal_end()
            self._child.wait()
            code = None
        self._listener.join()
        error = self._deadline_error(name, settings) if code is None else self._crash_error(name, code)
        error.add_note(b"".join(self._last_words).decode(errors="replace"))
        return error

    def _deadline_error(self, name: str, settings: IsolationSettings) -> SampleError:
        return DeadlineExceeded(
            f"{name}: decoding gave nothing for {settings.deadline_s:g} s and was stopped{self._words()}; "
            "leave the file out, transcode it, or raise the deadline"
        )

    def _crash_error(self, name: str, code: int) -> SampleError:
        how = f"ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        return decode_error(
            DECODER_CRASHED,
            f"{name}: the decode process {how}{self._words()}; the file is probably damaged: transcode it or leave it "
            "out",
        )

    def _words(self) -> str:
        words = normalise_words(b"".join(self._last_words).decode(errors="replace"))
        return f" (last words: {words})" if words else " without a word"

    def _listen(self) -> None:
        """Keep the last lines that the process prints; a full pipe would stop it."""
        if self._child.stderr is not None:
            for line in iter(self._child.stderr.readline, b""):
                self._last_words.append(line[-500:])

    def _enlarge_pipe(self) -> None:
        """Let decoder and consumer run apart by some pictures; best effort, Linux only."""
        if sys.platform == "linux":
            try:
                fcntl.fcntl(self._replies, _F_SETPIPE_SZ, _PIPE_BYTES)
            except OSError:  # the user's limit of pipe memory is reached: the default size works too
                return


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
