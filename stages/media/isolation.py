"""Decode processes that can be killed: a hang, a crash or a hunger for memory costs one file, never the run.

Native decoders hang holding the GIL, leak, and abort the process on damaged files; only another process survives that.
A process takes one job after the other and is replaced after `recycle_after` of them, when it dies, or when its memory
did not suffice.
"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from stages.errors import BadTranscript, ConfigError, DeadlineExceeded, DecodeError, EmptyTimeline, SampleError
from stages.media.causes import OUT_OF_MEMORY, decode_error
from stages.media.messages import BUG, Header, Message
from stages.media.process import DecodeProcess, IsolationSettings
from stages.media.sources import Source, source_to_json

if TYPE_CHECKING:
    from stages.media.probe import MediaInfo

_SAMPLE_ERRORS: Mapping[str, type[SampleError]] = {
    kind.__name__: kind for kind in (DecodeError, EmptyTimeline, BadTranscript, DeadlineExceeded)
}


class IsolatedPool:
    """Runs jobs (`stages.media.jobs`) in decode processes; as many at once as there are callers.

    A process dies with the thread that started it: call from threads that live as long as the pool is used.
    """

    def __init__(self, settings: IsolationSettings) -> None:
        self._settings = settings
        self._idle: list[DecodeProcess] = []
        self._busy: set[DecodeProcess] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all idle processes."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.kill()

    def abort(self) -> None:
        """Kill all processes that work; their callers see them crash. From any thread."""
        with self._lock:
            for process in self._busy:
                process.signal_end()

    def start(self) -> None:
        """Start a process ahead of the first job."""
        process = DecodeProcess(self._settings)
        process.await_start()
        with self._lock:
            self._idle.append(process)

    def call(self, function: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Run a job and give its result.

        Raises:
            SampleError: as `stream`.
        """
        *_, last = self.stream(function, arguments)
        result: dict[str, Any] = last.header["result"]
        return result

    def stream(self, function: str, arguments: Mapping[str, Any]) -> Iterator[Message]:
        """Run a job and give its messages as they come, the last one of kind `done`; the caller lets go of each.

        One that meets the memory limit in a process that has served others is run again in a fresh one, as it may have
        been their leavings: its messages then begin anew.

        Args:
            function: name of the job.
            arguments: JSON; `path` is the file's.

        Raises:
            DecodeError: the job refused the file, or its process died (cause `decoder_crashed` or `out_of_memory`,
                with the signal or exit code and its last words).
            EmptyTimeline: the job said so.
            ConfigError: a library that the settings want does not import.
            RuntimeError: the job's code is wrong, or a process does not start.
            DeadlineExceeded: it kept its supervisor waiting too long; the process was killed.
        """
        name = Path(str(arguments.get("path", function))).name
        job = {"function": function, "arguments": dict(arguments)}
        process = self._take()
        is_fresh = process.num_jobs == 0
        try:
            yield from self._run(process, job, name)
        except DecodeError as error:
            if is_fresh or error.cause != OUT_OF_MEMORY:
                raise
        else:
            return
        yield from self._run(self._begin(), job, name)

    def _run(self, process: DecodeProcess, job: Mapping[str, Any], name: str) -> Iterator[Message]:
        reusable = False
        try:
            process.send(job)
            for message in process.messages(name, self._settings):
                header = message.header
                reusable = header["kind"] == "done" or (header["kind"] == "error" and header["cause"] != OUT_OF_MEMORY)
                if header["kind"] == "error":
                    raise _as_error(header, name, self._settings)
                yield message
        finally:
            self._give_back(process, reusable=reusable)

    def _take(self) -> DecodeProcess:
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.alive:
                    self._busy.add(process)
                    return process
                process.kill()
        return self._begin()

    def _begin(self) -> DecodeProcess:
        process = DecodeProcess(self._settings)
        with self._lock:
            self._busy.add(process)
        return process

    def _give_back(self, process: DecodeProcess, *, reusable: bool) -> None:
        process.num_jobs += 1
        with self._lock:
            self._busy.discard(process)
        if reusable and process.num_jobs < self._settings.recycle_after:
            with self._lock:
                self._idle.append(process)
        else:
            process.kill()


def _as_error(header: Header, name: str, settings: IsolationSettings) -> SampleError:
    if header["type"] == BUG:
        raise RuntimeError(f"a decode process met a bug at {name}:\n{header['message']}")
    if header["type"] == ConfigError.__name__:
        raise ConfigError(header["message"])
    if header["cause"] == OUT_OF_MEMORY:
        return decode_error(
            OUT_OF_MEMORY,
            f"{name}: decoding needs more than the {settings.memory_mib} MiB that it may have; raise memory_mib, "
            "or leave the file out",
        )
    error = _SAMPLE_ERRORS.get(header["type"], DecodeError)(header["message"])
    error.cause = header["cause"]
    return error


class IsolatedProber:
    """Probes files one after the other, each in a process that may die."""

    def __init__(self, *, deadline_s: float, settings: IsolationSettings | None = None) -> None:
        settings = settings or IsolationSettings(recycle_after=2000)
        self._pool = IsolatedPool(replace(settings, deadline_s=deadline_s))

    def probe(self, source: Source) -> "MediaInfo":
        """Probe a file, or a folder of pictures.

        Raises:
            SampleError: as `probe.probe_video` and `IsolatedPool.stream`.
        """
        from stages.media.probe import MediaInfo

        return MediaInfo(**self._pool.call("probe", source_to_json(source)))

    def close(self) -> None:
        """End the process."""
        self._pool.close()
