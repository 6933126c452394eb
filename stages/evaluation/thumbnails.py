"""Thumbnails of a run for its report: which picture shows a video at a time, as data inside the page."""

from base64 import b64encode
from dataclasses import dataclass

from stages.artifacts.records import Member
from stages.artifacts.sealed import Artifact
from stages.artifacts.shards import read_member


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPictures:
    """The pictures of one video.

    Attributes:
        by_middle_s: JPEGs by the middle of their window, in seconds.
    """

    by_middle_s: dict[float, bytes]

    def data_uri(self, time_s: float) -> str:
        """The picture nearest to a time, as a data address; '' if there is none."""
        if not self.by_middle_s:
            return ""
        nearest = min(self.by_middle_s, key=lambda middle: abs(middle - time_s))
        return f"data:image/jpeg;base64,{b64encode(self.by_middle_s[nearest]).decode()}"


class ThumbnailSource:
    """The sealed `thumbnails` of a run; a video's are read when they are asked for."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._window_s, self._stride_s = float(artifact.about["window_s"]), float(artifact.about["stride_s"])

    def pictures(self, video_id: str) -> VideoPictures:
        """All pictures of a video; none if its windows are lost."""
        found = {}
        for record in self._artifact.records:
            for file in record.files:
                for member in file.members:
                    if (number := _window(member, video_id)) is not None:
                        middle_s = number * self._stride_s + self._window_s / 2
                        found[middle_s] = read_member(self._artifact.path(file), member)
        return VideoPictures(by_middle_s=found)


def _window(member: Member, video_id: str) -> int | None:
    """The number of the window that a member shows, if it is a picture of this video."""
    name, _, suffix = member.name.partition(".")
    is_picture = name == video_id and suffix.startswith("w") and suffix.endswith(".jpg")
    return int(suffix[1:-4]) if is_picture else None
