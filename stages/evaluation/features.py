"""Feature rows of a data set's videos, by the data set's own names."""

from collections.abc import Mapping

from stages.artifacts.sealed import Artifact
from stages.training.dataset import FeatureEntry, FeatureRows, feature_entries


class FeatureSource:
    """Reads one video's rows when they are asked for; what is read is not kept.

    Attributes:
        label: of the artifact.
    """

    def __init__(self, artifact: Artifact, video_ids: Mapping[str, str]) -> None:
        """Open the features.

        Args:
            artifact: a sealed `features.*`.
            video_ids: the manifest's video by source id.
        """
        self.label = artifact.label
        entries = feature_entries(artifact, artifact.label.partition(".")[2])
        self._entries: Mapping[str, FeatureEntry] = {
            source_id: entries[video_id] for source_id, video_id in video_ids.items()
        }

    def rows(self, source_id: str) -> FeatureRows:
        """All rows of a video, with the damaged ones marked."""
        return self._entries[source_id].read_rows()

    def damaged_throughout(self) -> frozenset[str]:
        """Source ids of videos that have no intact row."""
        return frozenset(source_id for source_id in self._entries if self.rows(source_id).damaged.all())
