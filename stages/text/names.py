"""Which video a name from outside means: the one rule for captions, splits, annotations, imports and `--like`."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from stages.errors import ConfigError


class Named(Protocol):
    """What a video is called; a row of the manifest has these."""

    @property
    def video_id(self) -> str:
        """Its id."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Its files, relative to the media folder, POSIX."""

    @property
    def source_ids(self) -> tuple[str, ...]:
        """A data set's own names for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What a name means.

    Attributes:
        video_id: the video.
        path_index: which of its paths matched; 0 where a source id or the video id did.
    """

    video_id: str
    path_index: int


_KINDS = ("source id", "relative path", "relative path without its suffix", "file name", "stem", "video id")


class NameIndex:
    """The names of all videos.

    A name matches, in this order: source id, relative path, the same without its suffix, file name, stem, video id. The
    first kind under which it is known decides.
    """

    def __init__(self, videos: Iterable[Named]) -> None:
        self._kinds: dict[str, defaultdict[str, dict[str, int]]] = {kind: defaultdict(dict) for kind in _KINDS}
        self._paths: dict[str, str] = {}
        for video in videos:
            self._paths[video.video_id] = video.paths[0] if video.paths else ""
            for kind, name, path_index in _names(video):
                self._kinds[kind][one_spelling(name)].setdefault(video.video_id, path_index)

    def find(self, name: str) -> Match | None:
        """The video that a name means, or None if none has it.

        Raises:
            ConfigError: two videos have it; both are named.
        """
        kind, videos = self._known_as(name)
        if len(videos) > 1:
            found = [f"{video_id} ({self._paths[video_id]})" for video_id in sorted(videos)]
            raise ConfigError(
                f"the name {name.removeprefix('./')!r} is the {kind} of {len(videos)} videos: "
                f"{' and '.join(found[:3])}; expected one: use the relative path"
            )
        return next((Match(video_id=video_id, path_index=index) for video_id, index in videos.items()), None)

    def find_all(self, name: str) -> Sequence[Match]:
        """Every video that a name means, for whoever does not know yet which of them are one."""
        _, videos = self._known_as(name)
        return [Match(video_id=video_id, path_index=index) for video_id, index in videos.items()]

    def _known_as(self, name: str) -> tuple[str, Mapping[str, int]]:
        """The first kind under which a name is known, and the index of the path by video id."""
        name = one_spelling(name.removeprefix("./"))
        for kind, videos_by_name in self._kinds.items():
            if videos := videos_by_name.get(name):
                return kind, videos
        return "", {}


def one_spelling(name: str) -> str:
    """A name with accents as most systems write them: macOS spells such a letter as two, which look like the one."""
    return unicodedata.normalize("NFC", name)


def _names(video: Named) -> Iterator[tuple[str, str, int]]:
    """(kind, name, index of the path) of all names of a video."""
    for source_id in video.source_ids:
        yield "source id", source_id, 0
    for index, text in enumerate(video.paths):
        path = PurePosixPath(text)
        yield "relative path", text, index
        yield "file name", path.name, index
        yield "stem", path.stem, index
        if len(path.parts) > 1:  # otherwise it is the stem, which ranks lower
            yield "relative path without its suffix", str(path.with_suffix("")), index
    yield "video id", video.video_id, 0
