"""What training asks of an objective's settings. Knows no torch: planning reads it.

An objective is a strategy: its settings say what it reads, which videos it can use and what decides its bytes, and
they open its task (`stages.training.task`), which is where torch begins.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from stages.artifacts.sealed import Artifact
from stages.contract import Inputs, Json, StageConfig

if TYPE_CHECKING:
    from stages.training.task import Task
    from stages.training.team import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSplit:
    """The videos that may be trained on.

    Attributes:
        video_ids: in manifest order.
        source: where the split comes from, in words.
    """

    video_ids: Sequence[str]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What an objective found to train on.

    Attributes:
        video_ids: sorted.
        identity: named parts of everything that it reads, for the unit's fingerprint.
        payload: what its task needs to know besides.
    """

    video_ids: Sequence[str]
    identity: Mapping[str, Json]
    payload: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a task is made of.

    Attributes:
        artifacts: the sealed artifacts that the objective reads, by label.
        video_ids: of its material.
        payload: of its material.
        start: the checkpoint that training begins with; None begins anew.
        tokenizer: of a published checkpoint.
        seed: of weights, order, samples and negatives.
        accumulate: batches an update.
        team: the processes that train together.
        sharers: those that divide each batch among them: the team, or this process alone.
    """

    artifacts: Mapping[str, Artifact]
    video_ids: Sequence[str]
    payload: Mapping[str, Any]
    start: Path | None
    tokenizer: Path | None
    seed: int
    accumulate: int
    team: "Team"
    sharers: "Team"


class ObjectiveSettings(StageConfig, ABC):
    """Settings of one objective; `kind` names it in a configuration."""

    kind: str
    not_in_identity: ClassVar[Mapping[str, Any]] = {}
    """Settings that name files, as pydantic's `exclude`: their content counts, which `plan` puts into the identity."""

    makes_encoder: ClassVar[bool] = True
    """Whether what it trains embeds windows and sentences, so that a run goes on to embed and index."""

    shares_batches: ClassVar[bool] = True
    """Whether several processes can divide one batch; else each takes batches of its own (`workers.split`)."""

    deals_batches: ClassVar[bool] = True
    """Whether several processes can each take batches of their own."""

    @property
    def encoder_backbone(self) -> Literal["s3d", "clip"]:
        """Whose features the encoder that it trains reads; it does not matter where there is none."""
        return "s3d"

    @property
    def needs_start(self) -> str:
        """Why training cannot begin anew, as the end of a sentence; empty if it can."""
        return ""

    def check_files(self) -> None:
        """Refuse files of its own that are not there, before hours of work that end in reading them.

        Raises:
            ConfigError: one does not exist.
        """

    def least_narrated(self, accumulate: int) -> int:
        """Narrated videos that it cannot train without, given the batches an update; by default one is enough."""
        return 1

    @property
    @abstractmethod
    def items_a_batch(self) -> int:
        """What several processes divide of a batch: pairs, examples, or videos."""

    @property
    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Labels of the artifacts that it reads, beside the manifest."""

    @abstractmethod
    def plan(self, inputs: Inputs, split: TrainSplit, *, accumulate: int) -> Material:
        """Find what can be trained on; cheap, deterministic.

        Raises:
            ConfigError: it could not train.
        """

    @abstractmethod
    def open(self, opening: Opening) -> "Task[Any]":
        """Load weights and data.

        Raises:
            ConfigError: something does not fit, or could not train.
        """
