"""Text files of data sets, line by line: lists, and tables with and without a header."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stages.errors import BadTranscript, ConfigError
from stages.text.csvfile import read_csv
from stages.text.encoding import decode_text

_DIGITS = 15  # of a whole number: beyond any count
# fmt: off
_SUFFIXES = frozenset((
    ".3g2", ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".mts", ".webm", ".wmv",
))
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a list.

    Attributes:
        path: the file.
        number: of the line, from 1.
        fields: what stands in it, white space at both ends removed.
    """

    path: Path
    number: int
    fields: tuple[str, ...]

    def wrong(self, got: str, expected: str) -> ConfigError:
        """The error to raise when the line is not what the data set's files hold."""
        return ConfigError(
            f"{self.path}:{self.number}: got {got[:120]!r}, expected {expected}; take the file as it is distributed"
        )

    def whole(self, index: int, minimum: int = 0) -> int:
        """A field as a whole number.

        Raises:
            ConfigError: it is none, or smaller than `minimum`.
        """
        text = self.fields[index]
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS) or int(text) < minimum:
            raise self.wrong(text, f"a whole number from {minimum}")
        return int(text)

    def span(self, index: int) -> tuple[float, float]:
        """Two fields as (start, end) in seconds.

        Raises:
            ConfigError: they are not 0 <= start < end.
        """
        return parse_span(*self.fields[index : index + 2], where=f"{self.path}:{self.number}")


def read_lines(path: Path) -> list[Line]:
    """The lines of a text file, blank ones too, each with one field.

    Raises:
        ConfigError: it cannot be read, is empty, or is no text.
    """
    try:
        text = decode_text(path.read_bytes(), path.name)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a text file") from error
    except BadTranscript as error:
        raise ConfigError(f"{path}: is no list ({error})") from error
    found = [Line(path=path, number=at, fields=(line.strip(),)) for at, line in enumerate(text.split("\n"), start=1)]
    while not found[-1].fields[0]:
        found.pop()
    return found


def read_fields(path: Path, columns: Sequence[str], *, delimiter: str = ",", has_header: bool = False) -> list[Line]:
    """The lines of a table that are not blank, split into fields; no field may contain a line feed.

    Args:
        path: the file.
        columns: what they are, in this order.
        delimiter: between them.
        has_header: the first line holds exactly the columns; without one such a line is skipped, too.

    Raises:
        ConfigError: as `read_lines`; the header is another one; or a line has more or fewer fields.
    """
    found = []
    for line in read_lines(path):
        if not line.fields[0]:
            continue
        try:
            values = next(csv.reader([line.fields[0]], delimiter=delimiter))
        except csv.Error as error:
            raise line.wrong(line.fields[0], f"fields between {delimiter!r} ({error})") from error
        if len(values) != len(columns):
            raise line.wrong(line.fields[0], f"{len(columns)} fields ({delimiter.join(columns)!r})")
        found.append(Line(path=path, number=line.number, fields=tuple(value.strip() for value in values)))
    is_header = found[0].fields == tuple(columns)
    if has_header and not is_header:
        raise found[0].wrong(delimiter.join(found[0].fields), f"the header {delimiter.join(columns)!r}")
    return found[1:] if is_header else found


def read_table(path: Path, columns: Sequence[str]) -> list[tuple[str, Mapping[str, str]]]:
    """Read a comma-separated file with a header, of which these columns are never empty.

    Returns:
        (`file:line`, fields by column) of the rows that are not blank.

    Raises:
        ConfigError: it is none, lacks a column, or a row has another number of fields or an empty one.
    """
    rows = []
    for row in read_csv(path, columns):
        where = f"{path}:{row.line}"
        if row.problem:
            raise ConfigError(f"{path.parent}: {row.problem}")
        if empty := [column for column in columns if not row.fields[column]]:
            raise ConfigError(f"{where}: column {empty[0]}: got nothing, expected a value")
        rows.append((where, row.fields))
    return rows


def parse_span(start: str, end: str, *, where: str) -> tuple[float, float]:
    """Two texts as (start, end) in seconds.

    Raises:
        ConfigError: they are not 0 <= start < end; `where` is named.
    """
    try:
        start_s, end_s = float(start), float(end)
    except ValueError:
        start_s = end_s = math.nan
    if not (0 <= start_s < end_s < math.inf):
        raise ConfigError(f"{where}: got start {start!r} and end {end!r}, expected seconds with 0 <= start < end")
    return start_s, end_s


def without_suffix(name: str) -> str:
    """A file's name without its folders and without the suffix of a video file; other dots stay."""
    path = PurePosixPath(name)
    return path.name[: -len(path.suffix)] if path.suffix.lower() in _SUFFIXES else path.name.rstrip(".")
