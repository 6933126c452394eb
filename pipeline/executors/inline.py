"""Runs units one after the other in this process: for tests, small runs and debugging."""

import logging
import threading
from collections.abc import Generator, Sequence
from functools import partial
from queue import SimpleQueue
from threading import Thread

from pipeline.executors.base import Job, OpenedWorker, Progress, Report
from stages.contract import Inputs, Stage

logger = logging.getLogger(__name__)

_THREAD = "fabula-inline"
_SOON_S = 0.2
"""What ends within this time is not worth a word: most often no unit was left to do."""


class InlineExecutor:
    """The executor without processes of its own."""

    def __init__(self, *, num_retries: int = 2) -> None:
        self._num_retries = num_retries

    def run(self, stage: Stage, inputs: Inputs, jobs: Sequence[Job]) -> Generator[Progress | Report]:
        """See `Executor.run`. The units run in one thread, so that progress can be shown meanwhile."""
        messages: SimpleQueue[Progress | Report | None] = SimpleQueue()
        worker = OpenedWorker(stage, inputs.for_workers(), num_retries=self._num_retries)
        stopped = False

        def report(unit_id: str, done: float, text: str) -> None:
            messages.put(Progress(unit_id=unit_id, done=done, text=text))

        def work() -> None:
            try:
                for job in jobs:
                    if stopped:
                        break
                    messages.put(worker.perform(job, partial(report, job.unit.unit_id)))
            finally:
                try:
                    worker.close()
                except Exception:
                    logger.warning("worker_not_closed", exc_info=True)
                messages.put(None)

        thread = Thread(target=work, name=_THREAD, daemon=True)
        thread.start()
        try:
            while (message := messages.get()) is not None:
                yield message
        except (KeyboardInterrupt, GeneratorExit):
            stopped = True
            thread.join(_SOON_S)
            if thread.is_alive():
                logger.warning("finishing the current unit; Ctrl-C now stops at once")
                thread.join()  # not in a finally: Ctrl-C while this is said stops, too
            raise
        thread.join()

    def close(self) -> None:
        """Nothing was started that outlives `run`."""


def is_at_work() -> bool:
    """Whether a unit is still being done: nobody waited for its end."""
    return any(thread.name == _THREAD for thread in threading.enumerate())
