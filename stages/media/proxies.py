"""A moment of a video as a small MP4 that every browser plays, whatever the file's own container and codec."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import ffmpeg
import imageio_ffmpeg

LONGEST_S = 120.0
"""No proxy is longer: it is made while somebody waits for it."""

DEADLINE_S = 300.0
"""More than twice the longest: what is not made by then is not watched while it is made, or hangs in a damaged file."""

_CHUNK_BYTES = 1 << 16
_HEIGHT = 480


def moment_command(path: Path, start_s: float, end_s: float) -> list[str]:
    """Build the ffmpeg command that writes [start_s, end_s) of a video to standard output.

    Args:
        path: the file; only the `file` protocol is allowed, so that its name is never taken for an address.
        start_s: seconds, >= 0.
        end_s: seconds, after `start_s` and at most `LONGEST_S` later.

    Raises:
        ValueError: the times are not so.
    """
    if not (0 <= start_s < end_s <= start_s + LONGEST_S):
        raise ValueError(f"moment: got {start_s} to {end_s} s, expected 0 <= start < end <= start + {LONGEST_S:g}")
    source = ffmpeg.input(f"file:{path}", ss=f"{start_s:.3f}", t=f"{end_s - start_s:.3f}", protocol_whitelist="file")
    target = source.output(
        "pipe:1",
        format="mp4",
        vf=f"scale=-2:'trunc(min({_HEIGHT},ih)/2)*2',format=yuv420p",
        vcodec="libx264",
        preset="veryfast",
        acodec="aac",
        ac=2,
        movflags="frag_keyframe+empty_moov+default_base_moof",
    ).global_args("-nostdin", "-v", "error", "-sn", "-dn")
    command: list[str] = target.compile(cmd=imageio_ffmpeg.get_ffmpeg_exe())
    return command


def stream_moment(path: Path, start_s: float, end_s: float, *, deadline_s: float = DEADLINE_S) -> Iterator[bytes]:
    """Give the bytes of a moment while ffmpeg makes them; ffmpeg is stopped when nobody reads on.

    Args:
        path: as `moment_command`.
        start_s: likewise.
        end_s: likewise.
        deadline_s: how long ffmpeg may take; what it has made by then is all.

    Raises:
        ValueError: as `moment_command`, before anything is started.
    """
    return _run(moment_command(path, start_s, end_s), deadline_s)


def _run(command: list[str], deadline_s: float) -> Iterator[bytes]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    deadline = threading.Timer(deadline_s, process.kill)  # a read of a process that hangs ends with it alone
    deadline.daemon = True
    deadline.start()
    try:
        while chunk := process.stdout.read(_CHUNK_BYTES):
            yield chunk
    finally:
        deadline.cancel()
        process.kill()
        process.stdout.close()
        process.wait()
