"""CSV files that users write: rows by column name, with the line on which each begins."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.errors import BadTranscript, ConfigError
from stages.text.encoding import decode_text


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvRow:
    """One row.

    Attributes:
        line: where it begins, from 1.
        fields: by column, white space at both ends removed; missing ones are ''.
        problem: why its fields cannot be trusted ('' if they can), with file and line.
    """

    line: int
    fields: Mapping[str, str]
    problem: str


def read_csv(path: Path, columns: Sequence[str]) -> list[CsvRow]:
    """Read a comma-separated file with a header.

    Args:
        path: the file.
        columns: those that it must have; others may stand beside them, in any order.

    Returns:
        The rows that are not blank. A row with too many or too few fields is kept, with its problem.

    Raises:
        ConfigError: the file cannot be read, is no text, lacks a column, or has a quote that never ends.
    """
    try:
        text = decode_text(path.read_bytes(), path.name)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a CSV file") from error
    except BadTranscript as error:
        raise ConfigError(f"{path}: {error}") from error
    rows = _numbered_rows(path, text)
    line, header = next(rows, (1, []))
    header = [column.strip() for column in header]
    if missing := [column for column in columns if column not in header]:
        raise ConfigError(
            f"{path}:{line}: got the columns {','.join(header)[:200]!r}, expected {','.join(columns)}; "
            f"lacking: {', '.join(missing)}"
        )
    return [_row(path, line, header, values) for line, values in rows]


def _numbered_rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    # Lines end in \n only: str.splitlines would also cut at characters that may stand inside a sentence.
    reader = csv.reader((f"{line}\n" for line in text.split("\n")), strict=True)
    line = 1
    try:
        for values in reader:
            if any(value.strip() for value in values):
                yield line, values
            line = reader.line_num + 1
    except csv.Error as error:
        raise ConfigError(f"{path}:{line}: this row is no CSV ({error}); close or double its quotes") from error


def _row(path: Path, line: int, header: Sequence[str], values: Sequence[str]) -> CsvRow:
    problem = ""
    if len(values) != len(header):
        problem = (
            f"{path.name}:{line}: got {len(values)} fields, expected {len(header)} ({','.join(header)}); "
            "put quotes around a text with commas"
        )
    padded = [*values, *[""] * len(header)]
    fields = {column: value.strip() for column, value in zip(header, padded, strict=False)}
    return CsvRow(line=line, fields=fields, problem=problem)
