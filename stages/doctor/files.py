"""The plain examination: every candidate file is opened, its packets are read, its first frame is decoded."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from stages.artifacts.stat_cache import FoundFile
from stages.doctor.records import TRUNCATED, FileState
from stages.errors import DeadlineExceeded, SampleError
from stages.media.candidates import Candidates
from stages.media.causes import UNREADABLE
from stages.media.isolation import IsolatedPool
from stages.media.process import IsolationSettings
from stages.media.sources import source_to_json

_JOB, _MODULE = "examine", "stages.media.examine"
_READINGS = 3  # of a file's packets in the job, where ingest's deadline is meant for one


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamineSettings:
    """How files are examined.

    Attributes:
        sample: arguments of the job `sample` as extract gives them, without `path`; of the consumers only `required`
            matters here.
        deadline_s: of ingest.
        memory_mib: of extract's decode processes.
        workers: files at once; 0 for as many as there are cores.
    """

    sample: Mapping[str, Any]
    deadline_s: float = 60.0
    memory_mib: int = 4096
    workers: int = 0


def examine_files(
    candidates: Candidates,
    settings: ExamineSettings,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[FileState]:
    """Examine files.

    A file is called failed only for what ingest or extract, whose code this runs, refuse before they decode; a cut
    one is called partial; all others are unchecked.

    Args:
        candidates: the files, or folders of pictures.
        settings: how.
        on_progress: called with files done and all files.

    Returns:
        One state a file, in the order of the candidates.
    """
    isolation = IsolationSettings(
        deadline_s=_READINGS * settings.deadline_s,
        memory_mib=settings.memory_mib,
        recycle_after=2000,
        preload=(_MODULE,),
    )
    states: list[FileState] = []
    files = candidates.files
    # The pool's processes die with the threads that started them, so it is closed first.
    with ThreadPoolExecutor(settings.workers or os.cpu_count() or 1) as threads, IsolatedPool(isolation) as pool:
        try:
            for state in threads.map(lambda file: _examine(pool, candidates, file, settings.sample), files):
                states.append(state)
                if on_progress:
                    on_progress(len(states), len(files))
        finally:  # after an error or an interruption nobody waits for the rest
            threads.shutdown(wait=False, cancel_futures=True)
            pool.abort()
    return states


def _examine(pool: IsolatedPool, candidates: Candidates, file: FoundFile, sample: Mapping[str, Any]) -> FileState:
    path = os.fsencode(file.path).decode(errors="backslashreplace")  # as ingest names it
    if path != file.path:
        message = f"{path}: the file's name is no UTF-8; rename the file"
        return FileState(path=path, state="failed", cause=UNREADABLE, message=message, size_bytes=file.size)
    try:
        source = source_to_json(candidates.source(file.path))
        found = pool.call(_JOB, {**sample, "consumers": [], **source})
    except DeadlineExceeded as error:  # it may be in time when it is read once
        return FileState(path=path, state="unchecked", cause=error.cause, message=str(error), size_bytes=file.size)
    except SampleError as error:
        return FileState(path=path, state="failed", cause=error.cause, message=str(error), size_bytes=file.size)
    cut = found["truncated"]
    message = f"{path}: holds less than its header promises: its frames end at {found['end_s']:.3f} s" if cut else ""
    return FileState(
        path=path,
        state="partial" if cut else "unchecked",
        cause=TRUNCATED if cut else "",
        message=message,
        size_bytes=file.size,
        end_s=found["end_s"],
        video_codec=found["info"]["video_codec"],
        width=found["info"]["width"],
        height=found["info"]["height"],
        num_packets=found["num_packets"],
        num_keyframes=found["num_keyframes"],
        scan_s=found["scan_s"],
    )
