"""Parts of an evaluation's report that protocols and other stages hand in: tables and pictures, no HTML.

A protocol puts them into its result. A stage says `out.describe(label, {SECTIONS: [section.to_json()]})`: its commit
record then carries them, and the report shows those of every artifact that it read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SECTIONS = "report_sections"
"""Key of a commit record's info."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text; the first column is left-aligned, the others hold numbers.

    Attributes:
        columns: headings.
        rows: one text a column.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An SVG element of our own making, as `charts.py` draws them.

    Attributes:
        svg: the element.
        caption: what it shows.
        scrolls: whether it keeps its natural width in a box that scrolls.
    """

    svg: str
    caption: str
    scrolls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the report.

    Attributes:
        title: its heading.
        note: a sentence below it, or ''.
        tables: in order.
        pictures: after the tables.
    """

    title: str
    note: str = ""
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For a commit record: tables only, as a record holds no pictures."""
        tables = [{"columns": list(table.columns), "rows": [list(row) for row in table.rows]} for table in self.tables]
        return {"title": self.title, "note": self.note, "tables": tables}


def section_of_json(value: Mapping[str, Any]) -> Section:
    """The inverse of `Section.to_json`."""
    tables = tuple(
        Table(columns=tuple(table["columns"]), rows=tuple(tuple(row) for row in table["rows"]))
        for table in value["tables"]
    )
    return Section(title=value["title"], note=value["note"], tables=tables)
