"""ingest: a folder of media, or a table of paths, becomes the manifest: one row a video, one Failure a bad file.

Planning hashes what it has not seen before (by size, mtime and inode), groups files with the same bytes into one
member, and gives each member a position and a video id that it keeps for ever. The units then probe the members.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from pydantic import Field

from stages.artifacts.hashing import hash_bytes
from stages.artifacts.manifest import (
    MANIFEST_SCHEMA_VERSION,
    MEMBERS,
    MEMBERS_SCHEMA,
    VIDEOS,
    VIDEOS_SCHEMA,
    Member,
    Video,
    member_from_json,
    read_members,
)
from stages.artifacts.stat_cache import ContentHashes, FoundFile
from stages.artifacts.tables import rows_table, write_table
from stages.contract import Failure, Inputs, Out, Output, Stage, StageConfig, Unit, Worker
from stages.errors import ConfigError, SampleError
from stages.media.candidates import Candidates, find_candidates, find_folder
from stages.media.sources import source_from_json
from stages.text.encoding import is_utf8

_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ID_LENGTH, _HASH_LENGTH = 64, 12


class IngestConfig(StageConfig):
    """Where the videos are.

    Attributes:
        media: a folder (any depth), a table (.csv with a column `path` and, if wanted, `source_id`; paths relative to
            the table), or a list of frame folders (.txt, lines `path n_frames label`).
        frame_rate: pictures a second in folders of numbered pictures (`frame_00001.jpg`, ...), each of which is then a
            video; unset: pictures are none.
        videos_per_unit: members of one unit of work.
        deadline_s: how long probing one file may take.
    """

    media: Path
    frame_rate: float | None = Field(default=None, gt=0, le=1000)
    videos_per_unit: int = Field(default=1_000, ge=1)
    deadline_s: float = Field(default=60.0, gt=0)


@dataclass(frozen=True)
class Ingest(Stage):
    """Settings of ingest; `rehash` reads every file again, whatever the stat cache says."""

    config: IngestConfig
    rehash: bool = False

    name: ClassVar[str] = "ingest"
    version: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """Nothing: it is the first."""
        return ()

    def outputs(self) -> tuple[Output, ...]:
        """The manifest."""
        return (Output(label="manifest", schema=MANIFEST_SCHEMA_VERSION),)

    def units(self, inputs: Inputs) -> list[Unit]:
        """One unit for each `videos_per_unit` positions that hold a member."""
        found = find_candidates(self.config.media, self.config.frame_rate)
        hashes = ContentHashes(inputs.store, found.folder).resolve(
            [file for file in found.files if is_utf8(file.path)], rehash=self.rehash, on_progress=inputs.on_planning
        )
        earlier = [member for manifest in inputs.previous.get("manifest", ())[:1] for member in read_members(manifest)]
        members = assign_members(found.files, _with_rates(hashes, found), found.source_ids, earlier)
        if not members:
            raise ConfigError(
                f"[ingest] media = {self.config.media}: there is no file in it that could be a video; name a folder "
                "that holds videos, or set frame_rate if they are folders of pictures"
            )
        by_unit: dict[int, list[Member]] = defaultdict(list)
        for member in members:
            by_unit[member.position // self.config.videos_per_unit].append(member)
        return [_unit(number, by_unit[number], found) for number in sorted(by_unit)]

    def open(self, inputs: Inputs) -> Worker:
        """Start the process that probes."""
        return IngestWorker(find_folder(self.config.media), self.config)


class IngestWorker:
    """Probes the members of a unit, each in a process that may die."""

    def __init__(self, folder: Path, config: IngestConfig) -> None:
        from stages.media.isolation import IsolatedProber

        self._folder = folder
        self._prober = IsolatedProber(deadline_s=config.deadline_s)

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        """Write the unit's rows of `videos` and `members`."""
        members = [member_from_json(row) for row in unit.payload["members"]]
        frame_folders = unit.payload.get("frame_folders", {})
        videos: list[Video] = []
        failures: list[Failure] = []
        for number, member in enumerate(members):
            try:
                videos.append(self._probe(member, frame_folders.get(member.paths[0], {})))
            except SampleError as error:
                failures += [Failure(input_id=path, cause=error.cause, message=str(error)) for path in member.paths]
            out.report((number + 1) / len(members))
        write_table(out.create("manifest", VIDEOS), rows_table(VIDEOS_SCHEMA, (video.to_json() for video in videos)))
        write_table(out.create("manifest", MEMBERS), rows_table(MEMBERS_SCHEMA, (m.to_json() for m in members)))
        duplicates = sum(len(video.paths) - 1 for video in videos)
        out.describe("manifest", {"videos": len(videos), "duplicates": duplicates})
        return failures

    def close(self) -> None:
        """End the process that probes."""
        self._prober.close()

    def _probe(self, member: Member, frame_folder: Mapping[str, Any]) -> Video:
        if member.problem:
            raise UnreadableFile(member.problem)
        source = source_from_json({"path": self._folder / member.paths[0], **frame_folder})
        info = self._prober.probe(source)
        return Video(
            video_id=member.video_id,
            position=member.position,
            paths=member.paths,
            source_ids=member.source_ids,
            content_hash=member.content_hash,
            size_bytes=member.size_bytes,
            duration_s=info.duration_s,
            frame_rate=info.frame_rate,
            width=info.width,
            height=info.height,
            rotation=info.rotation,
            container=info.container,
            video_codec=info.video_codec,
            audio_codec=info.audio_codec,
            has_audio=info.has_audio,
            status="ok",
        )


class UnreadableFile(SampleError):
    """A file whose bytes or name cannot be read."""

    cause = "unreadable"


def assign_members(
    files: Sequence[FoundFile],
    hashes: Mapping[str, str],
    source_ids: Mapping[str, tuple[str, ...]],
    earlier: Sequence[Member],
) -> list[Member]:
    """Group files by content and give each group its position and id.

    Args:
        files: in path order.
        hashes: content hash by path; '' or missing when the file cannot be read.
        source_ids: by path.
        earlier: members of the newest sealed manifest: what is in them keeps position and id; what is new is appended
            in path order; what is gone leaves a gap.

    Returns:
        The members in the order of their positions.
    """
    groups: dict[str, list[FoundFile]] = defaultdict(list)
    for file in files:
        groups[hashes.get(file.path) or f"unreadable:{_printable(file.path)}"].append(file)
    known = {_group_key(member): member for member in earlier}
    taken = {member.video_id for member in earlier}
    next_position = max((member.position for member in earlier), default=-1) + 1
    members = []
    for key, group in groups.items():
        if (before := known.get(key)) is not None:
            position, video_id = before.position, before.video_id
        else:
            position, next_position = next_position, next_position + 1
            video_id = make_video_id(PurePosixPath(_printable(group[0].path)).stem, hash_key(key), taken)
            taken.add(video_id)
        members.append(
            Member(
                position=position,
                video_id=video_id,
                content_hash=hashes.get(group[0].path, ""),
                size_bytes=group[0].size,
                paths=tuple(_printable(file.path) for file in group),
                source_ids=tuple(dict.fromkeys(name for file in group for name in source_ids.get(file.path, ()))),
                problem="" if hashes.get(group[0].path) else _problem(group[0].path),
            )
        )
    return sorted(members, key=lambda member: member.position)


def make_video_id(stem: str, content_hash: str, taken: set[str]) -> str:
    """The stem if it can be an id and is free, else the cleaned stem with 12 digits of the hash."""
    if _VIDEO_ID.fullmatch(stem) and stem not in taken:
        return stem
    ascii_stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    cleaned = re.sub(r"[^A-Za-z0-9_-]+", "-", ascii_stem) or "video"
    for length in range(_HASH_LENGTH, len(content_hash) + 1):  # more digits if a file is called like the id of another
        video_id = f"{cleaned[: _ID_LENGTH - 1 - length]}-{content_hash[:length]}"
        if video_id not in taken:
            break
    return video_id


def hash_key(key: str) -> str:
    """The content hash of a group's key; an unreadable file has only its name to hash."""
    return hash_bytes(key.encode()) if key.startswith("unreadable:") else key


def _group_key(member: Member) -> str:
    return member.content_hash or f"unreadable:{member.paths[0]}"


def _printable(path: str) -> str:
    return path if is_utf8(path) else path.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _problem(path: str) -> str:
    if not is_utf8(path):
        return f"{_printable(path)}: the file's name is no UTF-8; rename the file"
    return f"{path}: the file cannot be read; check its permissions and the disk"


def _with_rates(hashes: Mapping[str, str], found: Candidates) -> dict[str, str]:
    """Content hashes; what a folder of pictures is as a video also depends on how many count, and how fast."""
    rated = {
        path: hash_bytes(f"{hashes[path]} {count} {found.frame_rate!r}".encode())
        for path, count in found.num_frames.items()
        if hashes.get(path)
    }
    return {**hashes, **rated}


def _unit(number: int, members: Sequence[Member], found: Candidates) -> Unit:
    content: dict[str, Any] = {"members": [member.to_json() for member in members]}
    frame_folders = {
        member.paths[0]: {"num_frames": found.num_frames[member.paths[0]], "frame_rate": found.frame_rate}
        for member in members
        if member.paths[0] in found.num_frames
    }
    if frame_folders:
        content["frame_folders"] = frame_folders
    return Unit(
        unit_id=f"{number:05d}",
        inputs=tuple(path for member in members for path in member.paths),
        payload=content,
        identities={"manifest": content},
    )
