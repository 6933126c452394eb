"""What decoders have in common whose libraries give whole RGB pictures by number, and no word of damage."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from stages.errors import DecodeError
from stages.media.causes import UNSUPPORTED, decode_error, normalise_words
from stages.media.container import Timeline, scan_timeline
from stages.media.geometry import Geometry, Rgb
from stages.media.scaling import Scaler
from stages.media.sources import FrameFolder, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFrame:
    """A picture that is RGB already, turned for display; see `decoders.base.Frame`."""

    time_s: float
    duration_s: float
    pixels: Rgb = field(repr=False)
    scalers: dict[Geometry, Scaler] = field(repr=False)
    corrupt: bool = False
    after_loss: bool = False

    def rgb(self, geometry: Geometry) -> Rgb:
        """Give the picture brought to `geometry`."""
        picture = av.VideoFrame.from_ndarray(self.pixels, format="rgb24")
        return self.scalers.setdefault(geometry, Scaler(geometry))(picture, 0)


class PixelVideo:
    """A file whose pictures are read by number; see `decoders.base.OpenVideo`."""

    num_errors = 0

    def __init__(self, timeline: Timeline, read: Callable[[int], Rgb]) -> None:
        """Start.

        Args:
            timeline: of the packets: when each picture is shown.
            read: gives picture k, forward; DecodeError if anything is damaged.
        """
        self._timeline = timeline
        self._read = read

    def frames(self) -> Iterator[PixelFrame]:
        """Give the frames forward.

        Raises:
            DecodeError: anything in the file is damaged.
        """
        scalers: dict[Geometry, Scaler] = {}
        times = self._timeline.times_s
        durations = np.diff(np.append(times, self._timeline.end_s)).tolist()
        for number, (time_s, duration_s) in enumerate(zip(times.tolist(), durations, strict=True)):
            yield PixelFrame(time_s=time_s, duration_s=duration_s, pixels=self._read(number), scalers=scalers)


def read_timeline(source: Source, library: str) -> tuple[Path, Timeline]:
    """Give the path and the packets' timeline of a file whose every packet is a picture of its own time.

    Raises:
        DecodeError: as `container.open_container`; or `unsupported` for a folder, and for two packets with one time
            stamp, of which one is hidden (VP8's reference frames): these libraries take it for a picture.
    """
    if isinstance(source, FrameFolder):
        raise refused(source.name, library, "it reads files only, no folders of pictures")
    timeline = scan_timeline(source)
    if not len(timeline.times_s) or np.any(np.diff(timeline.times_s) <= 0):
        raise refused(source.name, library, "its list of frames is not that of the packets, as with hidden frames")
    return source, timeline


def refused(name: str, library: str, words: str) -> DecodeError:
    """Say that a library cannot decode a file, and what can."""
    return decode_error(
        UNSUPPORTED,
        f"{name}: {library} cannot decode it ({normalise_words(words)}); use the decoder 'pyav', which can",
    )
