"""Reading a stream's packets, and noticing what lies between them that could not be read."""

from collections.abc import Iterator
from typing import Any

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from stages.media.damage import HoleWatch
from stages.media.listening import listener

_CHUNK_HEADER = 8


class AviIndex:
    """Which packet of an AVI lies where.

    The demuxer numbers the packets that it finds: behind some that are lost, all others would come too early. The
    file's index knows the number of each.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._stamps = {entry.pos + _CHUNK_HEADER: entry.timestamp for entry in stream.index_entries}
        self._shift = 0

    def correct(self, packet: "Packet[Any]") -> bool:
        """Give a packet of the stream its own time stamps; returns whether some before it were lost."""
        stamp = self._stamps.get(packet.pos) if packet.pos is not None else None
        if stamp is None or packet.dts is None:
            return False
        before, self._shift = self._shift, stamp - packet.dts
        packet.dts += self._shift
        if packet.pts is not None:
            packet.pts += self._shift
        return self._shift != before


def avi_index(container: InputContainer, stream: VideoStream) -> AviIndex | None:
    """The index of a stream, if the file is an AVI."""
    return AviIndex(stream) if container.format.name == "avi" else None


def read_packets(container: InputContainer, stream: VideoStream) -> Iterator[tuple["Packet[Any]", bool]]:
    """Read to the end of the file, or to where it cannot be read on.

    Yields:
        The stream's packets, an empty one last, each with whether something before it could not be read.
    """
    # Matroska lays packets end to end; those of all streams have to pass for a hole to be seen.
    holes = HoleWatch() if "matroska" in container.format.name else None
    index, heard = avi_index(container, stream), listener()
    lost, complaints = False, heard.num_complaints
    try:
        for packet in container.demux(*([] if holes else [stream])):
            lost |= packet.is_corrupt or heard.num_complaints > complaints
            if packet.size and packet.stream_index == stream.index and index is not None:
                lost |= index.correct(packet)
            if packet.size and packet.pos is not None and holes is not None:
                lost |= holes.passes(packet.pos, packet.size)
            if packet.size and packet.stream_index == stream.index:
                yield packet, lost
                lost = False
            complaints = heard.num_complaints
    except MemoryError:  # the limit's fault, not the file's; PyAV's is an FFmpegError, too
        raise
    except FFmpegError:  # the file ends in the middle of a packet
        lost = True
    yield Packet(), lost
