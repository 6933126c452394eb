"""Times in transcripts: `[hours:]minutes:seconds[.fraction]`, with a dot (WebVTT) or a comma (SRT)."""

import re
from dataclasses import dataclass

_TIME = r"(?:\d{1,6}:)?\d{1,2}:\d{1,2}(?:[.,]\d{1,9})?"
_RANGE = re.compile(rf"\s*({_TIME})\s*-->\s*({_TIME})(?=\s|$)")
_PARTS = re.compile(r"(?:(\d{1,6}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?")


@dataclass(frozen=True, slots=True)
class TimingProblem:
    """Why a line with an arrow gives no interval."""

    got: str
    expected: str


def parse_time(text: str) -> float | None:
    """Seconds of one time, or None if it is none (minutes and seconds are below 60)."""
    match = _PARTS.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds = int(match[1] or 0), int(match[2]), int(match[3])
    if minutes > 59 or seconds > 59:
        return None
    # One rounding only, so that equal times in a file are equal floats.
    return float(f"{hours * 3600 + minutes * 60 + seconds}.{match[4] or 0}")


def format_time(time_ms: int) -> str:
    """`hh:mm:ss.mmm` of whole milliseconds."""
    minutes, milliseconds = divmod(time_ms, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"


def parse_range(line: str) -> tuple[float, float] | TimingProblem:
    """The interval of a cue's timing line; what follows the second time (cue settings) is ignored.

    Args:
        line: a line that holds `-->`.

    Returns:
        (start_s, end_s) with start_s < end_s, or what is wrong.
    """
    match = _RANGE.match(line)
    start_s, end_s = (parse_time(match[1]), parse_time(match[2])) if match else (None, None)
    if start_s is None or end_s is None:
        return TimingProblem(got=repr(line.strip()[:80]), expected="'00:00:01.000 --> 00:00:02.000'")
    if end_s <= start_s:
        return TimingProblem(
            got=f"{line.strip()[:80]!r}, which does not end after its start", expected="an end after the start"
        )
    return start_s, end_s
