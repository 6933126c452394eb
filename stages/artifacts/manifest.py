"""The manifest's tables and their rows: what ingest writes and everything after it reads."""

from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from stages.artifacts.sealed import Artifact
from stages.artifacts.tables import BOOL, FLOAT64, INT32, INT64, STRING, STRINGS, read_tables

MANIFEST_SCHEMA_VERSION = 1
VIDEOS, MEMBERS = "videos.parquet", "members.parquet"

MEMBERS_SCHEMA: dict[str, pa.DataType] = {
    "position": INT64,
    "video_id": STRING,
    "content_hash": STRING,
    "size_bytes": INT64,
    "paths": STRINGS,
    "source_ids": STRINGS,
    "problem": STRING,
}
VIDEOS_SCHEMA: dict[str, pa.DataType] = {
    "video_id": STRING,
    "position": INT64,
    "paths": STRINGS,
    "source_ids": STRINGS,
    "content_hash": STRING,
    "size_bytes": INT64,
    "duration_s": FLOAT64,
    "frame_rate": FLOAT64,
    "width": INT32,
    "height": INT32,
    "rotation": INT32,
    "container": STRING,
    "video_codec": STRING,
    "audio_codec": STRING,
    "has_audio": BOOL,
    "status": STRING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One distinct content among the files of a corpus: what ingest planned, whether or not it can be probed.

    Attributes:
        position: its place in the corpus for ever; units and shards follow from it.
        video_id: its id for ever.
        content_hash: xxh3-128 hex, '' if the file could not be read.
        size_bytes: of one file.
        paths: all files with these bytes, relative to the media folder, in path order.
        source_ids: a data set's own names for it.
        problem: why it could not be hashed, '' if it could.
    """

    position: int
    video_id: str
    content_hash: str
    size_bytes: int
    paths: tuple[str, ...]
    source_ids: tuple[str, ...]
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """For a unit's payload and for a table's row."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """One row of the manifest; see `Member` for the first six."""

    video_id: str
    position: int
    paths: tuple[str, ...]
    source_ids: tuple[str, ...]
    content_hash: str
    size_bytes: int
    duration_s: float
    frame_rate: float
    width: int
    height: int
    rotation: int
    container: str
    video_codec: str
    audio_codec: str
    has_audio: bool
    status: str

    @property
    def stem(self) -> str:
        """File name of the first path without its suffix."""
        return PurePosixPath(self.paths[0]).stem

    def to_json(self) -> dict[str, Any]:
        """As a table's row."""
        return asdict(self)


def member_from_json(row: dict[str, Any]) -> Member:
    """The inverse of `Member.to_json`, for payloads and table rows."""
    return Member(**{**row, "paths": tuple(row["paths"]), "source_ids": tuple(row["source_ids"])})


def read_members(manifest: Artifact) -> list[Member]:
    """All members of a manifest, failures included, in the order of their positions."""
    manifest.check_schema(MANIFEST_SCHEMA_VERSION)
    columns = read_tables(manifest, MEMBERS, list(MEMBERS_SCHEMA)).to_pydict()
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return sorted((member_from_json(row) for row in rows), key=lambda member: member.position)


def read_videos(manifest: Artifact) -> list[Video]:
    """All usable videos of a manifest, in the order of their positions."""
    manifest.check_schema(MANIFEST_SCHEMA_VERSION)
    columns = read_tables(manifest, VIDEOS, list(VIDEOS_SCHEMA)).to_pydict()
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    videos = (Video(**{**row, "paths": tuple(row["paths"]), "source_ids": tuple(row["source_ids"])}) for row in rows)
    return sorted(videos, key=lambda video: video.position)
