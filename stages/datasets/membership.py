"""A data set's annotations against what a run has: which of its videos can be measured, or trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.artifacts.manifest import Member
from stages.artifacts.sealed import Artifact
from stages.datasets.files import DatasetFiles, Split
from stages.datasets.join import Joined, join
from stages.datasets.records import Annotations


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A data set's annotations against what the run has.

    Attributes:
        annotations: of all splits, as the data set settles them among the videos that can be used.
        joined: the videos of one split, and which of them are there.
        usable: the manifest's video by source id, of all videos of all splits that can be used.
        unread: video ids and paths, by which failures name them, of the split's videos that have no features.
    """

    annotations: Annotations
    joined: Joined
    usable: Mapping[str, str]
    unread: frozenset[str]


def find_members(
    dataset: DatasetFiles, split: Split, members: Sequence[Member], unit_of: Sequence[Mapping[str, str]]
) -> Membership:
    """Find a data set's videos.

    Args:
        dataset: which.
        split: that is measured or trained on.
        members: of the manifest, failed ones too: a video that could not be read is not absent, it has no features.
        unit_of: for each artifact that is read, the unit that holds a video.

    Raises:
        ConfigError: a file is not what the data set distributes, or a name means two videos.
    """
    annotations = dataset.read()
    with_features = set.intersection(*(set(units) for units in unit_of))
    usable = join(annotations.videos, members, with_features=with_features).video_ids
    annotations = dataset.settle(annotations, set(usable))
    wanted = dataset.members(annotations, split)
    listed = set(join(wanted, members).video_ids.values())
    unread = (member for member in members if member.video_id in listed - with_features)
    return Membership(
        annotations=annotations,
        joined=join(wanted, members, with_features=with_features),
        usable=usable,
        unread=frozenset(name for member in unread for name in (member.video_id, *member.paths)),
    )


def unit_of_videos(artifact: Artifact) -> dict[str, str]:
    """Which unit of an artifact of tars holds each video."""
    return {
        member.name.partition(".")[0]: record.unit_id
        for record in artifact.records
        for file in record.files
        for member in file.members
    }
