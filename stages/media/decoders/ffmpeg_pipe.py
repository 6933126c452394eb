"""The ffmpeg program as a decoder: raw pictures through a pipe in the NUT container, which keeps their exact times.

ffmpeg turns pictures for display itself. It passes over damage like the default decoder but does not say which
frames are doubtful: any error line makes every frame of the file doubtful from then on.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import IO, Any

import av
import ffmpeg
import imageio_ffmpeg
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError

from stages.media.causes import NO_FRAMES, decode_error, normalise_words
from stages.media.container import Timeline, address, open_container, origin, scan_timeline
from stages.media.geometry import Geometry, Rgb
from stages.media.parents import die_with
from stages.media.scaling import Scaler
from stages.media.sources import Source

_SAME_TIME_S = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class FfmpegFrame:
    """A picture from the pipe; see `decoders.base.Frame`."""

    time_s: float
    duration_s: float
    corrupt: bool
    after_loss: bool
    picture: av.VideoFrame = field(repr=False)
    scalers: dict[Geometry, Scaler] = field(repr=False)

    def rgb(self, geometry: Geometry) -> Rgb:
        """Give the picture brought to `geometry`; it comes turned already."""
        return self.scalers.setdefault(geometry, Scaler(geometry))(self.picture, 0)


class FfmpegVideo:
    """A running ffmpeg; see `decoders.base.OpenVideo`."""

    def __init__(
        self, name: str, process: "subprocess.Popen[bytes]", log: IO[bytes], zero: Fraction, timeline: Timeline
    ) -> None:
        self._name = name
        self._process = process
        self._log = log
        self._origin = zero
        self._timeline = timeline
        self._scalers: dict[Geometry, Scaler] = {}

    @property
    def num_errors(self) -> int:
        """Lines of errors that ffmpeg has printed so far."""
        self._log.seek(0)
        return sum(1 for _ in self._log)

    def frames(self) -> Iterator[FfmpegFrame]:
        """Give the frames that come through the pipe."""
        try:
            pipe = av.open(self._process.stdout, format="nut")
        except MemoryError:
            raise
        except (FFmpegError, OSError) as error:
            self._process.wait()
            self._log.seek(0)
            words = normalise_words(self._log.read().decode(errors="replace"))
            raise decode_error(
                NO_FRAMES, f"{self._name}: ffmpeg gave no frame ({words}); leave the file out"
            ) from error
        with pipe:
            yield from self._read(pipe)

    def _read(self, pipe: InputContainer) -> Iterator[FfmpegFrame]:
        corrupt = False
        for picture in pipe.decode(video=0):
            if picture.pts is None or picture.time_base is None:
                continue
            time_s = float(picture.pts * picture.time_base - self._origin)
            corrupt = corrupt or self.num_errors > 0
            yield FfmpegFrame(
                time_s=time_s, duration_s=self._duration_s(time_s), corrupt=corrupt, after_loss=corrupt,
                picture=picture, scalers=self._scalers,
            )  # fmt: skip

    def _duration_s(self, time_s: float) -> float:
        """Until the next packet's time, or the end; NUT does not carry durations."""
        following = int(np.searchsorted(self._timeline.times_s, time_s + _SAME_TIME_S))
        if following < len(self._timeline.times_s):
            return float(self._timeline.times_s[following]) - time_s
        return max(self._timeline.end_s - time_s, _SAME_TIME_S)


class FfmpegDecoder:
    """Starts one ffmpeg for each file; see `decoders.base.Decoder`."""

    @contextmanager
    def open(self, source: Source) -> Iterator[FfmpegVideo]:
        """Open a file, or a folder of pictures.

        Raises:
            DecodeError: as `container.open_container`.
        """
        with open_container(source) as (container, stream):
            zero, index = origin(container), stream.index
        timeline = scan_timeline(source)
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                _command(source, index), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                preexec_fn=partial(die_with, os.getpid()),  # noqa: PLW1509 - a decode process has one thread
            )  # fmt: skip
            try:
                yield FfmpegVideo(source.name, process, log, zero, timeline)
            finally:
                process.kill()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()


def _command(source: Source, stream_index: int) -> list[str]:
    """The arguments of ffmpeg: no shell, local files only, time stamps as they are."""
    url, options = address(source)
    reads: dict[str, Any] = {**options, "protocol_whitelist": "file,pipe", "threads": 1, "copyts": None}
    writes: dict[str, Any] = {
        "format": "nut", "vcodec": "rawvideo", "pix_fmt": "rgb24", "fps_mode": "passthrough", "enc_time_base": "demux",
        "sws_flags": "bicubic+accurate_rnd+bitexact",
    }  # fmt: skip
    stream = ffmpeg.input(url, **reads)[str(stream_index)]
    output = ffmpeg.output(stream, "pipe:1", **writes).global_args("-nostdin", "-hide_banner", "-loglevel", "error")
    command: list[str] = output.compile(cmd=imageio_ffmpeg.get_ffmpeg_exe())
    return command
