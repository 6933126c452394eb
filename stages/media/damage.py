"""Which frames may differ from the undamaged file's: bookkeeping over packets in their order, no library.

An error in a packet makes doubtful what it holds and all that is decoded after it, up to the next keyframe that is
itself clean. Frames that are shown before that keyframe but decoded after it (leading pictures of an open group) may
still be predicted from what lies before it; they come out before it, and stay doubtful.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Step:
    """One packet on its way through the decoder.

    Attributes:
        index: in the order of decoding.
        failed: an error was met while it was decoded.
    """

    index: int
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is known of a frame as it comes out.

    Attributes:
        corrupt: its content may differ from the undamaged file's.
        after_loss: frames may be missing between the one that came out before it and this one.
    """

    corrupt: bool
    after_loss: bool


class DamageTracker:
    """Follows one stream from its first packet to its last frame.

    Attributes:
        num_errors: packets that were lost or did not decode cleanly, and frames flagged as corrupt.
    """

    def __init__(self) -> None:
        self.num_errors = 0
        self._open: list[int] = []  # ascending; what is decoded after any of these indices is doubtful

    def begin(self, step: Step, *, lost_before: bool) -> None:
        """Begin a packet.

        Args:
            step: it, those before it have begun.
            lost_before: what lay between it and the one before could not be read.
        """
        if lost_before:
            # The packet itself is whole: a keyframe there ends the doubt that begins just before it.
            self._note(step.index - 1)

    def fail(self, step: Step) -> None:
        """Note an error that was met while a packet was decoded; once a packet."""
        if not step.failed:
            step.failed = True
            self._note(step.index)

    def frame(self, step: Step, *, keyframe: bool, flagged: bool) -> Verdict:
        """Judge a frame; call in the order in which frames come out.

        Args:
            step: the packet that it was made of.
            keyframe: it is predicted from nothing.
            flagged: the decoder says that it is corrupt.
        """
        after_loss = bool(self._open)
        if flagged:
            self.fail(step)
        elif keyframe and not step.failed:
            del self._open[: bisect_left(self._open, step.index)]
        predicted_from_doubt = bool(self._open) and self._open[0] < step.index
        return Verdict(corrupt=step.failed or predicted_from_doubt, after_loss=after_loss)

    def _note(self, index: int) -> None:
        self.num_errors += 1
        insort(self._open, index)


class HoleWatch:
    """Notices bytes of a file that no packet holds: what was there could not be read.

    For containers that lay packets end to end, such as Matroska; all streams' packets have to pass.
    """

    _LARGEST_HEADER = 64  # of a cluster and its first block; the real ones are below 30 bytes

    def __init__(self) -> None:
        self._end: int | None = None

    def passes(self, position: int, size: int) -> bool:
        """Take the next packet; returns whether there is a hole before it."""
        hole = self._end is not None and position - self._end > self._LARGEST_HEADER
        self._end = max(self._end or 0, position + size)
        return hole
