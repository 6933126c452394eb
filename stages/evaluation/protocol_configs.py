"""Settings of the protocols that measure a data set, with the published values as defaults. Knows no torch.

One class a protocol, found by its `name`; `protocols/registry.py` says which function it configures. A protocol that
needs no text encoder says so, and reads the labels that it names.
"""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from stages.contract import Json, Resources, StageConfig
from stages.datasets.files import Split
from stages.evaluation.records import EncoderFacts
from stages.training.choice import EncoderChoice


def most_of(needed: Iterable[Resources]) -> Resources:
    """What suffices for any one of several, at least one."""
    found = list(needed)
    return Resources(num_cpus=max(each.num_cpus for each in found), num_gpus=max(each.num_gpus for each in found))


class ProtocolConfig(StageConfig):
    """What every protocol's settings say of it.

    Attributes:
        asks_encoder: whether the run's encoder is opened for it.
        shows_pictures: whether its page shows thumbnails of the videos.
    """

    asks_encoder: ClassVar[bool] = True
    shows_pictures: ClassVar[bool] = False

    def reads(self, encoder: EncoderChoice) -> tuple[str, ...]:
        """Labels of the artifacts that it reads; a video that one of them lacks cannot be measured."""
        return (encoder.features_label,)

    def occupies(self) -> Resources:
        """What it needs of a machine, beside what the encoder needs."""
        return Resources()

    def identity(self) -> Json:
        """What of it decides the numbers; a file counts by its content, not by where it lies."""
        return self.model_dump(mode="json")

    def check(self, where: str) -> None:
        """Refuse files of its own that are not there; `where` says in which section they are named.

        Raises:
            ConfigError: one does not exist.
        """

    def encoder_facts(self) -> EncoderFacts | None:
        """What makes the vectors, if it is neither the run's encoder nor frozen features."""
        return None


class ClipRetrievalConfig(ProtocolConfig):
    """Annotated clips and their sentences, both ways (papers.md 7.2).

    Attributes:
        max_rows: feature rows of a clip that are kept, its first ones: VideoCLIP looks at 32 s of a longer clip.
        ks: cut-offs of R@k.
    """

    name: Literal["clip_retrieval"]
    max_rows: int = Field(default=32, ge=1)
    ks: tuple[int, ...] = Field(default=(1, 5, 10), min_length=1)


class FullVideoConfig(ProtocolConfig):
    """Paragraphs and whole videos, by scores of sequences (papers.md 7.3).

    Attributes:
        background: `removed`: a video is its annotated clips; `kept`: it is cut into windows from end to end.
        max_rows: feature rows of a clip that are kept.
        window_s: length of a window, where background is kept.
        stride_s: from one window to the next.
        ks: cut-offs of R@k.
    """

    shows_pictures: ClassVar[bool] = True

    name: Literal["full_video_retrieval"]
    background: Literal["removed", "kept"] = "removed"
    max_rows: int = Field(default=32, ge=1)
    window_s: float = Field(default=16.0, gt=0)
    stride_s: float = Field(default=16.0, gt=0)
    ks: tuple[int, ...] = Field(default=(1, 5, 10), min_length=1)


class WholeParagraphConfig(ProtocolConfig):
    """Whole paragraphs and whole videos, one vector each (papers.md 7.2, ActivityNet).

    Attributes:
        paragraph: `joined`: its sentences as one text, cut at the encoder's length; `mean`: the mean of their vectors.
        window_s: length of a window; a video's vector is the mean of its windows'.
        stride_s: from one window to the next.
        ks: cut-offs of R@k.
    """

    name: Literal["whole_paragraph_retrieval"]
    paragraph: Literal["joined", "mean"] = "joined"
    window_s: float = Field(default=16.0, gt=0)
    stride_s: float = Field(default=16.0, gt=0)
    ks: tuple[int, ...] = Field(default=(1, 5, 50), min_length=1)


class MultipleChoiceConfig(ProtocolConfig):
    """Multiple-choice questions about whole videos (papers.md 7.4).

    Attributes:
        max_rows: feature rows of a video that are kept, its first ones.
    """

    name: Literal["multiple_choice"]
    max_rows: int = Field(default=32, ge=1)


class RowWindowsConfig(ProtocolConfig):
    """How protocols that look at single rows cut a video into windows (papers.md 7.5).

    Attributes:
        window_rows: rows that are encoded together.
        stride_rows: from one window to the next; rows that several windows hold have the mean of their states.
        cls_visible: whether a [CLS] token may be attended to.
    """

    window_rows: int = Field(default=32, ge=1)
    stride_rows: int = Field(default=16, ge=1)
    cls_visible: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.stride_rows > self.window_rows:
            raise ValueError(
                f"stride_rows is {self.stride_rows}, window_rows {self.window_rows}: rows between windows would have "
                "no state; take a stride of at most a window"
            )
        return self


class SegmentationConfig(RowWindowsConfig):
    """A step, or the background, for every row of a video (papers.md 7.5, COIN).

    Attributes:
        head: `zero_shot`: a row's state against the steps' texts; `checkpoint`: the head of a fine-tuned encoder.
        similarity: of the zero-shot head: `dot`, `cosine`, or `standardised` (each row's dot products less their mean,
            over their standard deviation).
        gamma: background is what no step exceeds it for: `labels`, the largest similarity of two different steps'
            texts; `train`, the value that is best on the training split; or a number.
    """

    name: Literal["action_segmentation"]
    head: Literal["zero_shot", "checkpoint"] = "zero_shot"
    similarity: Literal["dot", "cosine", "standardised"] = "dot"
    gamma: Literal["labels", "train"] | float = "labels"

    @model_validator(mode="after")
    def _check_gamma(self) -> Self:
        if self.gamma == "labels" and self.similarity == "standardised":
            raise ValueError(
                "gamma = 'labels' compares texts, which have nothing to be standardised over; take 'train'"
            )
        return self


class StepLocalisationConfig(RowWindowsConfig):
    """One row for each step of a task, in order (papers.md 7.7, CrossTask)."""

    name: Literal["step_localisation"]


class MomentLocalisationConfig(ProtocolConfig):
    """Which of 21 segments of a video a description means (papers.md 7.6, DiDeMo).

    Attributes:
        max_rows: feature rows of a video that are kept, its first ones.
        cls_visible: whether a [CLS] token may be attended to.
        prior_split: of whose annotations the frequency prior is counted.
    """

    name: Literal["moment_localisation"]
    max_rows: int = Field(default=32, ge=1)
    cls_visible: bool = True
    prior_split: Split = "val"


TextProtocol = Annotated[
    ClipRetrievalConfig
    | FullVideoConfig
    | WholeParagraphConfig
    | MultipleChoiceConfig
    | SegmentationConfig
    | StepLocalisationConfig
    | MomentLocalisationConfig,
    Field(discriminator="name"),
]
"""Those that compare videos and texts by the run's encoder; `protocol_choice.py` names all."""
