"""import_features: a folder of `.npy` files that others extracted becomes a features artifact like extract's own.

One file holds the rows of one video, evenly spaced in time. Files are joined to videos by name; a video without a file
is a named failure, a file without a video is counted. Arrays are read as numbers and never as Python objects.
"""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.artifacts.hashing import hash_bytes
from stages.artifacts.layout import Store
from stages.artifacts.manifest import Video, read_videos
from stages.artifacts.stat_cache import ContentHashes, scan
from stages.contract import Failure, Inputs, Out, Output, Stage, StageConfig, Unit, Worker
from stages.datasets.imported_features import (
    NO_FEATURES,
    UNREADABLE,
    check_length,
    check_rows,
    read_npy,
    refuse,
    row_width,
)
from stages.errors import ConfigError, SampleError, TransientError
from stages.text.names import NameIndex

SCHEMA_VERSION = 1
_MAX_NAMES = 20


class ImportFeaturesConfig(StageConfig):
    """Which files, and what their rows mean.

    Attributes:
        folder: of the `.npy` files, any depth.
        backbone: what the features are called: the artifact's label is `features.<backbone>`; `s3d` or `clip` where an
            encoder of ours is to read them.
        suffix: what follows a video's name in a file's, such as `.npy` or `_rgb.npy`; `{name}.mp4.npy` is understood.
        rate: rows a second; row k stands for the seconds [k / rate, (k + 1) / rate).
        dim: components of a row; none: what most files have.
        length_tolerance_s: by how much rows may end before or after their video, beside the length of one row.
        videos_per_shard: positions of the manifest in one unit of work, and in one tar.
    """

    folder: Path
    backbone: str = Field(default="s3d", pattern="^[a-z0-9_]+$")
    suffix: str = Field(default=".npy", pattern=r"^[^/]*\.npy$")
    rate: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    dim: int | None = Field(default=None, ge=1)
    length_tolerance_s: float = Field(default=3.0, ge=0)
    videos_per_shard: int = Field(default=64, ge=1)


@dataclass(frozen=True)
class ImportFeatures(Stage):
    """Settings of import_features; `plan_import` makes them.

    Attributes:
        config: with `dim` resolved.
        files: content hash (xxh3-128) of every feature file by its path in the folder.
    """

    config: ImportFeaturesConfig
    files: Mapping[str, str]

    name: ClassVar[str] = "import_features"
    version: ClassVar[int] = 1

    @property
    def label(self) -> str:
        """Of the artifact."""
        return f"features.{self.config.backbone}"

    @property
    def needs(self) -> tuple[str, ...]:
        """The manifest: names, positions, durations."""
        return ("manifest",)

    def outputs(self) -> tuple[Output, ...]:
        """The features; `weights` names the imported files by their names and contents."""
        listing = "".join(f"{self.files[path]} {path}\n" for path in sorted(self.files))
        about = {
            "preset": {"name": "imported", "rate": self.config.rate},
            "dim": self.config.dim,
            "weights": f"imported:xxh3:{hash_bytes(listing.encode())}",
        }
        return (Output(label=self.label, schema=SCHEMA_VERSION, about=about),)

    def units(self, inputs: Inputs) -> list[Unit]:
        """One unit for each `videos_per_shard` positions that hold a video; the first one counts the unused files.

        Raises:
            ConfigError: a name is that of two videos, two files are of one video, or no file is of any.
        """
        videos = read_videos(inputs["manifest"])
        chosen = self._join(videos)
        unused = sorted(set(self.files) - set(chosen.values()))
        shards: dict[int, list[Video]] = defaultdict(list)
        for video in videos:
            shards[video.position // self.config.videos_per_shard].append(video)
        first = min(shards, default=0)
        return [
            self._unit(number, shards[number], chosen, unused if number == first else []) for number in sorted(shards)
        ]

    def open(self, inputs: Inputs) -> Worker:
        """There is nothing to load."""
        return ImportFeaturesWorker(self.config, self.label)

    def _join(self, videos: Sequence[Video]) -> dict[str, str]:
        """The file of each video that has one."""
        index = NameIndex(videos)
        chosen: dict[str, str] = {}
        for path in sorted(self.files):
            video_id = find_video(index, path.removesuffix(self.config.suffix))
            if video_id is None:
                continue
            if video_id in chosen:
                raise ConfigError(
                    f"{self.config.folder}: {chosen[video_id]} and {path} are both features of the video {video_id}; "
                    "expected one file a video: remove one, or say with --suffix which ones are meant"
                )
            chosen[video_id] = path
        if not chosen:
            raise ConfigError(
                f"{self.config.folder}: none of its {len(self.files)} files (such as {min(self.files)}) is named like "
                f"one of the {len(videos)} videos (such as {videos[0].paths[0] if videos else 'none'}); expected "
                f"NAME{self.config.suffix} with a source id, path, file name, stem or video id"
            )
        return chosen

    def _unit(self, number: int, videos: Sequence[Video], chosen: Mapping[str, str], unused: list[str]) -> Unit:
        members = []
        for video in videos:
            path = chosen.get(video.video_id, "")
            member = {"video_id": video.video_id, "duration_s": video.duration_s, "path": path}
            members.append(member | {"hash": self.files.get(path, "")})
        settings = self.config.model_dump(mode="json", include={"backbone", "rate", "dim", "length_tolerance_s"})
        identity = {"settings": settings, "videos": members, "unused_files": unused}
        return Unit(
            unit_id=f"{number:05d}",
            inputs=tuple(video.video_id for video in videos),
            payload={"members": members, "unused_files": unused},
            identities={self.label: identity},
        )


class ImportFeaturesWorker:
    """Reads, checks and packs the files of a unit."""

    def __init__(self, config: ImportFeaturesConfig, label: str) -> None:
        self._config = config
        self._label = label

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        """Write the unit's tar."""
        from stages.artifacts.shards import ShardWriter  # webdataset imports torch, which planning must not

        counts: Counter[str] = Counter(videos=0, clips=0, rows_behind_the_end=0)
        failures = []
        with ShardWriter(out.create(self._label, f"shards/{self._config.backbone}.tar")) as writer:
            for number, member in enumerate(unit.payload["members"]):
                try:
                    rows = self._read(member)
                    parts, beyond = self._sample(member, rows)
                except SampleError as error:
                    failures.append(Failure(input_id=member["video_id"], cause=error.cause, message=str(error)))
                else:
                    writer.add(member["video_id"], parts)
                    counts.update(videos=1, clips=len(parts["spans.npy"]), rows_behind_the_end=beyond)
                out.report((number + 1) / len(unit.inputs))
        unused = unit.payload["unused_files"]
        if unused:
            out.describe(self._label, {"files_without_video": len(unused), "such_as": unused[:_MAX_NAMES]})
        out.describe(self._label, dict(counts))
        return failures

    def close(self) -> None:
        """Nothing is held."""

    def _read(self, member: Mapping[str, Any]) -> NDArray[np.float16]:
        path = member["path"]
        if not path:
            raise refuse(
                NO_FEATURES,
                f"{member['video_id']}: no file of the imported folder is named like it; extract it, or leave it out",
            )
        try:
            content = (self._config.folder / path).read_bytes()
        except OSError as error:
            raise refuse(UNREADABLE, f"{path}: cannot be read ({error.strerror}); check its permissions") from error
        if hash_bytes(content) != member["hash"]:
            raise TransientError(f"{path}: changed while it was imported; run the command again")
        return check_rows(path, read_npy(path, content), self._config.dim)

    def _sample(self, member: Mapping[str, Any], rows: NDArray[np.float16]) -> tuple[dict[str, Any], int]:
        """The parts of a video's sample, and how many of its rows begin behind its end."""
        duration_s, rate = member["duration_s"], self._config.rate
        check_length(member["path"], len(rows), rate, duration_s, self._config.length_tolerance_s)
        starts = np.arange(len(rows), dtype=np.float64) / rate
        kept = starts < duration_s - 1e-9
        spans = np.stack([starts[kept], np.minimum(starts[kept] + 1 / rate, duration_s)], axis=1)
        facts = {
            "video_id": member["video_id"],
            "backbone": self._config.backbone,
            "preset": "imported",
            "weights": f"imported:xxh3:{member['hash']}",
            "source": member["path"],
            "rate": rate,
            "duration_s": duration_s,
            "num_clips": len(spans),
            "num_damaged": 0,
            "status": "ok",
            "missing_before": 0,
            "missing_after": max(int(np.ceil(duration_s * rate - 1e-6)) - len(spans), 0),
        }
        parts = {
            f"{self._config.backbone}.npy": rows[kept],
            "spans.npy": spans,
            "damaged.npy": np.zeros(len(spans), dtype=np.bool_),
            "json": facts,
        }
        return parts, int(np.sum(~kept))


def plan_import(
    config: ImportFeaturesConfig, store: Store, on_progress: Callable[[int, int], None] | None = None
) -> ImportFeatures:
    """List and hash the feature files and resolve what the configuration leaves open.

    Args:
        config: where they are.
        store: whose stat cache remembers the hashes.
        on_progress: called with bytes hashed and bytes to hash.

    Raises:
        ConfigError: there is no such folder, no such file in it, or none that tells the width of a row.
    """
    if not config.folder.is_dir():
        raise ConfigError(f"{config.folder}: there is no such folder; expected one that holds NAME{config.suffix}")
    files = [file for file in scan(config.folder) if file.path.endswith(config.suffix) and _printable(file.path)]
    if not files:
        raise ConfigError(f"{config.folder}: there is no file *{config.suffix} in it; name the folder that holds them")
    files.sort(key=lambda file: file.path)
    hashes = ContentHashes(store, config.folder).resolve(files, on_progress=on_progress or (lambda done, total: None))
    dim = config.dim or _usual_dim(config, [file.path for file in files])
    resolved = config.model_copy(update={"dim": dim, "folder": config.folder.absolute()})
    return ImportFeatures(resolved, {file.path: hashes[file.path] for file in files})


def find_video(index: NameIndex, name: str) -> str | None:
    """The video that a feature file's name (with its folder, without the suffix) means.

    The whole relative path is tried first, then the file's name alone, then that without a media suffix: extractors
    name `x.webm.npy` what lies here as `x.mp4`.

    Raises:
        ConfigError: two videos have the name.
    """
    for candidate in dict.fromkeys((name, PurePosixPath(name).name, PurePosixPath(name).stem)):
        if (match := index.find(candidate)) is not None:
            return match.video_id
    return None


def _usual_dim(config: ImportFeaturesConfig, paths: Sequence[str]) -> int:
    """The width that most files have; of equally frequent ones the smaller."""
    widths: Counter[int] = Counter()
    for path in paths:
        with contextlib.suppress(OSError), (config.folder / path).open("rb") as file:
            if width := row_width(file):
                widths[width] += 1
    if not widths:
        raise ConfigError(
            f"{config.folder}: none of its {len(paths)} files *{config.suffix} is an array of rows; expected .npy "
            "files of shape (rows, components)"
        )
    return min(widths, key=lambda width: (-widths[width], width))


def _printable(path: str) -> bool:
    """Whether a path can stand in a record: its name is UTF-8."""
    return path.encode(errors="ignore").decode() == path
