"""Opening a container, and its clock: which instant of the file a browser shows as 0."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from stages.errors import DecodeError
from stages.media.causes import (
    EMPTY_FILE,
    NO_FRAMES,
    NO_VIDEO_STREAM,
    NOT_MEDIA,
    UNREACHABLE,
    UNREADABLE,
    decode_error,
    normalise_words,
)
from stages.media.packets import avi_index
from stages.media.sources import FrameFolder, Source, folder_numbering

_AV_TIME_BASE = 1_000_000
# Errors of the disk, the network or this machine.
_NOT_THE_FILE = frozenset((errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE))
_LONG_GAP_S = 60.0
_SLACK_S = 0.5  # headers round, and promise a little more than there is
_FALLBACK_RATE = Fraction(25)  # what libavformat assumes too, for a stream that says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What the packets of a video say, without decoding them.

    Attributes:
        times_s: (P,) float64, the packets' presentation times, seconds on the browser's clock, ascending.
        keyframes_s: (K,) float64, those of packets that hold keyframes, ascending without repeats.
        end_s: end of the last frame on the same clock; 0 if there is no packet.
        container_end_s: end of the last packet of any stream.
        truncated: the header promises clearly more than the packets hold, or reading them failed.
    """

    times_s: NDArray[np.float64] = field(repr=False)
    keyframes_s: NDArray[np.float64] = field(repr=False)
    end_s: float
    container_end_s: float
    truncated: bool


@contextmanager
def open_container(source: Source) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file, or a folder of pictures, and its first video stream, cover pictures passed over.

    Its decoder has one thread, and says of a picture which packet it was made of.

    Raises:
        DecodeError: with the cause `unreadable`, `unreachable`, `empty_file`, `not_media`, `no_frames` or
            `no_video_stream`.
    """
    url, options = address(source)
    try:
        container = av.open(url, format=options.pop("format", None), options=options, metadata_errors="replace")
    except MemoryError:  # the limit's fault, not the file's; PyAV's is an FFmpegError, too
        raise
    except (FFmpegError, ValueError, OSError) as error:
        raise not_media(source, error) from error
    with container:
        streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not streams:
            held = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
            raise decode_error(
                NO_VIDEO_STREAM,
                f"{source.name}: no video stream, got {held}, expected a video; leave the file out or give one with "
                "pictures",
            )
        stream = streams[0]
        if stream.codec_context is None:
            raise decode_error(
                NOT_MEDIA, f"{source.name}: no decoder for its video stream; transcode it, for example to H.264"
            )
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        stream.codec_context.copy_opaque = True
        yield container, stream


def origin(container: InputContainer) -> Fraction:
    """Give the instant of the container's own clock that a browser shows as 0, exact, in seconds.

    A negative start is the priming of an audio codec, which no browser shows: the origin is then 0.
    """
    start = container.start_time
    if start is None or start <= 0:
        return Fraction(0)
    rounded = Fraction(start, _AV_TIME_BASE)
    # The container's start is a stream's start rounded to microseconds; the stream knows it exactly.
    exact = [s.start_time * s.time_base for s in container.streams if s.start_time is not None and s.time_base]
    near = [value for value in exact if abs(value - rounded) <= Fraction(2, _AV_TIME_BASE)]
    return min(near, key=lambda value: abs(value - rounded)) if near else rounded


def nominal_frame_s(stream: VideoStream) -> float:
    """Give how long a frame lasts where it does not say so itself, seconds."""
    rate = stream.average_rate or stream.guessed_rate or _FALLBACK_RATE
    return float(1 / rate) if rate > 0 else float(1 / _FALLBACK_RATE)


def address(source: Source) -> tuple[str, dict[str, str]]:
    """Give what libavformat is to open, and with which options.

    Raises:
        DecodeError: with the cause `unreadable`, `unreachable`, `empty_file` or `no_frames`.
    """
    # file: keeps a name such as "http:x.mp4" from being taken for an address.
    if not isinstance(source, FrameFolder):
        _check_file(source)
        return f"file:{source}", {}
    try:
        numbering = folder_numbering(source)
    except OSError as error:
        raise _unreadable(source, error) from error
    if numbering is None:
        raise decode_error(
            NO_FRAMES,
            f"{source.name}: no numbered pictures in this folder, expected frame_00001.jpg or the like and those that "
            "follow it; extract them again or leave the folder out",
        )
    folder = str(source.path).replace("%", "%%")
    options = {
        "format": "image2", "pattern_type": "sequence", "framerate": repr(source.frame_rate),
        "start_number": str(numbering.first),
    }  # fmt: skip
    return f"file:{folder}/{numbering.pattern}", options


def scan_timeline(source: Source) -> Timeline:
    """Read all packets without decoding them: what is there, whatever the header promises.

    Raises:
        DecodeError: as `open_container`.
    """
    most = source.num_frames if isinstance(source, FrameFolder) else None
    with open_container(source) as (container, stream):
        index = avi_index(container, stream)
        zero, frame_s, failed = origin(container), nominal_frame_s(stream), False
        shown: list[tuple[float, float]] = []
        keyframes_s: set[float] = set()
        others_end_s = 0.0
        try:
            for packet in container.demux():
                if packet.size == 0 or packet.is_discard:
                    continue
                if len(shown) == most:
                    break
                if packet.stream_index == stream.index:
                    if index is not None:
                        index.correct(packet)
                    shown.append(_interval(packet, zero, frame_s, shown))
                    if packet.is_keyframe:
                        keyframes_s.add(shown[-1][0])
                elif packet.stream.type == "audio":
                    others_end_s = max(others_end_s, _interval(packet, zero, 0.0, shown)[1])
        except MemoryError:
            raise
        except FFmpegError:
            failed = True
        kept = _without_strays(sorted(shown))
        end_s = max((end for _, end in kept), default=0.0)
        all_end_s = end_s if len(kept) < len(shown) else max(end_s, others_end_s)
        cut = _promised_s(stream) > end_s + _SLACK_S or _promised_by_header_s(container, zero) > all_end_s + _SLACK_S
        return Timeline(
            times_s=np.array([start for start, _ in kept], dtype=np.float64),
            keyframes_s=np.array(sorted(time for time in keyframes_s if time < end_s), dtype=np.float64),
            end_s=end_s,
            container_end_s=all_end_s,
            truncated=failed or len(kept) < len(shown) or cut,
        )


def _without_strays(shown: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leave out the few packets that a damaged time stamp puts hours away: nobody wants a still picture of that length.

    The timeline ends before the first gap that is longer than a minute and than all that lies before it, if the
    smaller part of the packets lies behind it.
    """
    times = np.array([start for start, _ in shown])
    leaps = np.flatnonzero(np.diff(times) > np.maximum(_LONG_GAP_S, times[:-1] - times[:1]))
    if len(leaps) and leaps[0] + 1 > len(shown) / 2:
        return [(start, min(end, start + _LONG_GAP_S)) for start, end in shown[: leaps[0] + 1]]
    return shown


def _interval(
    packet: "Packet[Any]", zero: Fraction, frame_s: float, before: list[tuple[float, float]]
) -> tuple[float, float]:
    """When a packet is shown, seconds; one without a time stamp follows the packet before it."""
    stamp = packet.pts if packet.pts is not None else packet.dts
    base = packet.time_base or Fraction(1, _AV_TIME_BASE)
    start_s = float(stamp * base - zero) if stamp is not None else (before[-1][1] if before else 0.0)
    return start_s, start_s + (float(packet.duration * base) if packet.duration else frame_s)


def not_media(source: Source, error: Exception) -> DecodeError:
    """Say that a file is no media file, with the library's words."""
    words = normalise_words(getattr(error, "strerror", None) or str(error))
    return decode_error(
        NOT_MEDIA,
        f"{source.name}: not a media file that can be read ({words}); expected a video container such as MP4, "
        "Matroska, WebM or AVI; check that the file is whole, or leave it out",
    )


def _promised_s(stream: VideoStream) -> float:
    """The stream's own duration by its header, seconds; 0 where it has none."""
    return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0


def _promised_by_header_s(container: InputContainer, zero: Fraction) -> float:
    """The whole file's end by its header, seconds; 0 where libavformat may have guessed it."""
    if container.duration is None or "matroska" not in container.format.name:
        return 0.0
    return float(Fraction(container.duration, _AV_TIME_BASE) - zero)  # the header counts from the clock's own 0


def _check_file(path: Path) -> None:
    try:
        size = os.stat(path).st_size  # noqa: PTH116 - one call for existence, permission and size
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if size == 0:
        raise decode_error(EMPTY_FILE, f"{path.name}: empty, got 0 bytes, expected a video; fetch or copy it again")


def _unreadable(source: Source, error: OSError) -> DecodeError:
    if error.errno in _NOT_THE_FILE:
        return decode_error(UNREACHABLE, f"{source.name}: cannot be read now ({error.strerror}); check what it lies on")
    return decode_error(
        UNREADABLE, f"{source.name}: cannot be read ({error.strerror}); check that it exists and its permissions"
    )
