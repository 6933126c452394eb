"""Packets on their way through a decoder of libav, and where a stream can be cut so that its parts decode side by side.

A closed group of pictures depends on nothing that lies before it. That it begins with a keyframe does not say so: what
is shown before that, but lies behind it (leading pictures of an open group), is predicted from the group before.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import av
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from stages.media.damage import Step
from stages.media.listening import listener

_LEAST_PACKETS = 12
"""Of a part: handing over to another decoder costs as much as some small frames."""
_MOST_BYTES = 32 << 20
"""Of a part, all of which is held in memory; a longer group of pictures is one part and its continuations."""

_SLICE, _IDR_SLICE = 1, 5
_START_CODE = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Coded:
    """A packet.

    Attributes:
        step: its place in the order of decoding.
        packet: an empty one drains the decoder.
        lost_before: what lay between it and the one before could not be read.
    """

    step: Step
    packet: "Packet[Any]"
    lost_before: bool = False


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a decoder made of a packet: the pictures that came out, and whether something was wrong with it."""

    coded: Coded
    pictures: Sequence[av.VideoFrame]
    failed: bool


@dataclass(frozen=True, slots=True)
class Part:
    """Packets in a row.

    Attributes:
        coded: at least one.
        afresh: they decode without those before them.
    """

    coded: Sequence[Coded]
    afresh: bool


def decode(context: VideoCodecContext, coded: Coded) -> Decoded:
    """Decode one packet, in whichever thread."""
    heard = listener()
    complaints = heard.num_complaints
    try:
        pictures = context.decode(coded.packet if coded.packet.size else None)
    except av.error.EOFError:
        return Decoded(coded, (), False)
    except MemoryError:  # the limit's fault, not the file's; PyAV's is an FFmpegError, too
        raise
    except FFmpegError:
        return Decoded(coded, (), True)
    return Decoded(coded, pictures, heard.num_complaints > complaints)


def parts(coded: Iterable[Coded], stream: VideoStream) -> Iterator[Part]:
    """Cut a stream where it can be, reading one part at a time; joined they are the stream.

    Behind a packet that brings other parameters than the file begins with nothing is afresh: they are not repeated.
    """
    restarts = _restarts(stream)
    held: list[Coded] = []
    size, changed = 0, False
    for item in coded:
        cut = item.packet.is_keyframe and item.packet.size and len(held) >= _LEAST_PACKETS
        if held and (cut or size > _MOST_BYTES):
            yield Part(held, not changed and _afresh(held, restarts))
            held, size = [], 0
        held.append(item)
        size += item.packet.size
        changed |= item.packet.has_sidedata("new_extradata")
    yield Part(held, not changed and _afresh(held, restarts))


def _afresh(coded: Sequence[Coded], restarts: Callable[[bytes], bool]) -> bool:
    first = coded[0].packet
    if not first.size or not first.is_keyframe or first.pts is None:
        return False
    shown = (item.packet.pts for item in coded if item.packet.size)
    return all(pts is not None and pts >= first.pts for pts in shown) and restarts(bytes(first))


def _restarts(stream: VideoStream) -> Callable[[bytes], bool]:
    """Whether a decoder can begin with a keyframe, if it has no leading pictures.

    In HEVC and VP9 it can, by their standards. In H.264 containers and parsers also call a keyframe what begins with a
    recovery point, from which decoders only get better. Of other codecs we do not say: they are fast enough.
    """
    codec = stream.codec_context.codec.canonical_name
    if codec == "h264":
        extradata = stream.codec_context.extradata or b""
        length_size = (extradata[4] & 3) + 1 if len(extradata) > 4 and extradata[0] == 1 else 0
        return lambda packet: _is_idr(packet, length_size)
    return lambda packet: codec in ("hevc", "vp9")


def _is_idr(packet: bytes, length_size: int) -> bool:
    """Whether the first slice of an H.264 picture is one of an instantaneous refresh; `length_size` 0: start codes."""
    kinds = _kinds_behind_lengths(packet, length_size) if length_size else _kinds_behind_start_codes(packet)
    return next((kind for kind in kinds if _SLICE <= kind <= _IDR_SLICE), None) == _IDR_SLICE


def _kinds_behind_lengths(packet: bytes, length_size: int) -> Iterator[int]:
    place = 0
    while place + length_size < len(packet):
        yield packet[place + length_size] & 31
        place += length_size + int.from_bytes(packet[place : place + length_size])


def _kinds_behind_start_codes(packet: bytes) -> Iterator[int]:
    return (found[1][0] & 31 for found in _START_CODE.finditer(packet))
