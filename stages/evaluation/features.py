"""Feature rows of a data set's videos, by the data set's own names."""

from collections.abc import Mapping

import numpy as np

from stages.artifacts.sealed import Artifact
from stages.evaluation.records import F32, I64
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

    def rows_at(self, source_id: str, numbers: I64) -> F32:
        """Some rows of a video, (n, D) float32; no more of it is read."""
        return np.asarray(self._entries[source_id].map_features()[numbers], dtype=np.float32)

    def damaged_throughout(self) -> frozenset[str]:
        """Source ids of videos that have no intact row."""
        return frozenset(source_id for source_id in self._entries if self.rows(source_id).damaged.all())
