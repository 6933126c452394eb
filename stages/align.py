"""align: each video's transcript becomes narrations and paragraphs, with times on the video's clock.

Planning finds and hashes the transcripts; a unit's identity holds only those of its own videos, so that one edited
caption file redoes one unit. A video without a transcript is a success without narrations.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stages.artifacts.hashing import hash_bytes
from stages.artifacts.manifest import Video, read_videos
from stages.artifacts.stat_cache import ContentHashes, look_at
from stages.artifacts.tables import rows_table, write_table
from stages.contract import Failure, Inputs, Out, Output, Stage, StageConfig, Unit, Worker
from stages.errors import BadTranscript, TransientError
from stages.text.artifact import (
    NARRATIONS,
    NARRATIONS_SCHEMA,
    PARAGRAPHS,
    PARAGRAPHS_SCHEMA,
    PARAGRAPHS_SCHEMA_VERSION,
    VIDEOS,
    VIDEOS_SCHEMA,
    narration_rows,
    paragraph_rows,
)
from stages.text.clock import Fitted, coverage_s, fit_to_video
from stages.text.paragraphs import group_paragraphs
from stages.text.readers import SUFFIXES, load_transcript, parse_transcript
from stages.text.sentences import Narrated, SentenceSettings, narrate
from stages.text.sources import CAPTIONS, MEDIA, Source, check_captions, find_sources, holds_transcripts
from stages.text.table import TableRow

log = logging.getLogger(__name__)

_CHANGES_NO_BYTES = {"captions", "language", "videos_per_unit"}  # what they find is in the identity of each unit
_COUNTS = (
    "with_transcript",
    "narrations",
    "words",
    "repeated_words_dropped",
    "narrations_clamped",
    "narrations_outside",
    "bad_cues",
)


class AlignConfig(StageConfig):
    """Where the transcripts are and how they become narrations and paragraphs.

    Attributes:
        captions: a captions table (.csv), a folder of transcripts, or nothing: then only those beside the videos.
        language: preferred where a video has transcripts in several (`x.en.vtt`, `x.de.vtt`).
        max_pause_s: a longer silence between two words ends a narration where there is no punctuation; half of it is
            enough between two lines.
        max_pause_in_sentence_s: the same inside a sentence, where there is punctuation.
        max_words: no narration of a transcript file is longer.
        max_gap_s: a longer silence between two narrations ends a paragraph.
        max_sentences: no paragraph has more narrations.
        videos_per_unit: positions of the manifest in one unit of work.
    """

    captions: Path | None = None
    language: str = Field(default="en", min_length=2)
    max_pause_s: float = Field(default=0.4, gt=0)
    max_pause_in_sentence_s: float = Field(default=1.0, gt=0)
    max_words: int = Field(default=24, ge=2)
    max_gap_s: float = Field(default=30.0, gt=0)
    max_sentences: int = Field(default=20, ge=1)
    videos_per_unit: int = Field(default=1_000, ge=1)


@dataclass(frozen=True)
class Align(Stage):
    """Settings of align.

    Attributes:
        config: what a run's file says of it.
        media: as ingest has it, a folder or a table of paths; None to look beside no video.
    """

    config: AlignConfig
    media: Path | None = None

    name: ClassVar[str] = "align"
    version: ClassVar[int] = 2  # 2: sentence ends of more scripts, joiners between letters stay, dashes of speakers go

    @property
    def needs(self) -> tuple[str, ...]:
        """The manifest: ids, positions, names, durations."""
        return ("manifest",)

    def outputs(self) -> tuple[Output, ...]:
        """The paragraphs."""
        return (Output(label="paragraphs", schema=PARAGRAPHS_SCHEMA_VERSION),)

    def units(self, inputs: Inputs) -> list[Unit]:
        """One unit for each `videos_per_unit` positions that hold a video."""
        videos = read_videos(inputs["manifest"])
        sources = find_sources(
            videos, media_dir=_media_dir(self.media), captions=self.config.captions, language=self.config.language
        )
        hashes = self._content_hashes(sources.values(), inputs)
        settings = self.config.model_dump(mode="json", exclude=_CHANGES_NO_BYTES)
        by_unit: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for video in videos:
            member = _member(video, sources.get(video.video_id), hashes)
            by_unit[video.position // self.config.videos_per_unit].append(member)
        return [_unit(number, by_unit[number], settings) for number in sorted(by_unit)]

    def check_files(self) -> None:
        """See `Stage`; a folder of captions without a transcript is only told of."""
        captions = self.config.captions
        check_captions(captions)
        if captions is not None and captions.is_dir() and not holds_transcripts(captions):
            log.warning(
                "[align] captions = %s: there is no %s file below this folder, so it narrates no video",
                captions,
                " or ".join(SUFFIXES),
            )

    def open(self, inputs: Inputs) -> Worker:
        """There is nothing to load."""
        return AlignWorker(self.config, _media_dir(self.media))

    def _content_hashes(self, sources: Iterable[Source], inputs: Inputs) -> dict[tuple[str, str], str]:
        """The content hash of each transcript file by folder and path; '' where it cannot be read."""
        paths: dict[str, set[str]] = defaultdict(set)
        for source in sources:
            if not source.rows:
                paths[source.folder].add(source.path)
        found = {}
        for name, wanted in paths.items():
            folder = _folder(self.config, _media_dir(self.media), name)
            files = [look_at(folder, path) for path in sorted(wanted)]
            hashes = ContentHashes(inputs.store, folder).resolve(files, on_progress=inputs.on_planning)
            found.update({(name, path): digest for path, digest in hashes.items()})
        return found


class AlignWorker:
    """Reads the transcripts of a unit."""

    def __init__(self, config: AlignConfig, media: Path | None) -> None:
        self._config = config
        self._media = media
        self._sentences = SentenceSettings(
            max_pause_s=config.max_pause_s,
            max_pause_in_sentence_s=config.max_pause_in_sentence_s,
            max_words=config.max_words,
        )

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        """Write the unit's rows of `videos`, `narrations` and `paragraphs`."""
        rows: dict[str, list[dict[str, Any]]] = {VIDEOS: [], NARRATIONS: [], PARAGRAPHS: []}
        facts: Counter[str] = Counter()
        failures = []
        for member in unit.payload["members"]:
            video_id, duration_s = member["video_id"], member["duration_s"]
            try:
                narrated, num_bad_cues = self._narrate(member)
            except BadTranscript as error:
                failures.append(Failure(input_id=video_id, cause=error.cause, message=str(error)))
                continue
            fitted = fit_to_video(narrated.narrations, duration_s)
            rows[VIDEOS].append(_video_row(member, fitted))
            paragraphs = group_paragraphs(
                fitted.narrations, max_gap_s=self._config.max_gap_s, max_sentences=self._config.max_sentences
            )
            rows[PARAGRAPHS] += paragraph_rows(video_id, paragraphs)
            rows[NARRATIONS] += narration_rows(video_id, paragraphs, fitted.sources)
            facts.update(_facts(member, narrated, fitted), bad_cues=num_bad_cues)
        for name, schema in ((VIDEOS, VIDEOS_SCHEMA), (NARRATIONS, NARRATIONS_SCHEMA), (PARAGRAPHS, PARAGRAPHS_SCHEMA)):
            write_table(out.create("paragraphs", name), rows_table(schema, rows[name]))
        out.describe("paragraphs", _info(facts, len(rows[VIDEOS]), len(rows[PARAGRAPHS])))
        return failures

    def close(self) -> None:
        """There is nothing to let go."""

    def _narrate(self, member: Mapping[str, Any]) -> tuple[Narrated, int]:
        """The narrations of one video on its transcript's own clock, and the number of its unreadable cues."""
        if "rows" in member:
            return _narrate_rows([TableRow(**row) for row in member["rows"]], member["duration_s"]), 0
        if not member["transcript"]:
            return Narrated(narrations=(), num_words=0, num_repeats=0), 0
        name = member["transcript"]
        content = load_transcript(_folder(self._config, self._media, member["folder"]) / name, name)
        if hash_bytes(content) != member["hash"]:
            raise TransientError(f"{name} was changed after this run was planned; run again")
        transcript = parse_transcript(content, name)
        return narrate(transcript.cues, self._sentences), len(transcript.problems)


def _member(video: Video, source: Source | None, hashes: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """What decides the rows of one video: itself, and its transcript's name and content."""
    member: dict[str, Any] = {"video_id": video.video_id, "duration_s": video.duration_s, "transcript": ""}
    if source is None:
        return member
    member |= {"transcript": source.path, "folder": source.folder}
    if source.rows:
        return member | {"rows": [asdict(row) for row in source.rows]}
    return member | {"hash": hashes[source.folder, source.path]}


def _unit(number: int, members: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Unit:
    return Unit(
        unit_id=f"{number:05d}",
        inputs=tuple(member["video_id"] for member in members),
        payload={"members": members},
        identities={"paragraphs": {"config": settings, "members": members}},
    )


def _media_dir(media: Path | None) -> Path | None:
    """The folder that the manifest's paths are relative to."""
    return media.parent if media and media.is_file() else media


def _folder(config: AlignConfig, media: Path | None, name: str) -> Path:
    folder = {CAPTIONS: config.captions, MEDIA: media}[name]
    if folder is None:
        raise ValueError(f"a transcript was found in the {name} folder, but none is set")
    return folder


def _narrate_rows(rows: Sequence[TableRow], duration_s: float) -> Narrated:
    """The rows of a captions table as they are: somebody wrote them as sentences."""
    narrations = sorted((row.narration(duration_s) for row in rows), key=lambda narration: narration.start_s)
    num_words = sum(len(narration.text.split()) for narration in narrations)
    return Narrated(narrations=tuple(narrations), num_words=num_words, num_repeats=0)


def _video_row(member: Mapping[str, Any], fitted: Fitted) -> dict[str, Any]:
    return {
        "video_id": member["video_id"],
        "transcript": member["transcript"],
        "num_narrations": len(fitted.narrations),
    }


def _facts(member: Mapping[str, Any], narrated: Narrated, fitted: Fitted) -> dict[str, Any]:
    """Counts and seconds of one video, to be added up."""
    return {
        "with_transcript": int(member["transcript"] != ""),
        "narrations": len(fitted.narrations),
        "words": sum(len(narration.text.split()) for narration in fitted.narrations),
        "repeated_words_dropped": narrated.num_repeats,
        "narrations_clamped": fitted.num_clamped,
        "narrations_outside": fitted.num_outside,
        "duration_s": member["duration_s"],
        "narrated_s": coverage_s(fitted.narrations),
    }


def _info(facts: Counter[str], num_videos: int, num_paragraphs: int) -> dict[str, Any]:
    """The unit's quality in its commit record; `coverage` is the share of the videos' time that is narrated."""
    return {
        "videos": num_videos,
        "without_transcript": num_videos - facts["with_transcript"],
        "paragraphs": num_paragraphs,
        **{name: facts[name] for name in _COUNTS},
        "coverage": round(facts["narrated_s"] / facts["duration_s"], 6) if facts["duration_s"] else 0.0,
    }
