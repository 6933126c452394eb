"""torchcodec as a decoder, where it imports: it wants FFmpeg's shared libraries on the machine, and it brings torch.

Any damage is an error, and ends what can be read of a file. Times are those of the packets; where torchcodec's own
list of frames is another one, the file is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from stages.errors import ConfigError, DecodeError
from stages.media.container import Timeline, open_container, scan_timeline
from stages.media.decoders.pixels import PixelFrame, refused
from stages.media.geometry import Geometry, Scaler
from stages.media.sources import FrameFolder, Source

try:
    from torchcodec.decoders import VideoDecoder
except (ImportError, RuntimeError, OSError) as error:
    raise ConfigError(
        f"decoder: torchcodec does not import here ({str(error).strip().splitlines()[0]}); install it with the FFmpeg "
        "libraries that it wants, or use the decoder 'pyav'"
    ) from error

_SAME_TIME_S = 2e-3


class TorchcodecVideo:
    """An open decoder; see `decoders.base.OpenVideo`."""

    num_errors = 0

    def __init__(self, name: str, decoder: Any, timeline: Timeline) -> None:
        self._name = name
        self._decoder = decoder
        self._timeline = timeline

    def frames(self) -> Iterator[PixelFrame]:
        """Give the frames forward.

        Raises:
            DecodeError: anything in the file is damaged.
        """
        scalers: dict[Geometry, Scaler] = {}
        times = self._timeline.times_s
        durations = np.diff(np.append(times, self._timeline.end_s)).tolist()
        offset_s: float | None = None
        for number, (time_s, duration_s) in enumerate(zip(times.tolist(), durations, strict=True)):
            try:
                frame = self._decoder.get_frame_at(number)
            except RuntimeError as error:
                raise _refused(self._name, str(error)) from error
            ahead_s = frame.pts_seconds - time_s  # torchcodec counts from another zero, the same for all frames
            offset_s = ahead_s if offset_s is None else offset_s
            if abs(ahead_s - offset_s) > _SAME_TIME_S:
                raise _refused(self._name, f"its frame {number} is not shown when its packet says")
            yield PixelFrame(time_s=time_s, duration_s=duration_s, pixels=frame.data.numpy(), scalers=scalers)


class TorchcodecDecoder:
    """Opens files with torchcodec; see `decoders.base.Decoder`."""

    @contextmanager
    def open(self, source: Source) -> Iterator[TorchcodecVideo]:
        """Open a file.

        Raises:
            DecodeError: as `container.open_container`, or `unsupported` where torchcodec cannot open it.
        """
        if isinstance(source, FrameFolder):
            raise _refused(source.name, "it reads files only, no folders of pictures")
        with open_container(source) as (_, stream):
            index = stream.index
        timeline = scan_timeline(source)
        try:
            decoder = VideoDecoder(
                str(source), stream_index=index, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact"
            )
        except (RuntimeError, ValueError) as error:
            raise _refused(source.name, str(error)) from error
        if len(decoder) != len(timeline.times_s) or np.any(np.diff(timeline.times_s) <= 0):
            raise _refused(source.name, "its list of frames is not that of the packets")
        yield TorchcodecVideo(source.name, decoder, timeline)


def _refused(name: str, words: str) -> DecodeError:
    return refused(name, "torchcodec", words)
