"""The default decoder: PyAV, packet by packet, one thread; it goes on after damage and says what is doubtful."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import PictureType
from av.video.stream import VideoStream

from stages.media.container import nominal_frame_s, open_container, origin
from stages.media.geometry import Geometry, Rgb, Scaler
from stages.media.sources import Source

_MOST_HELD = 16
"""Codecs reorder by at most this many frames; it bounds how many wait for the frame that ends a run of B-frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PyavFrame:
    """A frame of PyAV that is converted when asked; see `decoders.base.Frame`."""

    time_s: float
    duration_s: float
    corrupt: bool
    picture: av.VideoFrame = field(repr=False)
    scalers: dict[Geometry, Scaler] = field(repr=False)

    def rgb(self, geometry: Geometry) -> Rgb:
        """Give the picture as displayed, brought to `geometry`."""
        scaler = self.scalers.setdefault(geometry, Scaler(geometry))
        return scaler(self.picture, quarter_turns(self.picture))


class PyavVideo:
    """A container being decoded; see `decoders.base.OpenVideo`."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self.num_errors = 0
        self._container = container
        self._stream = stream
        self._origin = origin(container)
        self._base = stream.time_base or Fraction(1, 1_000_000)
        self._frame_s = nominal_frame_s(stream)
        self._scalers: dict[Geometry, Scaler] = {}
        self._dirty = False

    def frames(self) -> Iterator[PyavFrame]:
        """Give the frames forward; a packet that does not decode is counted and passed over."""
        held: list[PyavFrame] = []
        for frame in self._ascending():
            held.append(frame)
            if frame.picture.pict_type != PictureType.B or len(held) == _MOST_HELD:
                yield from _spread(held)
                held = []
        yield from _spread(held)

    def _ascending(self) -> Iterator[PyavFrame]:
        last_s = -float("inf")
        for packet in self._packets():
            for picture in self._decode(packet):
                frame = self._frame(picture, last_s)
                if frame.time_s <= last_s:  # two frames with one time stamp: the first is shown
                    continue
                last_s = frame.time_s
                yield frame

    def _packets(self) -> Iterator["Packet[Any]"]:
        try:
            yield from self._container.demux(self._stream)
        except FFmpegError:
            # The file ends in the middle of a packet: what the decoder still holds is drained.
            self.num_errors += 1
            self._dirty = True
            yield Packet()

    def _decode(self, packet: "Packet[Any]") -> list[av.VideoFrame]:
        try:
            return self._stream.codec_context.decode(packet if packet.size else None)
        except av.error.EOFError:
            return []
        except FFmpegError:
            self.num_errors += 1
            self._dirty = True
            return []

    def _frame(self, picture: av.VideoFrame, last_s: float) -> PyavFrame:
        duration_s = float(picture.duration * self._base) if picture.duration else self._frame_s
        if picture.is_corrupt:
            self.num_errors += 1
            self._dirty = True
        elif picture.key_frame:
            self._dirty = False  # nothing before a clean keyframe reaches beyond it
        if picture.pts is None:
            time_s = max(last_s + self._frame_s, 0.0)
        else:
            time_s = float(picture.pts * self._base - self._origin)
        return PyavFrame(
            time_s=time_s, duration_s=duration_s, corrupt=self._dirty, picture=picture, scalers=self._scalers
        )


class PyavDecoder:
    """Opens files with PyAV; see `decoders.base.Decoder`."""

    @contextmanager
    def open(self, source: Source) -> Iterator[PyavVideo]:
        """Open a file, or a folder of pictures.

        Raises:
            DecodeError: as `container.open_container`.
        """
        with open_container(source) as (container, stream):
            yield PyavVideo(container, stream)


def _spread(held: list[PyavFrame]) -> list[PyavFrame]:
    """Let damage reach back over the B-frames before it: they may be predicted from what is shown after them."""
    if any(frame.corrupt for frame in held):
        return [*(replace(frame, corrupt=True) for frame in held[:-1]), *held[-1:]]
    return held


def quarter_turns(picture: av.VideoFrame) -> int:
    """Say by how many times 90 degrees counter-clockwise a picture must be turned for display."""
    turns: int = round(picture.rotation / 90)
    return turns % 4
