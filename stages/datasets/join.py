"""Which videos of a data set are there: in the manifest, with features, with an intact row. A score says so."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from stages.datasets.records import Annotations, DatasetVideo
from stages.errors import ConfigError
from stages.text.names import Named, NameIndex

_SHOWN = 5  # ids of each kind in a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The videos of a data set against a manifest and a set of features; all in the order of the data set.

    present + absent + without features + damaged = the data set's videos (distinct source ids).

    Attributes:
        video_ids: the manifest's video by source id, of those that can be used.
        absent: source ids that no video of the manifest has.
        without_features: source ids of videos that the manifest has, but the features have not.
        damaged: source ids of videos whose feature rows are all damaged.
        copies: (source id, earlier source id) of present ones that mean one video, as their files have the same bytes.
    """

    video_ids: Mapping[str, str]
    absent: tuple[str, ...]
    without_features: tuple[str, ...]
    copies: tuple[tuple[str, str], ...]
    damaged: tuple[str, ...] = ()

    @property
    def num_videos(self) -> int:
        """Of the data set."""
        return len(self.video_ids) + sum(map(len, self.missing.values()))

    @property
    def missing(self) -> Mapping[str, tuple[str, ...]]:
        """Source ids of those that cannot be used, by what they lack."""
        return {"absent": self.absent, "without_features": self.without_features, "damaged": self.damaged}

    def select(self, annotations: Annotations) -> Annotations:
        """The annotations of the videos that can be used."""
        return annotations.only(self.video_ids)

    def without_damaged(self, source_ids: Collection[str]) -> "Joined":
        """The same, some of its videos being of no use, as all their rows are damaged."""
        kept = {source_id: video_id for source_id, video_id in self.video_ids.items() if source_id not in source_ids}
        damaged = tuple(source_id for source_id in self.video_ids if source_id in source_ids)
        copies = tuple(pair for pair in self.copies if kept.keys() >= set(pair))
        return replace(self, video_ids=kept, damaged=(*self.damaged, *damaged), copies=copies)

    def counts(self) -> dict[str, int]:
        """Counts for a record: videos, present, absent, without_features, damaged, copies."""
        missing = {reason: len(source_ids) for reason, source_ids in self.missing.items()}
        return {"videos": self.num_videos, "present": len(self.video_ids), **missing, "copies": len(self.copies)}

    def sentence(self) -> str:
        """One line for a report, such as `2 of 4 videos are scored; 2 are absent (a, b)`."""
        parts = [f"{len(self.video_ids)} of {self.num_videos} videos are scored"]
        if self.absent:
            parts.append(f"{len(self.absent)} are absent ({_first(self.absent)})")
        if self.without_features:
            parts.append(f"{len(self.without_features)} have no features ({_first(self.without_features)})")
        if self.damaged:
            parts.append(f"{len(self.damaged)} are damaged from end to end ({_first(self.damaged)})")
        if self.copies:
            parts.append(f"{len(self.copies)} are copies of another ({_first([name for name, _ in self.copies])})")
        return "; ".join(parts)


def join(
    dataset: Iterable[DatasetVideo], manifest: Sequence[Named], *, with_features: Collection[str] | None = None
) -> Joined:
    """Find the videos of a data set in a manifest, by the rule for all names from outside.

    Args:
        dataset: its videos; one that stands in several groups counts once.
        manifest: the videos that there are.
        with_features: ids of those that have features (best a set); None: features are not asked for.

    Raises:
        ConfigError: a name means two videos of the manifest.
    """
    index = NameIndex(manifest)
    video_ids: dict[str, str] = {}
    source_of: dict[str, str] = {}
    absent, without_features, copies = [], [], []
    for source_id, video in {video.source_id: video for video in dataset}.items():
        video_id = _find(index, video)
        if video_id is None:
            absent.append(source_id)
        elif with_features is not None and video_id not in with_features:
            without_features.append(source_id)
        else:
            video_ids[source_id] = video_id
            if (earlier := source_of.setdefault(video_id, source_id)) != source_id:
                copies.append((source_id, earlier))
    return Joined(
        video_ids=video_ids, absent=tuple(absent), without_features=tuple(without_features), copies=tuple(copies)
    )


def _find(index: NameIndex, video: DatasetVideo) -> str | None:
    for name in video.names or (video.source_id,):
        try:
            match = index.find(name)
        except ConfigError as error:
            raise ConfigError(f"the data set's video {video.source_id!r}: {error}") from error
        if match:
            return match.video_id
    return None


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
