"""The decode process: `python -m stages.media.worker SUPERVISOR_PID MEMORY_MIB RING [MODULE ...]`.

It reads jobs from standard input and writes messages to what was standard output; whatever native libraries print
goes to standard error, where the supervisor keeps the last lines. Pictures go through the shared memory behind the
descriptor RING. It may be killed at any moment.
"""

import importlib
import json
import os
import resource
import sys
import traceback
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.errors import ConfigError, SampleError
from stages.media.causes import OUT_OF_MEMORY
from stages.media.jobs import JOBS
from stages.media.listening import listener
from stages.media.messages import BUG, LENGTHS_SIZE, Header, unpack_lengths, write_message
from stages.media.parents import die_with
from stages.media.ring import Ring


def main(arguments: Sequence[str]) -> None:
    """Serve jobs until standard input closes."""
    supervisor, memory_mib, ring, *modules = arguments
    _guard(int(supervisor), int(memory_mib))
    jobs, replies = _take_pipes()
    shared = Ring(int(ring))
    listener()
    Image.preinit()  # it loads libraries: with memory short they fail to load, which looks like a bug of ours
    for module in modules:
        importlib.import_module(module)
    write_message(replies, {"kind": "ready"})
    while (job := _read_job(jobs)) is not None:
        _serve(job, replies, shared)


def _serve(job: Header, replies: BinaryIO, ring: Ring) -> None:
    try:
        for header, parts in JOBS[job["function"]](job["arguments"]):
            _reply(replies, ring, header, parts)
    except SampleError as error:
        _refuse(replies, type(error).__name__, error.cause, str(error))
    except ConfigError as error:
        _refuse(replies, type(error).__name__, "", str(error))
    except MemoryError:
        _refuse(replies, "DecodeError", OUT_OF_MEMORY, "")
    except (NameError, AttributeError, ImportError) as error:
        # No file can cause these: our code is wrong, and must not be taken for thousands of damaged files. Any other
        # exception ends this process, as a crash of the library would.
        _refuse(replies, BUG, "", "".join(traceback.format_exception(error)))


def _reply(replies: BinaryIO, ring: Ring, header: Header, parts: Sequence[NDArray[np.uint8]]) -> None:
    """Send a message with its parts end to end: through the ring, or through the pipe what is too large for it."""
    size = sum(part.nbytes for part in parts)
    if not size:
        write_message(replies, header)
    elif not ring.fits(size):
        write_message(replies, header, b"".join(part.tobytes() for part in parts))
    else:
        place = ring.reserve(size)
        np.concatenate([part.reshape(-1) for part in parts], out=ring.view(place))
        write_message(replies, {**header, "at": (place.offset, place.size, place.end)})


def _refuse(replies: BinaryIO, kind: str, cause: str, message: str) -> None:
    write_message(replies, {"kind": "error", "type": kind, "cause": cause, "message": message})


def _guard(supervisor: int, memory_mib: int) -> None:
    """Die with the supervisor, and never take more memory than allowed."""
    die_with(supervisor)
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib << 20, memory_mib << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the two pipes for messages alone: what is printed goes to standard error, what is read is empty."""
    jobs, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return jobs, replies


def _read_job(jobs: BinaryIO) -> Header | None:
    lengths = jobs.read(LENGTHS_SIZE)
    if len(lengths) < LENGTHS_SIZE:
        return None
    size, _ = unpack_lengths(lengths)
    job: Header = json.loads(jobs.read(size))
    return job


if __name__ == "__main__":
    main(sys.argv[1:])
