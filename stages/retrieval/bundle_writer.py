"""Writing a bundle: window and paragraph indexes, and the tables that say what their rows are.

Row r of `clips.faiss` is row r of `clips.parquet`, ordered by the video's position in the manifest and the window's
index, so that a video's windows lie side by side. The paragraph index is always flat: it has an order of magnitude
fewer rows, and its answers only nominate videos for exact re-ranking.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.artifacts.commit import StagedFile
from stages.artifacts.hashing import CHUNK_BYTES
from stages.artifacts.tables import FLOAT64, INT32, INT64, STRING, STRINGS, columns_table, write_table
from stages.errors import Corrupt
from stages.retrieval import bundle_record as names
from stages.retrieval.bundle_record import BundleRecord, EncoderRecord, FileRecord, Probe, ids_checksum
from stages.retrieval.clips import ClipSource
from stages.retrieval.ivf import IvfFacts
from stages.retrieval.vectors import VectorIndex, Vectors, build_flat
from stages.retrieval.window_tokens import WindowTokens, write_tokens

CLIPS_SCHEMA = {
    "row": INT64,
    "window_id": STRING,
    "video_id": STRING,
    "path": STRING,
    "start_s": FLOAT64,
    "end_s": FLOAT64,
}
PARAGRAPHS_SCHEMA = {
    "row": INT64,
    "paragraph_id": STRING,
    "video_id": STRING,
    "path": STRING,
    "start_s": FLOAT64,
    "end_s": FLOAT64,
    "text": STRING,
}
NARRATIONS_SCHEMA = {
    "narration_id": STRING,
    "video_id": STRING,
    "index": INT32,
    "paragraph_index": INT32,
    "start_s": FLOAT64,
    "end_s": FLOAT64,
    "text": STRING,
}
VIDEOS_SCHEMA = {
    "video_id": STRING,
    "paths": STRINGS,
    "source_ids": STRINGS,
    "duration_s": FLOAT64,
    "first_row": INT64,
    "num_windows": INT64,
}

Columns = Mapping[str, Any]
"""Equally long columns by name: lists, or numpy arrays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleContent:
    """What goes into a bundle; columns as the artifact schemas of embeddings and manifest name them.

    Attributes:
        videos: `video_id`, `paths`, `source_ids`, `duration_s`, in manifest order.
        windows: `window_id`, `video_id`, `index`, `start_s`, `end_s`, in any order.
        window_rows: int64 (N,), where each of them lies in `clips`.
        clips: Gives the index of their vectors.
        paragraphs: `paragraph_id`, `video_id`, `index`, `start_s`, `end_s`, `text`.
        paragraph_vectors: float32 (P, E), the rows of `paragraphs`: means over the windows of each.
        paragraph_present: bool (P,); False where a paragraph overlaps no window, so that it has no vector.
        narrations: The columns of NARRATIONS_SCHEMA.
        window_s: Length of a window in seconds.
        stride_s: Distance of the starts of neighbouring windows in seconds.
        encoder: Which encoder made the vectors.
        probe: A narration and its vector, by which the encoder is recognised; None if there is none.
        encoder_files: Files of a trained checkpoint by name; empty for an encoder that is named by its record.
        tokens: States of the windows' clips, numbered as `window_rows`, if the encoder has a use for them.
    """

    videos: Columns
    windows: Columns
    window_rows: NDArray[np.int64]
    clips: ClipSource
    paragraphs: Columns
    paragraph_vectors: Vectors
    paragraph_present: NDArray[np.bool_]
    narrations: Columns
    window_s: float
    stride_s: float
    encoder: EncoderRecord
    probe: Probe | None = None
    encoder_files: Mapping[str, Path] = field(default_factory=dict)
    tokens: WindowTokens | None = None


def write_bundle(create: Callable[[str], StagedFile], content: BundleContent) -> BundleRecord:
    """Write all files of a bundle.

    Args:
        create: Opens a staged file by its logical name.
        content: What goes in. It may hold no window: the index is then empty.

    Returns:
        What bundle.json says.

    Raises:
        ConfigError: the settings do not fit the number of rows, or miss the recall that they ask for.
        Corrupt: a table names a video that the manifest does not, or an id twice.
    """
    position = {video_id: number for number, video_id in enumerate(content.videos["video_id"])}
    paths = {video: paths[0] for video, paths in zip(position, content.videos["paths"], strict=True)}
    writer = _Writer(create, paths)
    clip_order = _row_order(content.windows, position, "window_id")
    window_ids = _take(content.windows["window_id"], clip_order)
    clips, facts = content.clips.build(window_ids, content.window_rows[clip_order])
    writer.index(names.CLIPS_INDEX, clips)
    writer.rows(names.CLIPS_TABLE, CLIPS_SCHEMA, content.windows, clip_order)
    paragraph_order = _row_order(content.paragraphs, position, "paragraph_id")
    paragraph_order = paragraph_order[content.paragraph_present[paragraph_order]]
    writer.index(names.PARAGRAPHS_INDEX, build_flat(content.paragraph_vectors[paragraph_order]))
    writer.rows(names.PARAGRAPHS_TABLE, PARAGRAPHS_SCHEMA, content.paragraphs, paragraph_order)
    said_order = _row_order(content.narrations, position, "narration_id")
    writer.rows(names.NARRATIONS_TABLE, NARRATIONS_SCHEMA, content.narrations, said_order)
    writer.table(names.VIDEOS_TABLE, VIDEOS_SCHEMA, _video_columns(content, position))
    if content.tokens is not None:
        writer.tokens(content.tokens, content.window_rows[clip_order])
    for name, path in sorted(content.encoder_files.items()):
        writer.copy(f"{names.ENCODER_DIR}/{name}", path)
    return writer.record(content, clips.dim, facts)


class _Writer:
    """Collects what bundle.json has to say of each file while it is written."""

    def __init__(self, create: Callable[[str], StagedFile], first_paths: Mapping[str, str]) -> None:
        self._create = create
        self._first_paths = first_paths
        self.files: dict[str, FileRecord] = {}
        self.counts: dict[str, int] = {}
        self.id_columns: dict[str, str] = {}

    def index(self, name: str, index: VectorIndex) -> None:
        with self._create(name) as file:
            index.write(file)
        self._note(name, file)

    def rows(self, name: str, schema: Mapping[str, Any], columns: Columns, order: NDArray[np.int64]) -> None:
        """Write the rows `order` of `columns`, with their number and the video's first path where the schema asks."""
        made: dict[str, Any] = {column: _take(columns[column], order) for column in schema if column in columns}
        made["row"] = np.arange(len(order))
        made["path"] = [self._first_paths[video_id] for video_id in made["video_id"]]
        self.table(name, schema, made)

    def table(self, name: str, schema: Mapping[str, Any], columns: Columns) -> None:
        ids = columns[names.ID_COLUMNS[name]]
        file = self._create(name)
        write_table(file, columns_table(schema, columns))
        self._note(name, file)
        self.counts[name] = len(ids)
        self.id_columns[name] = ids_checksum(ids)

    def tokens(self, tokens: WindowTokens, order: NDArray[np.int64]) -> None:
        created: dict[str, StagedFile] = {}

        def create(name: str) -> StagedFile:
            created[name] = self._create(name)
            return created[name]

        write_tokens(create, tokens.count[order], (tokens.of(window) for window in order), tokens.width)
        for name, file in created.items():
            self._note(name, file)

    def copy(self, name: str, source: Path) -> None:
        with source.open("rb") as content, self._create(name) as file:
            while chunk := content.read(CHUNK_BYTES):
                file.write(chunk)
        self._note(name, file)

    def record(self, content: BundleContent, dim: int, ivf: IvfFacts | None) -> BundleRecord:
        """Write bundle.json, last, and give what it says."""
        record = BundleRecord(
            dim=dim,
            window_s=content.window_s,
            stride_s=content.stride_s,
            encoder=content.encoder,
            counts=self.counts,
            id_columns=self.id_columns,
            files=self.files,
            ivf=None if ivf is None else asdict(ivf),
            probe=content.probe,
        )
        with self._create(names.RECORD_FILE) as file:
            file.write(record.to_bytes())
        return record

    def _note(self, name: str, file: StagedFile) -> None:
        entry = file.committed("0")
        self.files[name] = FileRecord(size_bytes=entry.size_bytes, xxh3_128=entry.hash)


def _row_order(columns: Columns, position: Mapping[str, int], id_column: str) -> NDArray[np.int64]:
    """Row numbers sorted by the video's position and the index within the video."""
    ids: Sequence[str] = columns[id_column]
    if len(set(ids)) != len(ids):
        raise Corrupt(f"the embeddings hold a {id_column} twice among {len(ids)} rows: embed again")
    unknown = sorted(set(columns["video_id"]) - position.keys())
    if unknown:
        raise Corrupt(f"the embeddings name the video {unknown[0]!r}, which the manifest does not hold: embed again")
    positions = np.array([position[video_id] for video_id in columns["video_id"]], np.int64)
    return np.lexsort((np.asarray(columns["index"], np.int64), positions)).astype(np.int64)


def _take(column: Any, order: NDArray[np.int64]) -> Any:
    """Rows of a column, in this order."""
    return column[order] if isinstance(column, np.ndarray) else [column[row] for row in order]


def _video_columns(content: BundleContent, position: Mapping[str, int]) -> Columns:
    """The columns of videos.parquet: the manifest's names and where each video's windows lie in the clip index."""
    owners = np.array([position[video_id] for video_id in content.windows["video_id"]], np.int64)
    num_windows = np.bincount(owners, minlength=len(position)).astype(np.int64)
    first_row = np.concatenate([np.zeros(1, np.int64), np.cumsum(num_windows)])[: len(position)]
    return {**content.videos, "first_row": first_row, "num_windows": num_windows}
