"""The default decoder: PyAV, packet by packet, one thread; it goes on after damage and says what is doubtful."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from stages.media.container import nominal_frame_s, open_container, origin
from stages.media.damage import DamageTracker, Step
from stages.media.geometry import Geometry, Rgb
from stages.media.listening import listener
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
    """A container being decoded; see `decoders.base.OpenVideo`."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._container = container
        self._stream = stream
        self._context = stream.codec_context
        self._context.copy_opaque = True
        self._origin = origin(container)
        self._base = stream.time_base or Fraction(1, 1_000_000)
        self._frame_s = nominal_frame_s(stream)
        self._scalers: dict[Geometry, Scaler] = {}
        self._damage = DamageTracker()
        self._listener = listener()

    @property
    def num_errors(self) -> int:
        """See `DamageTracker`."""
        return self._damage.num_errors

    def frames(self) -> Iterator[PyavFrame]:
        """Give the frames forward; a packet that does not decode is counted and passed over."""
        last_s = -float("inf")
        for step, packet in self._steps():
            for picture in self._decode(step, packet):
                frame = self._frame(picture, step, last_s)
                last_s = max(last_s, frame.time_s)
                yield frame

    def _steps(self) -> Iterator[tuple[Step, "Packet[Any]"]]:
        """Give the packets with their places in the order of decoding; the last one is empty and drains the decoder."""
        for packet, lost_before in self._read():
            step = self._damage.step(lost_before=lost_before)
            if packet.size:
                packet.opaque = step
            yield step, packet

    def _read(self) -> Iterator[tuple["Packet[Any]", bool]]:
        return read_packets(self._container, self._stream)

    def _decode(self, step: Step, packet: "Packet[Any]") -> Iterable[av.VideoFrame]:
        heard = self._listener.num_complaints
        try:
            pictures = self._context.decode(packet if packet.size else None)
        except av.error.EOFError:
            return ()
        except MemoryError:  # the limit's fault, not the file's; PyAV's is an FFmpegError, too
            raise
        except FFmpegError:
            self._damage.fail(step)
            return ()
        if self._listener.num_complaints > heard:
            self._damage.fail(step)
        return pictures

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


class KeyframesVideo(PyavVideo):
    """A container of which keyframes alone are decoded: each depends on nothing but its own packet."""

    def _read(self) -> Iterator[tuple["Packet[Any]", bool]]:
        return (item for item in super()._read() if item[0].is_keyframe or not item[0].size)


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


class KeyframeDecoder:
    """Opens files with PyAV and decodes their keyframes alone; see `decoders.base.Decoder`."""

    @contextmanager
    def open(self, source: Source) -> Iterator[KeyframesVideo]:
        """Open a file, or a folder of pictures.

        Raises:
            DecodeError: as `container.open_container`.
        """
        with open_container(source) as (container, stream):
            yield KeyframesVideo(container, stream)


def quarter_turns(picture: av.VideoFrame) -> int:
    """Say by how many times 90 degrees counter-clockwise a picture must be turned for display."""
    turns: int = round(picture.rotation / 90)
    return turns % 4
