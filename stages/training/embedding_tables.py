"""The tables of the `embeddings` artifact, and the rows of `paragraphs` that go into them. Knows no torch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.artifacts.sealed import Artifact
from stages.artifacts.tables import FLOAT64, INT32, STRING, columns_table, vector, vectors_column
from stages.text import artifact as paragraphs_artifact
from stages.text.artifact import read_paragraph_table

WINDOWS, NARRATIONS, PARAGRAPHS = "windows.parquet", "narrations.parquet", "paragraphs.parquet"

_SPAN = {"start_s": FLOAT64, "end_s": FLOAT64}
WINDOWS_SCHEMA: dict[str, Any] = {
    "window_id": STRING,
    "video_id": STRING,
    "index": INT32,
    **_SPAN,
    "num_damaged": INT32,
}
NARRATIONS_SCHEMA: dict[str, Any] = {
    "narration_id": STRING,
    "video_id": STRING,
    "index": INT32,
    "paragraph_index": INT32,
    **_SPAN,
    "text": STRING,
}
PARAGRAPHS_SCHEMA: dict[str, Any] = {
    "paragraph_id": STRING,
    "video_id": STRING,
    "index": INT32,
    **_SPAN,
    "text": STRING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrationRow:
    """One row of `narrations`, without its vector."""

    narration_id: str
    video_id: str
    index: int
    paragraph_index: int
    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParagraphRow:
    """One row of `paragraphs`, without its text and vectors; `paragraph_index` of its narrations is its `index`."""

    paragraph_id: str
    video_id: str
    index: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRows:
    """What was said in one video, in order."""

    narrations: tuple[NarrationRow, ...] = ()
    paragraphs: tuple[ParagraphRow, ...] = ()

    def to_json(self) -> list[Any]:
        """Everything that decides the text side of the video's embeddings."""
        return [[asdict(row) for row in self.narrations], [asdict(row) for row in self.paragraphs]]


def text_rows(paragraphs: Artifact) -> dict[str, TextRows]:
    """Return the rows of a sealed `paragraphs` artifact by video id."""
    said: dict[str, list[NarrationRow]] = {}
    for row in _records(paragraphs, paragraphs_artifact.NARRATIONS, list(NARRATIONS_SCHEMA)):
        said.setdefault(row["video_id"], []).append(NarrationRow(**row))
    grouped: dict[str, list[ParagraphRow]] = {}
    names = ["paragraph_id", "video_id", "index", "start_s", "end_s"]
    for row in _records(paragraphs, paragraphs_artifact.PARAGRAPHS, names):
        grouped.setdefault(row["video_id"], []).append(ParagraphRow(**row))
    return {
        video_id: TextRows(
            narrations=tuple(sorted(rows, key=lambda row: row.index)),
            paragraphs=tuple(sorted(grouped.get(video_id, ()), key=lambda row: row.index)),
        )
        for video_id, rows in said.items()
    }


def _records(paragraphs: Artifact, name: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_paragraph_table(paragraphs, name, columns).to_pylist()
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoVectors:
    """The embeddings of one video; W windows that have a vector, S narrations, P paragraphs, E joint width.

    Attributes:
        window_index: (W,) int64 place on the grid of windows; a window without an intact row is left out.
        window_spans: (W, 2) float64 seconds.
        window_damaged: (W,) int64 damaged rows in the window.
        windows: (W, E) float32.
        num_windows_damaged: windows that were left out.
        window_tokens: W arrays (T, E) float32, the states of the real rows of each window; empty if the encoder needs
            them for nothing.
        narrations: (S, E) float32.
        paragraph_texts: (P, E) float32, mean of the paragraph's narrations.
        paragraph_videos: (P, E) float32, mean of the windows over its span.
        paragraph_shown: (P,) bool, False where no window lies over the span.
    """

    window_index: NDArray[np.int64]
    window_spans: NDArray[np.float64]
    window_damaged: NDArray[np.int64]
    windows: NDArray[np.float32]
    num_windows_damaged: int
    window_tokens: Sequence[NDArray[np.float32]]
    narrations: NDArray[np.float32]
    paragraph_texts: NDArray[np.float32]
    paragraph_videos: NDArray[np.float32]
    paragraph_shown: NDArray[np.bool_]


class UnitTables:
    """Collects the embeddings of a shard's videos, in the shard's order."""

    def __init__(self, dim: int) -> None:
        """Start empty; `dim` is E."""
        self._dim = dim
        self._videos: list[tuple[str, VideoVectors, TextRows]] = []

    def add(self, video_id: str, vectors: VideoVectors, texts: TextRows) -> None:
        """Append one video."""
        self._videos.append((video_id, vectors, texts))

    @property
    def counts(self) -> dict[str, int]:
        """What the commit record says of them."""
        return {
            "windows": sum(len(vectors.windows) for _, vectors, _ in self._videos),
            "windows_without_intact_row": sum(vectors.num_windows_damaged for _, vectors, _ in self._videos),
            "narrations": sum(len(texts.narrations) for _, _, texts in self._videos),
            "paragraphs": sum(len(texts.paragraphs) for _, _, texts in self._videos),
        }

    @property
    def tokens(self) -> list[NDArray[np.float32]]:
        """The states of all windows, one after the other."""
        return [tokens for _, found, _ in self._videos for tokens in found.window_tokens]

    def windows(self) -> Any:
        """The table WINDOWS."""
        rows = [
            (f"{video_id}/w{index:05d}", video_id, int(index), float(start_s), float(end_s), int(damaged))
            for video_id, found, _ in self._videos
            for index, (start_s, end_s), damaged in zip(
                found.window_index, found.window_spans, found.window_damaged, strict=True
            )
        ]
        columns = {name: [row[place] for row in rows] for place, name in enumerate(WINDOWS_SCHEMA)}
        vectors = self._joined([found.windows for _, found, _ in self._videos])
        return columns_table(
            {**WINDOWS_SCHEMA, "vector": vector(self._dim)}, {**columns, "vector": vectors_column(vectors)}
        )

    def narrations(self) -> Any:
        """The table NARRATIONS."""
        rows = [row for _, _, texts in self._videos for row in texts.narrations]
        columns = {name: [getattr(row, name) for row in rows] for name in NARRATIONS_SCHEMA}
        vectors = self._joined([found.narrations for _, found, _ in self._videos])
        return columns_table(
            {**NARRATIONS_SCHEMA, "vector": vector(self._dim)}, {**columns, "vector": vectors_column(vectors)}
        )

    def paragraphs(self) -> Any:
        """The table PARAGRAPHS."""
        rows = [(row, paragraph_text(texts, row)) for _, _, texts in self._videos for row in texts.paragraphs]
        columns: dict[str, Any] = {
            name: [text if name == "text" else getattr(row, name) for row, text in rows] for name in PARAGRAPHS_SCHEMA
        }
        said = self._joined([found.paragraph_texts for _, found, _ in self._videos])
        shown = self._joined([found.paragraph_videos for _, found, _ in self._videos])
        present = np.concatenate([np.zeros(0, bool), *(found.paragraph_shown for _, found, _ in self._videos)])
        columns |= {"text_vector": vectors_column(said), "video_vector": vectors_column(shown, present)}
        kind = vector(self._dim)
        return columns_table({**PARAGRAPHS_SCHEMA, "text_vector": kind, "video_vector": kind}, columns)

    def _joined(self, matrices: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate([np.zeros((0, self._dim), np.float32), *matrices])


def paragraph_text(texts: TextRows, paragraph: ParagraphRow) -> str:
    """Return the narrations of a paragraph, joined by spaces."""
    return " ".join(row.text for row in texts.narrations if row.paragraph_index == paragraph.index)
