"""Settings of the protocols that measure a frozen frame backbone: VCLR's downstream ones, and few-shot recognition."""

from typing import Literal

from pydantic import Field

from stages.contract import Resources, StageConfig
from stages.evaluation.fitting.settings import FitSettings
from stages.evaluation.protocol_configs import ProtocolConfig, RowWindowsConfig, most_of
from stages.training.choice import EncoderChoice


class FrameProtocolConfig(ProtocolConfig):
    """What all of them say.

    Attributes:
        backbone: whose rows are read, `features.<backbone>`.
    """

    asks_encoder = False

    backbone: str = Field(default="resnet", pattern=r"^[a-z0-9_]+$")

    def reads(self, encoder: EncoderChoice) -> tuple[str, ...]:
        """The features."""
        return (f"features.{self.backbone}",)


class LinearProbeConfig(FrameProtocolConfig):
    """A linear classifier on the mean row of a video (papers.md 4.5).

    Attributes:
        num_frames: rows that the mean is taken of, spread evenly.
        cost: C of the support vector machine.
        tolerance: when it is solved (`models.actions.linear_svm`).
        threads: of torch; another number gives other last bits.
    """

    name: Literal["linear_probe"]
    num_frames: int = Field(default=30, ge=1)
    cost: float = Field(default=1.0, gt=0)
    tolerance: float = Field(default=1e-3, gt=0, lt=1)
    threads: int = Field(default=1, ge=1)

    def occupies(self) -> Resources:
        """Its threads."""
        return Resources(num_cpus=self.threads)


class VideoRetrievalConfig(FrameProtocolConfig):
    """Videos of the measured split ask for train videos of their class (papers.md 4.5).

    Attributes:
        num_frames: rows that a video's mean is taken of, spread evenly.
        ks: cut-offs of hit@k.
    """

    name: Literal["video_retrieval"]
    num_frames: int = Field(default=30, ge=1)
    ks: tuple[int, ...] = Field(default=(1, 5, 10, 20, 50), min_length=1)


class EpisodesConfig(StageConfig):
    """Episodes of few-shot recognition (papers.md 3.7).

    Attributes:
        ways: classes of an episode.
        shots: videos that are shown of each; one result a number.
        queries: videos that are asked of each.
        num_episodes: that are drawn.
        num_frames: rows of a video, spread evenly.
        seed: of the draw.
    """

    ways: int = Field(default=5, ge=2)
    shots: tuple[int, ...] = Field(default=(1, 5), min_length=1)
    queries: int = Field(default=1, ge=1)
    num_episodes: int = Field(default=10_000, ge=1)
    num_frames: int = Field(default=8, ge=1)
    seed: int = Field(default=0, ge=0)


class FewShotConfig(EpisodesConfig, FrameProtocolConfig):
    """Few-shot recognition by alignment of frozen rows."""

    name: Literal["few_shot"]


class FewShotStatesConfig(EpisodesConfig, RowWindowsConfig):
    """Few-shot recognition by alignment of the encoder's states of rows."""

    name: Literal["few_shot_states"]


class ClassifierFit(FitSettings):
    """How a segment network's head is fitted to frozen rows; the defaults are VCLR's for ActivityNet."""

    epochs: int = Field(default=50, ge=1)
    batch_size: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=0.01, gt=0)
    drops: tuple[int, ...] = (20, 40)


class ProposalFit(FitSettings):
    """How the proposal network is fitted; the defaults are VCLR's, its batch on two cards together."""

    epochs: int = Field(default=9, ge=1)
    batch_size: int = Field(default=16, ge=1)
    optimiser: Literal["sgd", "adam"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    drops: tuple[int, ...] = (7,)


class BmnSizes(StageConfig):
    """Sizes of the proposal network (`models.actions.bmn.BmnSize`); the defaults are those for ActivityNet."""

    hidden: int = Field(default=256, ge=4)
    pair_hidden: int = Field(default=512, ge=1)
    map_hidden: int = Field(default=128, ge=1)
    num_samples: int = Field(default=32, ge=2)
    points_per_sample: int = Field(default=3, ge=1)
    widening: float = Field(default=0.5, ge=0)


class LocalisationConfig(FrameProtocolConfig):
    """Where are actions, and which (papers.md 4.5: BMN on the class scores of a segment network).

    Attributes:
        num_segments: rows of an annotated action that the classifier is fitted to at once.
        dropout: of the classifier.
        init_std: of the classifier's first weights.
        classifier: how it is fitted, on frozen rows.
        num_steps: steps that a video's class scores are rescaled to.
        sizes: of the proposal network.
        proposals: how it is fitted.
        nms_alpha: see `stages.evaluation.proposals.SoftNms`.
        nms_low: likewise.
        nms_high: likewise.
        classes_per_proposal: best classes that a proposal is given.
    """

    name: Literal["action_localisation"]
    num_segments: int = Field(default=8, ge=1)
    dropout: float = Field(default=0.8, ge=0, lt=1)
    init_std: float = Field(default=0.01, gt=0)
    classifier: ClassifierFit = ClassifierFit()
    num_steps: int = Field(default=100, ge=2)
    sizes: BmnSizes = BmnSizes()
    proposals: ProposalFit = ProposalFit()
    nms_alpha: float = Field(default=0.4, gt=0)
    nms_low: float = Field(default=0.5, ge=0, le=1)
    nms_high: float = Field(default=0.9, ge=0, le=1)
    classes_per_proposal: int = Field(default=2, ge=1)

    def occupies(self) -> Resources:
        """What the more demanding of both fits needs."""
        return most_of([self.classifier.occupies(), self.proposals.occupies()])
