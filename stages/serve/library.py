"""What a server holds open: an index, the encoder that asks it, the media folder and the thumbnails."""

import threading
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from stages.errors import ConfigError
from stages.media.thumbnail_reader import Thumbnails
from stages.retrieval.bundle import Bundle, IndexedVideo
from stages.retrieval.paragraph_query import split_sentences
from stages.retrieval.results import Answer
from stages.retrieval.search import search_like, search_paragraph, search_sentence

if TYPE_CHECKING:
    from models.encoders.joint import JointEncoder

MOST_SENTENCES = 200
"""Of a paragraph: memory and time grow with their number."""


class UnknownVideo(ConfigError):
    """No video of the index has this id, or its file is not there to be played."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """An index that is open for questions over HTTP.

    Attributes:
        bundle: the index.
        encoder: the encoder that made it.
        media_dir: the folder that its paths are relative to; None plays nothing.
        thumbnails: pictures of its windows; None shows none.
        asking: one question at a time: each already uses the cores that there are.
    """

    bundle: Bundle
    encoder: "JointEncoder"
    media_dir: Path | None
    thumbnails: Thumbnails | None
    asking: threading.Lock

    def about(self) -> dict[str, Any]:
        """What a visitor should know before they ask, as JSON."""
        record = self.bundle.record
        return {
            "encoder": record.encoder.description,
            "random_weights": record.encoder.random_weights,
            "features": record.encoder.features,
            "num_videos": len(self.bundle.videos),
            "num_windows": self.bundle.clips.num_rows,
            "window_s": record.window_s,
            "plays_media": self.media_dir is not None,
        }

    def ask_sentence(self, text: str, num_hits: int) -> Answer:
        """The moments that show a sentence; see `search_sentence`."""
        with self.asking:
            return search_sentence(self.bundle, self.encoder, text, k=num_hits)

    def ask_paragraph(self, text: str, num_hits: int) -> Answer:
        """The videos in which a paragraph's sentences happen in their order; see `search_paragraph`.

        Raises:
            ConfigError: it has more sentences than a visitor may have aligned with every window of many videos.
        """
        sentences = split_sentences(text)
        if len(sentences) > MOST_SENTENCES:
            raise ConfigError(f"the paragraph has {len(sentences)} sentences, at most {MOST_SENTENCES} are answered")
        with self.asking:
            return search_paragraph(self.bundle, self.encoder, sentences, k=num_hits)

    def ask_like(self, name: str, num_hits: int) -> Answer:
        """The videos that are most like one; see `search_like`."""
        with self.asking:
            return search_like(self.bundle, name, k=num_hits)

    def names(self, part: str, most: int) -> list[str]:
        """First paths of videos that hold a part of a name, whatever its case, in manifest order."""
        wanted = part.casefold()
        found = (video.path for video in self.bundle.videos if wanted in video.path.casefold())
        return [path for path, _ in zip(found, range(most), strict=False)]

    def video(self, video_id: str) -> dict[str, Any]:
        """Where a video's windows end, what is said in it, and whether its file is there, as JSON."""
        video = self._video(video_id)
        narrations = self.bundle.narrations.get(video_id, ())
        return {
            "video_id": video_id,
            "paths": list(video.paths),
            "end_s": float(self.bundle.window_spans[video.rows.stop - 1, 1]) if video.rows else 0.0,
            "has_media": self._file(video) is not None,
            "narrations": [{"start_s": n.start_s, "end_s": n.end_s, "text": n.text} for n in narrations],
        }

    def media_path(self, video_id: str) -> Path:
        """The video's file.

        Raises:
            UnknownVideo: there is no such video, or none of its files is there.
        """
        path = self._file(self._video(video_id))
        if path is None:
            raise UnknownVideo(
                f"video {video_id!r}: its file is not in the media folder; start the server with --media DIR"
            )
        return path

    def thumbnail(self, video_id: str, time_s: float) -> bytes:
        """The JPEG nearest to a time of a video.

        Raises:
            UnknownVideo: there is no such video, or no picture of it.
        """
        picture = self.thumbnails.at(self._video(video_id).video_id, time_s) if self.thumbnails else None
        if picture is None:
            raise UnknownVideo(f"video {video_id!r} has no thumbnails; extract makes them unless thumbnails = false")
        return picture

    def _video(self, video_id: str) -> IndexedVideo:
        video = self.bundle.by_id.get(video_id)
        if video is None:
            raise UnknownVideo(f"no video of this index has the id {video_id!r}")
        return video

    def _file(self, video: IndexedVideo) -> Path | None:
        """The first of a video's files that is there. A bundle may come from anywhere: no path of it may climb."""
        for name in video.paths:
            path = PurePosixPath(name)
            if self.media_dir is None or path.is_absolute() or ".." in path.parts:
                continue
            if (file := self.media_dir / path).is_file():
                return file
        return None
