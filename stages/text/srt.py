"""SRT -> cues. It has no standard: only the timing lines are relied on.

Numbers may be missing, wrong or repeated, blank lines may stand inside a text or be missing between cues, times may
have dots, and a position (`X1:40 X2:600`) may follow them.
"""

import re
from collections.abc import Iterator, Sequence

from stages.errors import BadTranscript
from stages.text.records import Transcript
from stages.text.timestamps import TimingProblem, parse_range
from stages.text.webvtt import ARROW, read_cues

_LINES_TO_SNIFF = 12
_NUMBER = re.compile(r"\d{1,9}")


def is_srt(text: str) -> bool:
    """Whether a timing line that can be read stands within the first lines."""
    head = (line for line in text.split("\n", 4 * _LINES_TO_SNIFF) if line.strip())
    return any(
        ARROW in line and not isinstance(parse_range(line), TimingProblem)
        for line, _ in zip(head, range(_LINES_TO_SNIFF), strict=False)
    )


def parse_srt(text: str, name: str) -> Transcript:
    """Read an SRT file.

    Args:
        text: decoded, with the line feed as line ending.
        name: what to call the file in messages.

    Raises:
        BadTranscript: it has no timing line, or not one that can be read.
    """
    lines = text.split("\n")
    if ARROW not in text:
        first = next(index for index, line in enumerate(lines) if line.strip())
        raise BadTranscript(
            f"{name}:{first + 1}: got {lines[first].strip()[:80]!r} and no line with '-->', expected an SRT file with "
            "lines such as '00:00:01,000 --> 00:00:02,000'"
        )
    return read_cues(_cue_blocks(lines), lines, name)


def _cue_blocks(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    timings = [index for index, line in enumerate(lines) if ARROW in line]
    number: int | None = None
    for timing, following in zip(timings, [*timings[1:], None], strict=True):
        if timing > 0 and _NUMBER.fullmatch(lines[timing - 1].strip()):
            number = int(lines[timing - 1])
        end = len(lines) if following is None else following
        if following is not None and _is_number(lines, following - 1, timing, number):
            end -= 1
        yield timing, "\n".join(line for line in lines[timing + 1 : end] if line.strip())


def _is_number(lines: Sequence[str], index: int, timing: int, number: int | None) -> bool:
    """Whether a line is the next cue's number: digits below a blank line, or the number that is due."""
    line = lines[index].strip()
    if index <= timing or not _NUMBER.fullmatch(line):
        return False
    return not lines[index - 1].strip() or (number is not None and int(line) == number + 1)
