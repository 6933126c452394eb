"""The captions table: a CSV `video,start_s,end_s,text`, one narration a row; empty times mean the whole video."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.errors import BadTranscript
from stages.text.csvfile import CsvRow, read_csv
from stages.text.records import Narration

COLUMNS = ("video", "start_s", "end_s", "text")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row.

    Attributes:
        video: any name of the video.
        start_s: when it begins, None for the whole video.
        end_s: when it ends, None for the whole video.
        text: the narration.
        problem: why it is no narration ('' if it is one): file, line, column, got, expected.
    """

    video: str
    start_s: float | None
    end_s: float | None
    text: str
    problem: str = ""

    def narration(self, duration_s: float) -> Narration:
        """The narration in a video of this duration.

        Raises:
            BadTranscript: the row is malformed.
        """
        if self.problem:
            raise BadTranscript(self.problem)
        start_s, end_s = self.start_s or 0.0, duration_s if self.end_s is None else self.end_s
        return Narration(start_s=start_s, end_s=end_s, text=self.text)


def read_table(path: Path) -> list[TableRow]:
    """Read a captions table.

    A malformed row is kept with its problem, since it spoils only the video that it names.

    Raises:
        ConfigError: the file is no such table.
    """
    return [_table_row(row, path.name) for row in read_csv(path, COLUMNS)]


def _table_row(row: CsvRow, name: str) -> TableRow:
    fields = row.fields
    start_s, end_s = _seconds(fields["start_s"]), _seconds(fields["end_s"])
    problem = row.problem
    if not problem and (found := _problem(fields, start_s, end_s)):
        column, expected = found
        problem = f"{name}:{row.line}: column {column}: got {fields[column][:80]!r}, expected {expected}"
    if problem:
        start_s = end_s = None
    return TableRow(
        video=fields["video"], start_s=start_s, end_s=end_s, text=" ".join(fields["text"].split()), problem=problem
    )


def _seconds(text: str) -> float | None:
    """A time, None for an empty field, NaN for what is no time."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return math.nan
    return seconds if 0 <= seconds < math.inf else math.nan


def _problem(fields: Mapping[str, str], start_s: float | None, end_s: float | None) -> tuple[str, str] | None:
    """(column, expected) of the first field that is wrong."""
    if not fields["video"]:
        return "video", "a name of a video"
    for column, seconds in (("start_s", start_s), ("end_s", end_s)):
        if seconds is not None and math.isnan(seconds):
            return column, "seconds from 0 on, such as 12.5, or nothing"
    if (start_s is None) != (end_s is None):
        return ("start_s" if start_s is None else "end_s"), "both times, or neither for the whole video"
    if start_s is not None and end_s is not None and end_s <= start_s:
        return "end_s", f"more than start_s, which is {start_s:g}"
    if not fields["text"]:
        return "text", "a sentence"
    return None
