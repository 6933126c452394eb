"""The picture of a moment, from the `thumbnails` artifact of the run that made an index."""

import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache

from stages.artifacts.records import Member
from stages.artifacts.sealed import Artifact

_OPEN_SHARDS = 8


class Thumbnails:
    """Finds thumbnails by video and time; reads a shard's record only once one of its videos is asked for."""

    def __init__(self, artifact: Artifact) -> None:
        """Remember where to look.

        Args:
            artifact: a sealed `thumbnails` artifact; it says how its windows lie.
        """
        self._artifact = artifact
        self._window_s = float(artifact.about["window_s"])
        self._stride_s = float(artifact.about["stride_s"])
        self._unit_of: dict[str, str] = {}
        self._unread = sorted(artifact.description.units, reverse=True)
        self._reading = threading.Lock()
        self._shard = lru_cache(_OPEN_SHARDS)(self._read_shard)

    def at(self, video_id: str, time_s: float) -> bytes | None:
        """Give the JPEG of the search window whose middle is nearest to a time; None if the video has none."""
        from stages.artifacts.shards import read_member

        with self._reading:
            unit_id = self._find_unit(video_id)
            pictures = self._shard(unit_id).get(video_id) if unit_id else None
        if not pictures:
            return None
        wanted = round((time_s - self._window_s / 2) / self._stride_s)
        nearest = min(pictures, key=lambda number: abs(number - wanted))
        record = self._artifact.record(unit_id) if unit_id else None
        return read_member(self._artifact.path(record.files[0]), pictures[nearest]) if record else None

    def _find_unit(self, video_id: str) -> str | None:
        while video_id not in self._unit_of and self._unread:
            unit_id = self._unread.pop()
            self._unit_of.update(dict.fromkeys(self._shard(unit_id), unit_id))
        return self._unit_of.get(video_id)

    def _read_shard(self, unit_id: str) -> Mapping[str, Mapping[int, Member]]:
        """Thumbnails of each video of a shard, by window."""
        found: dict[str, dict[int, Member]] = {}
        for member in self._members(unit_id):
            video_id, _, suffix = member.name.partition(".")
            if suffix.endswith(".jpg"):
                found.setdefault(video_id, {})[int(suffix[1:-4])] = member
        return found

    def _members(self, unit_id: str) -> Iterator[Member]:
        record = self._artifact.record(unit_id)
        for file in record.files if record else ():
            yield from file.members
