"""A bundle that is open for questions: indexes, what their rows are, and which encoder may ask."""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.artifacts.tables import read_table
from stages.errors import ArtifactError, ConfigError, Corrupt, SchemaMismatch
from stages.retrieval import bundle_record as names
from stages.retrieval.bundle_checks import check_files, check_ids, locate_files
from stages.retrieval.bundle_record import BundleRecord, read_bundle_record
from stages.retrieval.vectors import VectorIndex, Vectors, load_index
from stages.retrieval.window_tokens import COUNTS_FILE, TOKENS_FILE, WindowTokens, open_tokens
from stages.text.names import NameIndex

if TYPE_CHECKING:
    from models.encoders.joint import JointEncoder

# Across devices the same encoder keeps 0.9999 (design, section 3); another training is far below.
_SAME_COSINE = 0.999
_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedVideo:
    """One video of the bundle.

    Attributes:
        video_id: Its id.
        paths: All its files, relative to the media folder.
        source_ids: A data set's own names for it.
        rows: Its windows in the clip index, in order of time; empty if it has none.
    """

    video_id: str
    paths: tuple[str, ...]
    source_ids: tuple[str, ...]
    rows: range

    @property
    def path(self) -> str:
        """Its first path."""
        return self.paths[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Narration:
    """One spoken sentence and when it is said, in seconds, half-open."""

    start_s: float
    end_s: float
    text: str


class Bundle:
    """What a query needs. Made by `open_bundle`, which has checked it.

    Attributes:
        folder: Where it lies.
        record: What bundle.json says.
        clips: Index of the window vectors.
        paragraphs: Index of the paragraphs' mean window vectors.
        videos: All videos in manifest order; rows of `clips` are numbered in the same order.
        window_spans: float64 (N, 2) seconds, half-open: the rows of `clips`.
        paragraph_videos: Video id of each row of `paragraphs`.
    """

    def __init__(self, folder: Path, record: BundleRecord, files: Mapping[str, Path]) -> None:
        """Read the tables and indexes; every check of `open_bundle` happens here."""
        self.folder = folder
        self.record = record
        self._files = files
        self._accepted: JointEncoder | None = None
        check_files(files, record, encoder=False)
        clip_columns = self._table(names.CLIPS_TABLE, ["row", "window_id", "video_id", "start_s", "end_s"])
        paragraph_columns = self._table(names.PARAGRAPHS_TABLE, ["row", "paragraph_id", "video_id"])
        self._narration_columns = self._table(
            names.NARRATIONS_TABLE, ["narration_id", "video_id", "start_s", "end_s", "text"]
        )
        self.videos = _videos(
            self._table(names.VIDEOS_TABLE, ["video_id", "paths", "source_ids", "first_row", "num_windows"])
        )
        self.clips = self._index(names.CLIPS_INDEX, names.CLIPS_TABLE, record.nprobe)
        self.paragraphs = self._index(names.PARAGRAPHS_INDEX, names.PARAGRAPHS_TABLE, None)
        self.window_spans: NDArray[np.float64] = np.array(
            [clip_columns["start_s"], clip_columns["end_s"]], np.float64
        ).T
        self.paragraph_videos: tuple[str, ...] = tuple(paragraph_columns["video_id"])
        _check_rows(folder, self.videos, clip_columns["video_id"])

    @cached_property
    def narrations(self) -> Mapping[str, Sequence[Narration]]:
        """Narrations by video id, in order of time; a video without any is not in it."""
        found: dict[str, list[Narration]] = defaultdict(list)
        columns = self._narration_columns
        rows = zip(columns["video_id"], columns["start_s"], columns["end_s"], columns["text"], strict=True)
        for video_id, start_s, end_s, text in rows:
            found[video_id].append(Narration(start_s=start_s, end_s=end_s, text=text))
        return found

    @cached_property
    def window_ids(self) -> Sequence[str]:
        """N ids: the rows of `clips`."""
        return self._table(names.CLIPS_TABLE, ["row", "window_id"])["window_id"]

    @cached_property
    def tokens(self) -> WindowTokens | None:
        """States of the windows' clips, by the rows of `clips`; None if the bundle holds none."""
        if TOKENS_FILE not in self._files:
            return None
        return open_tokens([(self._files[TOKENS_FILE], self._files[COUNTS_FILE])])

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """int64 (N,): for each row of `clips`, the number of its video in `videos`."""
        return np.repeat(np.arange(len(self.videos)), [len(video.rows) for video in self.videos])

    @cached_property
    def _names(self) -> NameIndex:
        return NameIndex(self.videos)

    @cached_property
    def by_id(self) -> Mapping[str, IndexedVideo]:
        """Videos by id."""
        return {video.video_id: video for video in self.videos}

    def window_vectors(self, video: IndexedVideo) -> Vectors:
        """The window vectors of a video in order of time, float32 (len(video.rows), E)."""
        return self.clips.reconstruct(video.rows)

    def find_video(self, name: str) -> IndexedVideo:
        """The video that a user means: by source id, relative path, file name, stem or id, in this order.

        Raises:
            ConfigError: no video has this name, or two have.
        """
        match = self._names.find(name)
        if match is None:
            raise ConfigError(
                f"no video of {self.folder} is called {name!r} (source id, relative path, file name, stem or id of "
                f"{len(self.videos)} videos); `fabula status` lists what failed"
            )
        return self.by_id[match.video_id]

    def require_windows(self) -> None:
        """Refuse to search in nothing.

        Raises:
            ArtifactError: the index is empty.
        """
        if not self.clips.num_rows:
            raise ArtifactError(
                f"the index {self.folder} is empty: none of its {len(self.videos)} videos has a window. "
                "`fabula status` says why videos failed; add videos and run again"
            )

    def require_encoder(self, encoder: "JointEncoder") -> None:
        """Refuse an encoder that did not make this index.

        What it says of itself is compared first; then, since two trainings may say the same, the vector of a text
        whose vector is known.

        Raises:
            SchemaMismatch: it is another one.
        """
        if encoder is self._accepted:
            return
        mine = self.record.encoder
        expected = (self.record.dim or encoder.dim, mine.backbone, mine.normalised, mine.description)
        found = (encoder.dim, encoder.backbone, encoder.normalised, encoder.description)
        differs = [
            label
            for label, got, want in zip(("dim", "backbone", "normalised", "description"), found, expected, strict=True)
            if got != want
        ] or self._differing_probe(encoder)
        if differs:
            raise SchemaMismatch(
                f"the index {self.folder} was made by the encoder {mine.description!r} (dim {self.record.dim}), the "
                f"query comes from {encoder.description!r} (dim {encoder.dim}): {differs[0]} differs. "
                "Ask with the encoder of the index, or index again"
            )
        self._accepted = encoder

    def _differing_probe(self, encoder: "JointEncoder") -> list[str]:
        """What differs, if the encoder gives the probe's text another direction than recorded."""
        if self.record.probe is None:
            return []
        expected = np.array(self.record.probe.vector)
        found = encoder.encode_texts([self.record.probe.text])[0].detach().cpu().numpy().astype(np.float64)
        cosine = float(expected @ found) / max(float(np.linalg.norm(expected) * np.linalg.norm(found)), _TINY)
        if cosine >= _SAME_COSINE:
            return []
        return [f"the vector of {self.record.probe.text!r} (cosine {cosine:.4f}, expected at least {_SAME_COSINE})"]

    @contextmanager
    def encoder_dir(self) -> Iterator[Path | None]:
        """A folder with the trained encoder's files under their own names; None if the bundle holds none.

        In a store the committed names hold a hash, so the files are linked (or copied) into a temporary folder.

        Raises:
            Corrupt: a file is missing or differs from the record.
        """
        prefix = f"{names.ENCODER_DIR}/"
        files = {name.removeprefix(prefix): name for name in self.record.files if name.startswith(prefix)}
        if not files:
            yield None
            return
        check_files(self._files, self.record, encoder=True)
        with TemporaryDirectory(prefix="fabula-encoder-") as temporary:
            for own_name, name in files.items():
                target = Path(temporary, own_name)
                target.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(self._files[name].resolve(), target)
            yield Path(temporary)

    def _table(self, name: str, columns: Sequence[str]) -> dict[str, list[Any]]:
        table: dict[str, list[Any]] = read_table(self._files[name], columns).to_pydict()
        check_ids(self._files[name], name, self.record, table)
        return table

    def _index(self, name: str, table: str, nprobe: int | None) -> VectorIndex:
        index = load_index(self._files[name], dim=self.record.dim, nprobe=nprobe)
        if index.num_rows != self.record.counts[table]:
            raise Corrupt(
                f"{self._files[name]} holds {index.num_rows} vectors, {table} has {self.record.counts[table]} rows; "
                "they belong to different indexes: index again"
            )
        return index


def open_bundle(folder: Path) -> Bundle:
    """Open an index and check that its files, tables and vectors belong together.

    Args:
        folder: An `index` artifact of a store, or a plain copy in which the files have their logical names.

    Raises:
        NotSealed: there is no finished index in the folder.
        Corrupt: a file differs from its record, or a table is shuffled or stale.
        SchemaMismatch: another version wrote it, or vectors have another width or metric than recorded.
    """
    files = locate_files(folder)
    return Bundle(folder, read_bundle_record(files[names.RECORD_FILE]), files)


def _videos(columns: Mapping[str, Sequence[Any]]) -> tuple[IndexedVideo, ...]:
    """The rows of videos.parquet."""
    return tuple(
        IndexedVideo(
            video_id=video_id, paths=tuple(paths), source_ids=tuple(source_ids), rows=range(first, first + count)
        )
        for video_id, paths, source_ids, first, count in zip(
            *(columns[name] for name in ("video_id", "paths", "source_ids", "first_row", "num_windows")), strict=True
        )
    )


def _check_rows(folder: Path, videos: Sequence[IndexedVideo], owners: Sequence[str]) -> None:
    """Each row of the clip table must belong to the video whose range it lies in."""
    expected = [video.video_id for video in videos for _ in video.rows]
    if expected != list(owners):
        raise Corrupt(
            f"{folder}: {names.CLIPS_TABLE} and {names.VIDEOS_TABLE} disagree about whose window a row is; index again"
        )


def _link_or_copy(source: Path, target: Path) -> None:
    """A symbolic link where the file system has them, else a copy."""
    try:
        target.symlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
