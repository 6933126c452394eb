"""Which files, and which folders of pictures, may be videos: what ingest and the doctor begin with. Nothing is opened.

A media folder is searched to any depth; a table (.csv) or a list (.txt) says what there is. In a list, a line is
`path n_frames label`, as action data sets have it; the label is theirs.
"""

import csv
import io
import logging
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from stages.artifacts.manifest import Video
from stages.artifacts.stat_cache import FoundFile, folder_as_file, scan
from stages.errors import ConfigError
from stages.media.sources import FRAME_FOLDER, FrameFolder, Source, find_numbering, source_to_json

# fmt: off
COMPANION_SUFFIXES = frozenset((
    ".vtt", ".srt", ".ttml", ".dfxp", ".json", ".jsonl", ".csv", ".tsv", ".txt", ".md", ".html", ".xml", ".yaml",
    ".yml", ".toml", ".pdf", ".log", ".nfo", ".jpg", ".jpeg", ".png", ".webp", ".svg", ".npy", ".npz", ".parquet",
    ".pt", ".pth", ".safetensors", ".sha256", ".md5", ".part", ".tmp",
))
# fmt: on
"""Files that lie beside videos and are none. Everything else must end as a video or as a named failure."""

logger = logging.getLogger(__name__)

_FEWEST_PICTURES = 2  # a folder with one numbered picture is a folder with a picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What may be a video.

    Attributes:
        folder: that all paths are relative to.
        files: in path order; a folder of pictures stands among them like a file.
        source_ids: names that a table or a list gives them, by path.
        num_frames: of those that are folders of pictures, by path.
        frame_rate: pictures a second in such folders; 0 if there are none.
    """

    folder: Path
    files: Sequence[FoundFile]
    source_ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    num_frames: Mapping[str, int] = field(default_factory=dict)
    frame_rate: float = 0.0

    def source(self, path: str) -> Source:
        """What a decoder is given for a path."""
        if path in self.num_frames:
            return FrameFolder(path=self.folder / path, frame_rate=self.frame_rate, num_frames=self.num_frames[path])
        return self.folder / path


def folder_of(media: Path) -> Path:
    """The folder that the manifest's paths are relative to, whether it is there or not."""
    is_list = media.suffix.lower() in (".csv", ".txt") and not media.is_dir()
    return media.parent if is_list else media


def find_folder(media: Path) -> Path:
    """The folder that the manifest's paths are relative to.

    Raises:
        ConfigError: `media` does not exist.
    """
    folder = folder_of(media)
    if media.is_dir() or (media.is_file() and folder != media):
        return folder
    problem = "a file that is no .csv table and no .txt list" if media.exists() else "not there"
    raise ConfigError(
        f"[ingest] media = {media}: this is {problem}; expected a folder of videos, a .csv table with a column 'path', "
        "or a .txt list of frame folders (make run MEDIA=DIR)"
    )


def find_candidates(media: Path, frame_rate: float | None = None) -> Candidates:
    """Find the candidates for videos.

    Args:
        media: a folder, a table, or a list of frame folders.
        frame_rate: pictures a second in folders of numbered pictures; None: such folders are passed over.

    Raises:
        ConfigError: the table or the list is not one, or names something that is outside of its folder; or a list is
            given without a rate.
    """
    folder = find_folder(media)
    if media.is_dir():
        return _search(folder, frame_rate)
    if media.suffix.lower() == ".csv":
        return _read_table(media)
    if frame_rate is None:
        raise ConfigError(
            f"[ingest] media = {media}: a list names folders of pictures, and nothing says how many of them a second; "
            "set [ingest] frame_rate"
        )
    return _read_list(media, frame_rate)


def video_source(video: Video) -> dict[str, Any]:
    """A video of the manifest as a decode job is given it, its path still relative to the media folder."""
    path = Path(video.paths[0])
    if video.container != FRAME_FOLDER:
        return source_to_json(path)
    count = round(video.duration_s * video.frame_rate)
    return source_to_json(FrameFolder(path=path, frame_rate=video.frame_rate, num_frames=count))


def _search(folder: Path, frame_rate: float | None) -> Candidates:
    files = list(scan(folder))
    videos = [file for file in files if _suffix(file.path) not in COMPANION_SUFFIXES]
    if frame_rate is None:
        return Candidates(folder=folder, files=_in_order(videos))
    by_folder: dict[str, list[FoundFile]] = defaultdict(list)
    for file in files:
        by_folder[str(PurePosixPath(file.path).parent)].append(file)
    num_frames = {}
    for path, inside in by_folder.items():
        count = _count_pictures(inside)
        if path != "." and count >= _FEWEST_PICTURES:
            num_frames[path] = count
            videos.append(folder_as_file(path, inside))
    return Candidates(folder=folder, files=_in_order(videos), num_frames=num_frames, frame_rate=frame_rate)


def _read_table(table: Path) -> Candidates:
    rows = [(line, _inside(table, line, path), source_id) for line, path, source_id in _table_rows(table)]
    files = {path: _stat(table, line, path) for line, path, _ in rows}
    named = ((path, source_id) for _, path, source_id in rows if source_id)
    return Candidates(folder=table.parent, files=_in_order(files.values()), source_ids=_gather(named))


def _table_rows(table: Path) -> list[tuple[int, str, str]]:
    reader = csv.DictReader(io.StringIO(_read_text(table), newline=""))
    try:
        if "path" not in (reader.fieldnames or ()):
            raise ConfigError(f"{table}: the table has columns {reader.fieldnames}, expected a column 'path'")
        return [(reader.line_num, row["path"], row.get("source_id") or "") for row in reader]
    except csv.Error as error:
        raise ConfigError(
            f"{table}, line {reader.line_num + 1}: this row is no CSV ({error}); mend its quotes"
        ) from error


def _read_list(listing: Path, frame_rate: float) -> Candidates:
    files, num_frames, names = {}, {}, []
    for line, name, count in _list_rows(listing):
        path = _inside(listing, line, name)
        if not (listing.parent / path).is_dir():  # a list of videos names the files that the pictures come from
            path = str(PurePosixPath(path).with_suffix(""))
        inside = _files_in(listing.parent / path)
        files[path] = folder_as_file(path, inside)
        num_frames[path] = min(count, _count_pictures(inside))
        names.append((path, name))
        if num_frames[path] < count:
            logger.warning("frame_folder_is_short path=%s listed=%d found=%d", path, count, num_frames[path])
    return Candidates(
        folder=listing.parent, files=_in_order(files.values()), source_ids=_gather(names), num_frames=num_frames,
        frame_rate=frame_rate,
    )  # fmt: skip


def _list_rows(listing: Path) -> Iterator[tuple[int, str, int]]:
    for line, text in enumerate(_read_text(listing).split("\n"), start=1):
        fields = text.split()
        if not fields:
            continue
        if len(fields) < 2 or not fields[1].isdecimal() or int(fields[1]) < 1:
            raise ConfigError(f"{listing}, line {line}: got {text!r}, expected 'path n_frames label', n_frames >= 1")
        yield line, fields[0], int(fields[1])


def _read_text(table: Path) -> str:
    try:
        return table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{table}: byte {error.start} is not UTF-8 ({error.reason}); save it as UTF-8") from error


def _inside(table: Path, line: int, path: str) -> str:
    """The path in POSIX form without detours, if it is inside the folder of the table or list."""
    plain = posixpath.normpath(path) if path else ""
    if not path or not _leads_inside(table.parent, plain):
        raise ConfigError(
            f"{table}, line {line}: path {path!r} is not inside the table's folder; write it relative to the table"
        )
    return plain


def _leads_inside(folder: Path, path: str) -> bool:
    try:
        return not PurePosixPath(path).is_absolute() and (folder / path).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a link to itself; a NUL
        return False


def _stat(table: Path, line: int, path: str) -> FoundFile:
    place = table.parent / path
    if not place.is_file():
        raise ConfigError(f"{table}, line {line}: there is no file {path!r} beside the table; mend or remove the row")
    return FoundFile.of(path, place.stat())


def _files_in(folder: Path) -> list[FoundFile]:
    """The files in a folder, without those below it; one that cannot be read holds none and becomes a named failure."""
    try:
        return [file for file in scan(folder) if "/" not in file.path]
    except OSError:
        return []


def _count_pictures(inside: Iterable[FoundFile]) -> int:
    numbering = find_numbering(PurePosixPath(file.path).name for file in inside)
    return numbering.count if numbering is not None else 0


def _gather(named: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """The names of each path, each once, in their order."""
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for path, name in named:
        names[path][name] = None
    return {path: tuple(found) for path, found in names.items()}


def _in_order(files: Iterable[FoundFile]) -> list[FoundFile]:
    return sorted(files, key=lambda file: file.path)


def _suffix(path: str) -> str:
    return path[path.rfind(".") :].lower() if "." in path else ""
