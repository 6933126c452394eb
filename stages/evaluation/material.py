"""What a protocol that measures a data set is given."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stages.artifacts.sealed import Artifact
from stages.datasets.records import Annotations
from stages.evaluation.encoding import DatasetEncoder
from stages.evaluation.features import FeatureSource
from stages.evaluation.fitting.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A data set, the videos of it that are there, and what can be read of them.

    Attributes:
        dataset: as distributed, all splits, also of videos that are not there (a prior is counted of these).
        usable: the same without the videos that cannot be measured.
        split: which of its videos are measured.
        video_ids: the manifest's video by source id.
        feature_source: rows of the first label that the protocol reads; None if that is no features.
        encoder: the run's encoder; None if the protocol asks for none.
        artifacts: every artifact that the protocol reads, by label.
        workspace: of protocols that fit something.
    """

    dataset: Annotations
    usable: Annotations
    split: str
    video_ids: Mapping[str, str]
    feature_source: FeatureSource | None
    encoder: DatasetEncoder | None
    artifacts: Mapping[str, Artifact]
    workspace: Workspace = field(default_factory=Workspace)

    @property
    def measured(self) -> Annotations:
        """The usable annotations of the measured split."""
        return self.usable.of_split(self.split)

    @property
    def features(self) -> FeatureSource:
        """The rows of a protocol that reads features."""
        if self.feature_source is None:
            raise ValueError("this protocol reads no features (ProtocolConfig.reads)")
        return self.feature_source

    @property
    def open_encoder(self) -> DatasetEncoder:
        """The encoder of a protocol that asked for it."""
        if self.encoder is None:
            raise ValueError("this protocol said that it asks for no encoder (asks_encoder)")
        return self.encoder
