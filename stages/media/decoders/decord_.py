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
from stages.media.container import open_container
from stages.media.decoders.pixels import PixelVideo, read_timeline, refused
from stages.media.geometry import Rgb
from stages.media.sources import Source

_LIBRARY = "decord"
_CLOCK = re.compile(r"\[\d\d:\d\d:\d\d\] ")


class DecordDecoder:
    """Opens files with decord; see `decoders.base.Decoder`."""

    @contextmanager
    def open(self, source: Source) -> Iterator[PixelVideo]:
        """Open a file.

        Raises:
            DecodeError: as `container.open_container`, or `unsupported` where decord cannot open it.
        """
        path, timeline = read_timeline(source, _LIBRARY)
        with open_container(path) as (container, _):
            if "mpegts" in container.format.name:
                words = "its first read of a transport stream does not start at the first frame"
                raise refused(path.name, _LIBRARY, words)
        try:
            reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
            stamps = np.asarray(reader.get_frame_timestamp(range(len(reader))), dtype=np.float64)[:, 0]
        except (decord.DECORDError, RuntimeError) as error:
            raise _refused(path.name, error) from error
        times_s = timeline.times_s
        # decord's stamps are float32 and start at the first frame.
        if len(stamps) != len(times_s) or not np.allclose(stamps - stamps[0], times_s - times_s[0], 1e-6, 2e-3):
            raise refused(path.name, _LIBRARY, "its list of frames is not that of the packets, as with edit lists")

        def read(number: int) -> Rgb:
            try:
                pixels: Rgb = reader.next().asnumpy()
            except (decord.DECORDError, StopIteration) as error:
                raise _refused(path.name, error) from error
            return pixels

        yield PixelVideo(timeline, read)


def _refused(name: str, error: Exception) -> DecodeError:
    return refused(name, _LIBRARY, _CLOCK.sub("", str(error).partition("Stack trace")[0]))
