"""The records of this room, one a hop: words of cues, narrations, paragraphs.

Times are float64 seconds, intervals half-open [start_s, end_s).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word as it stands in a transcript: no white space inside, its punctuation attached.

    Attributes:
        text: the word.
        start_s: when it begins.
        end_s: when it ends, never before start_s.
        stamped: the transcript itself times this word; if not, it was placed between neighbours that are timed.
        starts_line: it is the first of a line of its cue. Rolling captions repeat whole lines.
    """

    text: str
    start_s: float
    end_s: float
    stamped: bool = False
    starts_line: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """What a transcript shows at one time, or several such cues joined because they repeat each other.

    Attributes:
        start_s: when it appears.
        end_s: when it goes, after start_s.
        words: what it says, in order; may be empty.
    """

    start_s: float
    end_s: float
    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """The words joined by spaces."""
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One transcript file as read.

    Attributes:
        cues: in order of start_s.
        problems: one message (file, line, got, expected) for each cue that had to be left out.
    """

    cues: tuple[Cue, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Narration:
    """One timed sentence."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """A run of consecutive narrations of one video.

    Attributes:
        first_narration: index of its first one among those it was made of.
        narrations: at least one, in their order.
    """

    first_narration: int
    narrations: tuple[Narration, ...]

    @property
    def start_s(self) -> float:
        """When the earliest narration begins."""
        return min(narration.start_s for narration in self.narrations)

    @property
    def end_s(self) -> float:
        """When the latest narration ends."""
        return max(narration.end_s for narration in self.narrations)
