"""Settings of the protocols that measure a data set, with the published values as defaults. Knows no torch.

One class a protocol, found by its `name`; `protocols/registry.py` says which function it configures. A protocol that
needs no text encoder says so, and reads the labels that it names.
"""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from stages.contract import Json, Resources, StageConfig
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
    """

    asks_encoder: ClassVar[bool] = True

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


TextProtocol = Annotated[ClipRetrievalConfig, Field(discriminator="name")]
"""Those that compare videos and texts by the run's encoder; `protocol_choice.py` names all."""
