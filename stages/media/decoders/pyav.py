"""The default decoder: PyAV, packet by packet; it goes on after damage and says what is doubtful."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from stages.media.container import nominal_frame_s, open_container, origin
from stages.media.damage import DamageTracker, Step
from stages.media.decoders.coded import Coded, Decoded, decode, parts
from stages.media.decoders.lanes import decode_side_by_side
from stages.media.geometry import Geometry, Rgb
from stages.media.packets import read_packets
from stages.media.scaling import Scaler
from stages.media.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class PyavFrame:
    """A frame of PyAV that is converted when asked; see `decoders.base.Frame`."""

    time_s: float
    duration_s: float
    corrupt: bool
    after_loss: bool
    picture: av.VideoFrame = field(repr=False)
    scalers: dict[Geometry, Scaler] = field(repr=False)

    def rgb(self, geometry: Geometry) -> Rgb:
        """Give the picture as displayed, brought to `geometry`."""
        scaler = self.scalers.setdefault(geometry, Scaler(geometry))
        return scaler(self.picture, quarter_turns(self.picture))


class PyavVideo:
    """A container being decoded, by one decoder; see `decoders.base.OpenVideo`."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._container = container
        self._stream = stream
        self._context = stream.codec_context
        self._origin = origin(container)
        self._base = stream.time_base or Fraction(1, 1_000_000)
        self._frame_s = nominal_frame_s(stream)
        self._scalers: dict[Geometry, Scaler] = {}
        self._damage = DamageTracker()

    @property
    def num_errors(self) -> int:
        """See `DamageTracker`."""
        return self._damage.num_errors

    def frames(self) -> Iterator[PyavFrame]:
        """Give the frames forward; a packet that does not decode is counted and passed over."""
        last_s = -float("inf")
        for decoded in self._decoded():
            step = decoded.coded.step
            self._damage.begin(step, lost_before=decoded.coded.lost_before)
            if decoded.failed:
                self._damage.fail(step)
            for picture in decoded.pictures:
                frame = self._frame(picture, step, last_s)
                last_s = max(last_s, frame.time_s)
                yield frame

    def _decoded(self) -> Iterator[Decoded]:
        return (decode(self._context, coded) for coded in self.coded())

    def coded(self) -> Iterator[Coded]:
        """Give the packets with their places in the order of decoding; the last one is empty and drains the decoder."""
        for index, (packet, lost_before) in enumerate(self._read()):
            step = Step(index)
            if packet.size:
                packet.opaque = step
            yield Coded(step, packet, lost_before)

    def _read(self) -> Iterator[tuple["Packet[Any]", bool]]:
        return read_packets(self._container, self._stream)

    def _frame(self, picture: av.VideoFrame, latest: Step, last_s: float) -> PyavFrame:
        """Judge a picture; one that does not say which packet it was made of is taken for that of the latest."""
        step = picture.opaque if isinstance(picture.opaque, Step) else latest
        verdict = self._damage.frame(step, keyframe=picture.key_frame, flagged=picture.is_corrupt)
        if picture.pts is None:
            time_s = max(last_s + self._frame_s, 0.0)
        else:
            time_s = float(picture.pts * self._base - self._origin)
        return PyavFrame(
            time_s=time_s, duration_s=float(picture.duration * self._base) if picture.duration else self._frame_s,
            corrupt=verdict.corrupt, after_loss=verdict.after_loss, picture=picture, scalers=self._scalers,
        )  # fmt: skip


class WholeVideo(PyavVideo):
    """A container that is decoded from its beginning to its end, where it can be in two threads."""

    def __init__(self, source: Source, container: InputContainer, stream: VideoStream) -> None:
        super().__init__(container, stream)
        self._source = source

    def _decoded(self) -> Iterator[Decoded]:
        return decode_side_by_side(parts(self.coded(), self._stream), self._context, self._another_context)

    @contextmanager
    def _another_context(self) -> Iterator[VideoCodecContext]:
        """A second decoder, with all that the container says to the first: its own is opened once more."""
        with open_container(self._source) as (_, stream):
            yield stream.codec_context


class KeyframesVideo(WholeVideo):
    """A container of which keyframes alone are decoded: each depends on nothing but its own packet."""

    def _read(self) -> Iterator[tuple["Packet[Any]", bool]]:
        return (item for item in super()._read() if item[0].is_keyframe or not item[0].size)


class PyavDecoder:
    """Opens files with PyAV; see `decoders.base.Decoder`."""

    @contextmanager
    def open(self, source: Source) -> Iterator[WholeVideo]:
        """Open a file, or a folder of pictures.

        Raises:
            DecodeError: as `container.open_container`.
        """
        with open_container(source) as (container, stream):
            yield WholeVideo(source, container, stream)


class KeyframeDecoder:
    """Opens files with PyAV and decodes their keyframes alone; see `decoders.base.Decoder`."""

    @contextmanager
    def open(self, source: Source) -> Iterator[KeyframesVideo]:
        """Open a file, or a folder of pictures.

        Raises:
            DecodeError: as `container.open_container`.
        """
        with open_container(source) as (container, stream):
            yield KeyframesVideo(source, container, stream)


def quarter_turns(picture: av.VideoFrame) -> int:
    """Say by how many times 90 degrees counter-clockwise a picture must be turned for display."""
    turns: int = round(picture.rotation / 90)
    return turns % 4
