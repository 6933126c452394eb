"""Finding the transcript of each video: in the captions table, in a second folder, or beside the video.

What is asked for (table or folder) goes before what lies beside; among the names of one video, its first path's
transcript wins; then the preferred language, then WebVTT before SRT.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stages.artifacts.stat_cache import scan
from stages.errors import ConfigError
from stages.text.encoding import is_utf8
from stages.text.names import Match, Named, NameIndex, one_spelling
from stages.text.readers import SUFFIXES
from stages.text.table import TableRow, read_table

CAPTIONS, MEDIA = "captions", "media"
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_NAMED_IN_LOG = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the transcript of one video is.

    Attributes:
        folder: CAPTIONS or MEDIA, the folder that `path` is relative to; '' for rows of a table.
        path: the file, relative, POSIX; for rows, the table's name.
        rows: the video's rows of the captions table, in its order.
    """

    folder: str
    path: str
    rows: tuple[TableRow, ...] = ()


@dataclass(frozen=True, slots=True)
class _Candidate:
    match: Match
    language_rank: int
    source: Source

    @property
    def rank(self) -> tuple[int, int, int, str]:
        suffix = PurePosixPath(self.source.path).suffix.lower()
        return self.match.path_index, self.language_rank, SUFFIXES.index(suffix), self.source.path


def find_sources(
    videos: Sequence[Named], *, media_dir: Path | None, captions: Path | None, language: str = "en"
) -> dict[str, Source]:
    """The transcript of each video that has one, by video id.

    Args:
        videos: of the manifest.
        media_dir: the folder that their paths are relative to; None if there are no files to look beside.
        captions: a captions table (.csv), a folder of transcripts, or None.
        language: of two files `<name>.<language>.vtt`, the one in this language is taken; one without a language in its
            name goes before both.

    Raises:
        ConfigError: a folder or the table is not there or is none; or a name means two videos.
    """
    check_captions(captions)
    found = _best(_beside(media_dir, videos, language)) if media_dir else {}
    if captions is None:
        return found
    if captions.is_dir():
        return found | _best(_in_folder(captions, NameIndex(videos), language))
    return found | _in_table(captions, NameIndex(videos))


def possible_sources(
    videos: Sequence[Named], *, media_dir: Path, captions: Path | None
) -> Iterator[tuple[str, Source]]:
    """Every transcript with the id of each video that it may belong to, matched as `find_sources` does.

    They come one by one, for whoever needs few, and before it is known which files are one video: a name of several is
    no error here.

    Args:
        videos: of the manifest, or what may become one.
        media_dir: the folder that their paths are relative to.
        captions: a captions table (.csv), a folder of transcripts, or None.

    Raises:
        ConfigError: a folder or the table is not there or is none.
    """
    check_captions(captions)
    if captions is not None and captions.is_dir():
        names = NameIndex(videos)
        for path in _transcript_paths(captions):
            for match in _match_in_folder(path, "", names.find_all)[0]:
                yield match.video_id, Source(folder=CAPTIONS, path=path)
    elif captions is not None:
        names = NameIndex(videos)
        for row in read_table(captions):
            for match in names.find_all(row.video):
                yield match.video_id, Source(folder="", path=captions.name, rows=(row,))
    for candidate in _beside(media_dir, videos, ""):
        yield candidate.match.video_id, candidate.source


def check_captions(captions: Path | None) -> None:
    """Refuse captions that are neither a folder nor a table.

    Raises:
        ConfigError: they are not there, or something else.
    """
    if captions is None or captions.is_dir() or (captions.is_file() and captions.suffix.lower() == ".csv"):
        return
    problem = "a file that is no .csv table" if captions.exists() else "not there"
    raise ConfigError(
        f"[align] captions = {captions}: this is {problem}; expected a folder of {' or '.join(SUFFIXES)} files, or a "
        "captions table (.csv with the columns video,start_s,end_s,text)"
    )


def _best(candidates: Iterable[_Candidate]) -> dict[str, Source]:
    best: dict[str, _Candidate] = {}
    for candidate in candidates:
        video_id = candidate.match.video_id
        if video_id not in best or candidate.rank < best[video_id].rank:
            best[video_id] = candidate
    return {video_id: candidate.source for video_id, candidate in best.items()}


def holds_transcripts(folder: Path) -> bool:
    """Whether a transcript lies somewhere below a folder, by the names of its files."""
    return any(_is_transcript(file.path) for file in scan(folder))


def _transcript_paths(folder: Path) -> list[str]:
    return sorted(file.path for file in scan(folder) if _is_transcript(file.path))


def _paths_beside(media_dir: Path, videos: Iterable[Named]) -> list[str]:
    """Transcripts in the folders of the videos only: what else lies below the media folder is not looked at."""
    found = []
    for folder in {PurePosixPath(path).parent for video in videos for path in video.paths}:
        try:
            names = [entry.name for entry in (media_dir / folder).iterdir()]
        except OSError as error:
            raise ConfigError(
                f"[ingest] media: the folder {media_dir / folder} of known videos cannot be read ({error.strerror}); "
                "put it back, or run ingest again without it"
            ) from error
        found += [str(folder / name) for name in names if _is_transcript(name)]
    return sorted(found)


def _is_transcript(path: str) -> bool:
    """Whether a file counts; one whose name is no UTF-8 is nobody's, since the manifest escapes such names."""
    return path.lower().endswith(SUFFIXES) and not PurePosixPath(path).name.startswith(".") and is_utf8(path)


def _match(path: str, language: str, find: Callable[[str], Sequence[Match]]) -> tuple[Sequence[Match], int]:
    """Matches of a transcript by its path without the suffix, else also without a language, and the language's rank."""
    name = path[: path.rindex(".")]
    if matches := find(name):
        return matches, 0
    stem, _, tag = name.rpartition(".")
    if stem and "/" not in tag and _LANGUAGE.fullmatch(tag) and (matches := find(stem)):
        preferred = re.split("[-_]", tag)[0].lower() == re.split("[-_]", language)[0].lower()
        return matches, 1 if preferred else 2
    return (), 0


def _beside(media_dir: Path, videos: Sequence[Named], language: str) -> Iterable[_Candidate]:
    """Transcripts in a video's own folder with its stem (`x.vtt`) or its file name (`x.mp4.vtt`)."""
    owners: defaultdict[str, list[Match]] = defaultdict(list)
    for video in videos:
        for index, path in enumerate(video.paths):
            for name in {path, str(PurePosixPath(path).with_suffix(""))}:
                owners[one_spelling(name)].append(Match(video_id=video.video_id, path_index=index))
    for path in _paths_beside(media_dir, videos):
        matches, language_rank = _match(path, language, lambda name: owners.get(one_spelling(name), ()))
        for match in matches:
            yield _Candidate(match, language_rank, Source(folder=MEDIA, path=path))


def _match_in_folder(path: str, language: str, find: Callable[[str], Sequence[Match]]) -> tuple[Sequence[Match], int]:
    """As `_match`: a mirrored tree names a video by its path, a flat folder by a name alone."""
    return _match(path, language, lambda name: find(name) or find(PurePosixPath(name).name))


def _in_folder(folder: Path, names: NameIndex, language: str) -> Iterable[_Candidate]:
    def find(name: str) -> Sequence[Match]:
        match = names.find(name)
        return (match,) if match else ()

    unknown = []
    for path in _transcript_paths(folder):
        try:
            matches, language_rank = _match_in_folder(path, language, find)
        except ConfigError as error:
            raise ConfigError(f"{folder / path}: {error}") from error
        if not matches:
            unknown.append(path)
        for match in matches:
            yield _Candidate(match, language_rank, Source(folder=CAPTIONS, path=path))
    _log_unknown(folder, unknown)


def _in_table(table: Path, names: NameIndex) -> dict[str, Source]:
    rows: defaultdict[str, defaultdict[int, list[TableRow]]] = defaultdict(lambda: defaultdict(list))
    matches: dict[str, Match | None] = {}
    for row in read_table(table):
        if not row.video:  # nobody's, so it can be no video's failure
            raise ConfigError(f"{table.parent}: {row.problem}")
        if row.video not in matches:
            try:
                matches[row.video] = names.find(row.video)
            except ConfigError as error:
                raise ConfigError(f"{table}: {error}") from error
        if match := matches[row.video]:
            rows[match.video_id][match.path_index].append(row)
    _log_unknown(table, [name for name, match in matches.items() if match is None])
    return {
        video_id: Source(folder="", path=table.name, rows=tuple(by_path[min(by_path)]))
        for video_id, by_path in rows.items()
    }


def _log_unknown(place: Path, names: Sequence[str]) -> None:
    if names:
        first = ", ".join(names[:_NAMED_IN_LOG])
        log.warning("captions_without_video place=%s count=%d first=%s", place, len(names), first)
