"""Settings of the protocols that measure a frozen frame backbone: VCLR's downstream ones, and few-shot recognition."""

from typing import Literal

from pydantic import Field

from stages.contract import Resources
from stages.evaluation.protocol_configs import ProtocolConfig
from stages.training.choice import EncoderChoice


class FrameProtocolConfig(ProtocolConfig):
    """What all of them say.

    Attributes:
        backbone: whose rows are read, `features.<backbone>`.
    """

    asks_encoder = False

    backbone: str = Field(default="resnet", pattern=r"[a-z0-9_]+")

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


class FewShotConfig(FrameProtocolConfig):
    """Few-shot recognition by alignment (papers.md 3.7).

    Attributes:
        ways: classes of an episode.
        shots: videos that are shown of each; one result a number.
        queries: videos that are asked of each.
        num_episodes: that are drawn.
        num_frames: rows of a video, spread evenly.
        seed: of the draw.
    """

    name: Literal["few_shot"]
    ways: int = Field(default=5, ge=2)
    shots: tuple[int, ...] = Field(default=(1, 5), min_length=1)
    queries: int = Field(default=1, ge=1)
    num_episodes: int = Field(default=10_000, ge=1)
    num_frames: int = Field(default=8, ge=1)
    seed: int = Field(default=0, ge=0)
