"""From sealed embeddings and manifest to what goes into a bundle. Planning reads it: no table is opened at import."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.artifacts.manifest import Video, read_videos
from stages.artifacts.records import CommitRecord
from stages.artifacts.sealed import Artifact
from stages.contract import Inputs
from stages.errors import SchemaMismatch
from stages.retrieval.bundle_record import EncoderRecord, Probe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stages.retrieval.bundle_writer import BundleContent
    from stages.retrieval.clips import ClipSource
    from stages.retrieval.vectors import Vectors

EMBEDDINGS_SCHEMA = 1
WINDOWS, NARRATIONS, PARAGRAPHS = "windows.parquet", "narrations.parquet", "paragraphs.parquet"

_WINDOW_COLUMNS = ("window_id", "video_id", "index", "start_s", "end_s")
_NARRATION_COLUMNS = ("narration_id", "video_id", "index", "paragraph_index", "start_s", "end_s", "text")
_PARAGRAPH_COLUMNS = ("paragraph_id", "video_id", "index", "start_s", "end_s", "text")


def count_windows(embeddings: Iterable[CommitRecord]) -> int:
    """Windows that have a vector, by the commit records."""
    return sum(int(record.info["windows"]) for record in embeddings)


def read_content(
    inputs: Inputs, clips: "ClipSource", encoder_files: Mapping[str, Path], without: Collection[str]
) -> "BundleContent":
    """Everything that goes into the bundle, from the sealed artifacts.

    Args:
        inputs: `manifest` and `embeddings`.
        clips: gives the index of the window vectors.
        without: ids of videos that nothing is kept of.
        encoder_files: files of a trained encoder by name.

    Raises:
        SchemaMismatch: the embeddings do not say which encoder made them, or have another schema.
    """
    from stages.retrieval.bundle_writer import BundleContent
    from stages.retrieval.window_tokens import tokens_of

    embeddings = inputs["embeddings"]
    embeddings.check_schema(EMBEDDINGS_SCHEMA)
    facts = read_facts(embeddings)
    means, present = read_vectors(embeddings, PARAGRAPHS, "video_vector")
    windows, window_rows = _leave_out(read_columns(embeddings, WINDOWS, _WINDOW_COLUMNS), without)
    paragraphs, paragraph_rows = _leave_out(read_columns(embeddings, PARAGRAPHS, _PARAGRAPH_COLUMNS), without)
    narrations, _ = _leave_out(read_columns(embeddings, NARRATIONS, _NARRATION_COLUMNS), without)
    return BundleContent(
        videos=video_columns(video for video in read_videos(inputs["manifest"]) if video.video_id not in without),
        windows=windows,
        window_rows=window_rows,
        clips=clips,
        paragraphs=paragraphs,
        paragraph_vectors=means[paragraph_rows],
        paragraph_present=present[paragraph_rows],
        narrations=narrations,
        window_s=float(facts["window_s"]),
        stride_s=float(facts["stride_s"]),
        encoder=EncoderRecord(**{name: facts["encoder"][name] for name in EncoderRecord.__dataclass_fields__}),
        probe=read_probe(embeddings, without),
        encoder_files=encoder_files,
        tokens=tokens_of(embeddings),
    )


def _leave_out(
    columns: dict[str, list[Any]], without: Collection[str]
) -> "tuple[dict[str, list[Any]], NDArray[np.int64]]":
    """The rows of all other videos, and where they were."""
    import numpy as np

    rows = [row for row, video_id in enumerate(columns["video_id"]) if video_id not in without]
    if len(rows) == len(columns["video_id"]):
        return columns, np.arange(len(rows))
    return {name: [column[row] for row in rows] for name, column in columns.items()}, np.array(rows, np.int64)


def read_probe(embeddings: Artifact, without: Collection[str]) -> Probe | None:
    """The longest narration of the first unit that has any, and its vector; None if nothing was narrated."""
    from stages.artifacts.tables import matrix, read_table

    for path in embeddings.paths(NARRATIONS):
        table = read_table(path, ["video_id", "text", "vector"])
        texts: list[str] = table.column("text").to_pylist()
        owners: list[str] = table.column("video_id").to_pylist()
        if rows := [row for row, video_id in enumerate(owners) if video_id not in without]:
            row = max(rows, key=lambda row: (len(texts[row]), -row))
            return Probe(text=texts[row], vector=tuple(matrix(table.slice(row, 1), "vector")[0].tolist()))
    return None


def all_facts(embeddings: Artifact) -> dict[str, Any]:
    """Whatever an artifact of embeddings says, and each of its units."""
    facts = dict(embeddings.about)
    for record in embeddings.records:
        facts |= record.info
    return facts


def read_facts(embeddings: Artifact) -> Mapping[str, Any]:
    """What the embeddings say of their encoder and windows: `encoder`, `window_s`, `stride_s`.

    They are facts of the artifact, or, where they are known only when the weights are open, of each unit's record.

    Raises:
        SchemaMismatch: one of them is missing.
    """
    facts = all_facts(embeddings)
    wanted = {"window_s", "stride_s", *(f"encoder.{name}" for name in EncoderRecord.__dataclass_fields__)}
    found = {"window_s", "stride_s"} & facts.keys() | {f"encoder.{name}" for name in facts.get("encoder", ())}
    if wanted - found:
        raise SchemaMismatch(
            f"{embeddings.directory.reference} does not say {', '.join(sorted(wanted - found))}: run the stage "
            f"{embeddings.description.stage!r} again"
        )
    return facts


def video_columns(videos: Iterable[Video]) -> dict[str, list[Any]]:
    """What the bundle keeps of the manifest, by column."""
    rows = list(videos)
    return {
        "video_id": [video.video_id for video in rows],
        "paths": [list(video.paths) for video in rows],
        "source_ids": [list(video.source_ids) for video in rows],
        "duration_s": [video.duration_s for video in rows],
    }


def read_columns(embeddings: Artifact, name: str, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Columns of a table of all units, in the order of the units."""
    from stages.artifacts.tables import read_tables

    if not embeddings.records:
        return {column: [] for column in columns}
    table = read_tables(embeddings, name, columns)
    return {column: table.column(column).to_pylist() for column in columns}


def read_vectors(embeddings: Artifact, name: str, column: str) -> "tuple[Vectors, NDArray[np.bool_]]":
    """A vector column of a table of all units: (N, E) float32, and (N,) bool, True where there is a vector."""
    import numpy as np

    from stages.artifacts.tables import matrix, read_tables

    if not embeddings.records:
        return np.zeros((0, 0), np.float32), np.zeros(0, np.bool_)
    table = read_tables(embeddings, name, [column])
    return matrix(table, column), np.asarray(table.column(column).is_valid())
