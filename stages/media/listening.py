"""What libav says while it reads and decodes: some damage is concealed and only told in its log."""

import logging
import os
import threading
from functools import cache

import av.logging

_CONCEALED = "concealing"
"""libavcodec fills in lost parts of a picture and says so at the level of information, with no flag on the frame."""


class Listener(logging.Handler):
    """Counts complaints and passes them on to standard error, where the supervisor keeps a process's last words.

    PyAV calls it from within a call of libav, in the thread that made it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._heard = threading.local()

    @property
    def num_complaints(self) -> int:
        """Errors and concealments so far, of calls in this thread."""
        return getattr(self._heard, "complaints", 0)

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line of the log."""
        message = record.getMessage()
        if record.levelno >= logging.ERROR or _CONCEALED in message:
            self._heard.complaints = self.num_complaints + 1
            os.write(2, f"[{record.name.removeprefix('libav.')}] {message}\n".encode(errors="backslashreplace"))


@cache
def listener() -> Listener:
    """The listener of this process; the first call begins to listen."""
    heard = Listener()
    logger = logging.getLogger("libav")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(heard)
    av.logging.set_level(av.logging.INFO)
    av.logging.set_skip_repeated(False)
    return heard
