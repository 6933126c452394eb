"""The tables of the `paragraphs` artifact: what align and realign write and everything after them reads."""

from collections.abc import Iterator, Sequence
from typing import Any

from stages.artifacts.sealed import Artifact
from stages.artifacts.tables import FLOAT64, INT32, STRING, ColumnType, Table, read_tables
from stages.text.records import Narration, Paragraph

PARAGRAPHS_SCHEMA_VERSION = 1
VIDEOS, NARRATIONS, PARAGRAPHS = "videos.parquet", "narrations.parquet", "paragraphs.parquet"

VIDEOS_SCHEMA: dict[str, ColumnType] = {"video_id": STRING, "transcript": STRING, "num_narrations": INT32}
"""One row a video that was aligned; `transcript` is a file's relative path or the table's name, '' for none."""
NARRATIONS_SCHEMA: dict[str, ColumnType] = {
    "narration_id": STRING,
    "video_id": STRING,
    "index": INT32,
    "paragraph_index": INT32,
    "start_s": FLOAT64,
    "end_s": FLOAT64,
    "source_start_s": FLOAT64,
    "source_end_s": FLOAT64,
    "text": STRING,
}
"""Rows of a video stand together, in the order of `index`. Source times are the transcript's own, never changed."""
PARAGRAPHS_SCHEMA: dict[str, ColumnType] = {
    "paragraph_id": STRING,
    "video_id": STRING,
    "index": INT32,
    "start_s": FLOAT64,
    "end_s": FLOAT64,
    "first_narration": INT32,
    "num_narrations": INT32,
}
_SCHEMAS = {VIDEOS: VIDEOS_SCHEMA, NARRATIONS: NARRATIONS_SCHEMA, PARAGRAPHS: PARAGRAPHS_SCHEMA}


def narration_id(video_id: str, index: int) -> str:
    """The id of a video's narration."""
    return f"{video_id}/n{index:04d}"


def paragraph_id(video_id: str, index: int) -> str:
    """The id of a video's paragraph."""
    return f"{video_id}/p{index:03d}"


def paragraph_rows(video_id: str, paragraphs: Sequence[Paragraph]) -> Iterator[dict[str, Any]]:
    """Rows of PARAGRAPHS for all paragraphs of a video."""
    for number, paragraph in enumerate(paragraphs):
        yield {
            "paragraph_id": paragraph_id(video_id, number),
            "video_id": video_id,
            "index": number,
            "start_s": paragraph.start_s,
            "end_s": paragraph.end_s,
            "first_narration": paragraph.first_narration,
            "num_narrations": len(paragraph.narrations),
        }


def narration_rows(
    video_id: str, paragraphs: Sequence[Paragraph], sources: Sequence[Narration]
) -> Iterator[dict[str, Any]]:
    """Rows of NARRATIONS for all narrations of a video.

    Args:
        video_id: whose.
        paragraphs: all of the video, which hold its narrations.
        sources: the same narrations in their order, with the transcript's own times.
    """
    for number, paragraph in enumerate(paragraphs):
        for index, narration in enumerate(paragraph.narrations, paragraph.first_narration):
            yield {
                "narration_id": narration_id(video_id, index),
                "video_id": video_id,
                "index": index,
                "paragraph_index": number,
                "start_s": narration.start_s,
                "end_s": narration.end_s,
                "source_start_s": sources[index].start_s,
                "source_end_s": sources[index].end_s,
                "text": narration.text,
            }


def read_paragraph_table(paragraphs: Artifact, name: str, columns: Sequence[str] | None = None) -> Table:
    """One table of all units of a `paragraphs` artifact, in the order of the units.

    Args:
        paragraphs: sealed.
        name: VIDEOS, NARRATIONS or PARAGRAPHS.
        columns: those that are wanted; all if None.

    Raises:
        SchemaMismatch: it was written with another schema.
        Corrupt: a file is not a table.
    """
    paragraphs.check_schema(PARAGRAPHS_SCHEMA_VERSION)
    return read_tables(paragraphs, name, columns or list(_SCHEMAS[name]))
