"""What training on pixels reads: single frames of a `frames` artifact, each at its place in the tars.

The door to tar imports torch (through webdataset), so it is opened when something is read: planning only lists them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.artifacts.records import Member
from stages.artifacts.sealed import Artifact
from stages.errors import Corrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameEntry:
    """Where one video's frames lie.

    Attributes:
        path: the tar.
        pictures: the members with JPEGs, in the order of time; n of them.
        times: the member with (n,) float64 seconds.
        damaged: the member with (n,) bool.
    """

    path: Path
    pictures: tuple[Member, ...]
    times: Member
    damaged: Member

    def read_times(self) -> NDArray[np.float64]:
        """Return the frames' true presentation times: (n,) seconds, ascending."""
        from stages.artifacts.shards import read_array

        return read_array(self.path, self.times)

    def read_damaged(self) -> NDArray[np.bool_]:
        """Return the (n,) mask, True where a frame must not be used."""
        from stages.artifacts.shards import read_array

        return read_array(self.path, self.damaged)

    def read_picture(self, number: int) -> NDArray[np.uint8]:
        """Return frame `number` of n as (H, W, 3) RGB; nothing else is read.

        Raises:
            Corrupt: it is no picture.
        """
        from stages.artifacts.shards import read_member
        from stages.media.jpeg import decode_picture

        member = self.pictures[number]
        try:
            return decode_picture(read_member(self.path, member))
        except ValueError as error:
            raise Corrupt(f"{self.path}: member {member.name}: {error}; run `fabula verify`") from error


def frame_entries(artifact: Artifact) -> dict[str, FrameEntry]:
    """Return the frame entries of all shards, by video id.

    Args:
        artifact: a sealed `frames` artifact.

    Raises:
        Corrupt: a video lacks its times or its mask.
    """
    entries = {}
    for record in artifact.records:
        for file in record.files:
            for video_id, parts in file.samples().items():
                if missing := {"times.npy", "damaged.npy"} - set(parts):
                    raise Corrupt(
                        f"{artifact.path(file)}: video {video_id} lacks {sorted(missing)}; run `fabula verify`"
                    )
                entries[video_id] = FrameEntry(
                    path=artifact.path(file),
                    pictures=tuple(parts[suffix] for suffix in sorted(parts) if suffix.endswith(".jpg")),
                    times=parts["times.npy"],
                    damaged=parts["damaged.npy"],
                )
    return entries
