"""decord as a decoder: fast on whole files of the codecs that its FFmpeg of 2018 knows; any damage is an error.

It replaces frames that do not decode by their neighbours without a word, so that nothing it gives can be called
damaged or sound; a file with AV1 it cannot open at all. Times are those of the packets; where decord's own list of
frames is another one (edit lists, hidden frames: its frames would be wrong) the file is refused.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import decord
import numpy as np

from stages.errors import DecodeError
from stages.media.container import Timeline, open_container, scan_timeline
from stages.media.decoders.pixels import PixelFrame, refused, same_frames
from stages.media.geometry import Geometry, Scaler
from stages.media.sources import FrameFolder, Source

_CLOCK = re.compile(r"\[\d\d:\d\d:\d\d\] ")


class DecordVideo:
    """An open reader; see `decoders.base.OpenVideo`."""

    num_errors = 0

    def __init__(self, name: str, reader: "decord.VideoReader", timeline: Timeline) -> None:
        self._name = name
        self._reader = reader
        self._timeline = timeline

    def frames(self) -> Iterator[PixelFrame]:
        """Give the frames forward.

        Raises:
            DecodeError: anything in the file is damaged.
        """
        scalers: dict[Geometry, Scaler] = {}
        times = self._timeline.times_s
        ends = np.append(times[1:], self._timeline.end_s)
        for start_s, end_s in zip(times.tolist(), ends.tolist(), strict=True):
            try:
                pixels = self._reader.next().asnumpy()
            except (decord.DECORDError, StopIteration) as error:
                raise _refused(self._name, str(error)) from error
            if end_s > start_s:
                yield PixelFrame(time_s=start_s, duration_s=end_s - start_s, pixels=pixels, scalers=scalers)


class DecordDecoder:
    """Opens files with decord; see `decoders.base.Decoder`."""

    @contextmanager
    def open(self, source: Source) -> Iterator[DecordVideo]:
        """Open a file.

        Raises:
            DecodeError: as `container.open_container`, or `unsupported` where decord cannot open it.
        """
        if isinstance(source, FrameFolder):
            raise _refused(source.name, "it reads files only, no folders of pictures")
        with open_container(source) as (container, _):
            if "mpegts" in container.format.name:
                raise _refused(source.name, "its first read of a transport stream does not start at the first frame")
        timeline = scan_timeline(source)
        try:
            reader = decord.VideoReader(str(source), ctx=decord.cpu(0), num_threads=1)
            stamps = np.asarray(reader.get_frame_timestamp(range(len(reader))), dtype=np.float64)[:, 0]
        except (decord.DECORDError, RuntimeError) as error:
            raise _refused(source.name, str(error)) from error
        if not same_frames(stamps, timeline.times_s):
            raise _refused(
                source.name, "its list of frames is not that of the packets, as with edit lists and hidden frames"
            )
        yield DecordVideo(source.name, reader, timeline)


def _refused(name: str, words: str) -> DecodeError:
    return refused(name, "decord", _CLOCK.sub("", words.partition("Stack trace")[0]))
