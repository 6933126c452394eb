"""What training reads: feature rows mapped at their place in the tars, joined with narrations by video id.

The door to tar imports torch (through webdataset), so it is opened when rows are read: planning only lists them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.artifacts.records import CommitRecord, Member
from stages.artifacts.sealed import Artifact
from stages.artifacts.tables import GroupedRows
from stages.errors import Corrupt
from stages.text.artifact import NARRATIONS, read_paragraph_table
from stages.training.sampling import Captions, OverlapSampling, usable_captions


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRows:
    """One video's feature rows.

    Attributes:
        features: (N, D) float32.
        spans: (N, 2) float64 seconds, half-open.
        damaged: (N,) bool, True where a row must not be used: marked when it was extracted, or holding no number.
    """

    features: NDArray[np.float32]
    spans: NDArray[np.float64]
    damaged: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureEntry:
    """Where one video's feature rows lie.

    Attributes:
        path: the tar.
        features: the member with (N, D) float16 rows.
        spans: the member with (N, 2) float64 seconds.
        damaged: the member with (N,) bool.
    """

    path: Path
    features: Member
    spans: Member
    damaged: Member

    def map_features(self) -> NDArray[Any]:
        """Return the rows, memory-mapped: only what is indexed is read."""
        from stages.artifacts.shards import map_array

        return map_array(self.path, self.features)

    def read_spans(self) -> NDArray[np.float64]:
        """Return the (N, 2) spans in seconds."""
        from stages.artifacts.shards import read_array

        return read_array(self.path, self.spans)

    def read_damaged(self) -> NDArray[np.bool_]:
        """Return the (N,) mask, True where a row must not be used."""
        from stages.artifacts.shards import read_array

        return read_array(self.path, self.damaged)

    def read_rows(self) -> FeatureRows:
        """Return everything; a row that is no number counts as damaged, as it would make its whole window none."""
        features = np.asarray(self.map_features(), dtype=np.float32)
        damaged = self.read_damaged() | ~np.isfinite(features).all(axis=1)
        return FeatureRows(features=features, spans=self.read_spans(), damaged=damaged)


def unit_entries(artifact: Artifact, record: CommitRecord, backbone: str) -> dict[str, FeatureEntry]:
    """Return the feature entries of one committed shard, by video id, in the order of the tar.

    Args:
        artifact: a sealed `features` artifact.
        record: one of its records.
        backbone: `s3d` or `clip`, as the members are named.

    Raises:
        Corrupt: a video lacks one of its three arrays.
    """
    entries = {}
    for file in record.files:
        for video_id, parts in file.samples().items():
            missing = {f"{backbone}.npy", "spans.npy", "damaged.npy"} - set(parts)
            if missing:
                raise Corrupt(f"{artifact.path(file)}: video {video_id} lacks {sorted(missing)}; run `fabula verify`")
            entries[video_id] = FeatureEntry(
                path=artifact.path(file),
                features=parts[f"{backbone}.npy"],
                spans=parts["spans.npy"],
                damaged=parts["damaged.npy"],
            )
    return entries


def feature_entries(artifact: Artifact, backbone: str) -> dict[str, FeatureEntry]:
    """Return the feature entries of all shards of an artifact, by video id."""
    return {
        video_id: entry
        for record in artifact.records
        for video_id, entry in unit_entries(artifact, record, backbone).items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingVideo:
    """One video that pairs can be drawn from.

    Attributes:
        video_id: which.
        entry: where its features lie.
        spans: (T, 2) float64 seconds.
        damaged: (T,) bool.
        captions: its tokenised narrations.
        usable: int64 indices of the captions that touch an intact row; not empty.
    """

    video_id: str
    entry: FeatureEntry
    spans: NDArray[np.float64]
    damaged: NDArray[np.bool_]
    captions: Captions
    usable: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedText:
    """One narration as the table has it.

    Attributes:
        start_s: seconds.
        end_s: seconds, half-open.
        text: one sentence.
    """

    start_s: float
    end_s: float
    text: str


TokenIds = Callable[[Sequence[str]], Sequence[Sequence[int]]]
"""Ids of sentences, without special tokens."""


def join_videos(
    entries: Mapping[str, FeatureEntry],
    narrations: Mapping[str, Sequence[TimedText]],
    token_ids: TokenIds,
    settings: OverlapSampling,
) -> list[TrainingVideo]:
    """Join features with narrations; a video that has no usable caption is left out.

    Args:
        entries: features by video id.
        narrations: narrations by video id, in the order of time.
        token_ids: the tokenizer.
        settings: how much of a narration is kept.

    Returns:
        The videos that pairs can be drawn from, by video id.
    """
    videos = []
    for video_id in sorted(set(entries) & set(narrations)):
        captions = tokenise(narrations[video_id], token_ids, settings)
        spans, damaged = entries[video_id].read_spans(), entries[video_id].read_damaged()
        usable = usable_captions(captions, spans, damaged)
        if len(usable):
            videos.append(
                TrainingVideo(
                    video_id=video_id,
                    entry=entries[video_id],
                    spans=spans,
                    damaged=damaged,
                    captions=captions,
                    usable=usable,
                )
            )
    return videos


def tokenise(narrations: Iterable[TimedText], token_ids: TokenIds, settings: OverlapSampling) -> Captions:
    """Return narrations as tokens; one that has no token is left out."""
    rows = list(narrations)
    ids = token_ids([row.text[: settings.max_caption_chars] for row in rows])
    kept = [(number, tokens[: settings.max_caption_tokens]) for number, tokens in enumerate(ids) if len(tokens)]
    bounds = np.zeros(len(kept) + 1, dtype=np.int64)
    bounds[1:] = np.cumsum([len(tokens) for _, tokens in kept])
    return Captions(
        start_s=np.asarray([rows[number].start_s for number, _ in kept], dtype=np.float64),
        end_s=np.asarray([rows[number].end_s for number, _ in kept], dtype=np.float64),
        tokens=np.asarray([token for _, tokens in kept for token in tokens], dtype=np.int32),
        bounds=bounds,
        narrations=np.asarray([number for number, _ in kept], dtype=np.int32),
    )


class NarrationsByVideo(Mapping[str, Sequence[TimedText]]):
    """The narrations of a `paragraphs` artifact by video id, in the order of time, made when they are asked for."""

    def __init__(self, paragraphs: Artifact) -> None:
        table = read_paragraph_table(paragraphs, NARRATIONS, ["video_id", "start_s", "end_s", "text"])
        self._rows = GroupedRows(table, "video_id")

    def __getitem__(self, video_id: str) -> Sequence[TimedText]:
        rows = sorted(self._rows[video_id], key=lambda row: row["start_s"])
        return [TimedText(start_s=row["start_s"], end_s=row["end_s"], text=row["text"]) for row in rows]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
