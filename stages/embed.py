"""embed: an encoder puts windows of features, narrations and paragraphs into its joint space.

One unit a feature shard. A CPU batch never crosses videos and is always full, so that a video's vectors depend on the
video and the encoder alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from stages.artifacts.hashing import fingerprint
from stages.artifacts.records import CommitRecord
from stages.artifacts.sealed import Artifact
from stages.contract import Failure, Inputs, Out, Output, Resources, Stage, Unit, Worker
from stages.training.choice import EncoderChoice, EncoderSettings, describe_features, encoder_identity
from stages.training.dataset import FeatureEntry, unit_entries
from stages.training.embedding_tables import NARRATIONS, PARAGRAPHS, WINDOWS, TextRows, UnitTables, text_rows

if TYPE_CHECKING:
    from stages.artifacts.shards import ShardWriter
    from stages.training.embedder import CutVideo, Embedder

SCHEMA = 1
EMBEDDINGS, STATES = "embeddings", "states"
STATES_TAR = "shards/states.tar"

_CHANGES_NO_BYTES = {"tokenizer", "sha256", "states"}


class EmbedConfig(EncoderSettings):
    """How videos are cut into windows, and how the encoder is fed; the defaults are those of TempCLR's evaluation.

    Attributes:
        window_s: length of a window (16, or 8 to search).
        stride_s: from one start to the next (16, or 4 to search).
        states: whether to write every feature row's hidden state, too, as an artifact of its own.
    """

    window_s: float = Field(default=16.0, gt=0)
    stride_s: float = Field(default=16.0, gt=0)
    states: bool = False


@dataclass(frozen=True)
class Embed(Stage):
    """Settings of embed."""

    config: EmbedConfig
    encoder: EncoderChoice

    name: ClassVar[str] = "embed"
    version: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """Features of the encoder's backbone, paragraphs, and the checkpoint if this run trains one."""
        trained = ("checkpoint",) if self.encoder.kind == "train" else ()
        return (self.encoder.features_label, "paragraphs", *trained)

    def outputs(self) -> tuple[Output, ...]:
        """The embeddings, and the hidden states if they are asked for."""
        labels = (EMBEDDINGS, STATES) if self.config.states else (EMBEDDINGS,)
        return tuple(Output(label=label, schema=SCHEMA) for label in labels)

    def resources(self) -> Resources:
        """As many cores as threads."""
        return Resources(num_cpus=self.config.threads)

    def units(self, inputs: Inputs) -> list[Unit]:
        """One unit a feature shard: its videos, with their narrations and paragraphs."""
        features, texts = inputs[self.needs[0]], text_rows(inputs["paragraphs"])
        checkpoint = inputs["checkpoint"] if self.encoder.kind == "train" else None
        encoder = encoder_identity(self.encoder, self.config, checkpoint)
        return [self._unit(features, record, texts, encoder) for record in features.records]

    def open(self, inputs: Inputs) -> Worker:
        """Open the encoder."""
        return EmbedWorker(self, inputs)

    def _unit(
        self, features: Artifact, record: CommitRecord, texts: Mapping[str, TextRows], encoder: Mapping[str, Any]
    ) -> Unit:
        video_ids = tuple(unit_entries(features, record, self.encoder.backbone))
        states = {
            "config": self.config.model_dump(mode="json", exclude=_CHANGES_NO_BYTES),
            "encoder": encoder,
            "features": record.fingerprint,
        }
        said = fingerprint([texts[video_id].to_json() for video_id in video_ids if video_id in texts])
        return Unit(
            unit_id=record.unit_id,
            inputs=video_ids,
            payload={"features": record.unit_id},
            identities={EMBEDDINGS: {**states, "texts": said}, STATES: states},
        )


class EmbedWorker:
    """An open encoder and the rows it is asked for."""

    def __init__(self, stage: Embed, inputs: Inputs) -> None:
        self._stage = stage
        self._features = inputs[stage.needs[0]]
        self._texts = text_rows(inputs["paragraphs"])
        self._embedder = self._open(inputs)

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        """Write the unit's windows, narrations and paragraphs, and its hidden states; whatever of them is wanted."""
        from stages.artifacts.shards import ShardWriter

        record = self._features.record(unit.payload["features"])
        if record is None:
            raise ValueError(f"{self._features.directory.reference}: unit {unit.unit_id} is gone since it was planned")
        entries = unit_entries(self._features, record, self._stage.encoder.backbone)
        if STATES in out.wanted:
            with ShardWriter(out.create(STATES, STATES_TAR)) as shard:
                self._embed(entries, out, shard)
            out.describe(STATES, self._embedder.facts)
        else:
            self._embed(entries, out, None)
        return []

    def close(self) -> None:
        """Nothing is held."""

    def _embed(self, entries: Mapping[str, FeatureEntry], out: Out, states: "ShardWriter | None") -> None:
        tables = UnitTables(self._embedder.encoder.dim)
        for number, (video_id, entry) in enumerate(entries.items()):
            video = self._embedder.cut(video_id, entry)
            if EMBEDDINGS in out.wanted:
                texts = self._texts.get(video_id, TextRows())
                tables.add(video_id, self._embedder.embed(video, texts), texts)
            if states is not None:
                states.add(video_id, self._state_parts(video))
            out.report((number + 1) / len(entries))
        if EMBEDDINGS in out.wanted:
            self._write_tables(tables, out)

    def _state_parts(self, video: "CutVideo") -> Mapping[str, Any]:
        """One video's sample: rows that are damaged are zero and marked, as in the features."""
        states = self._embedder.states(video)
        states[video.damaged] = 0
        return {"states.npy": states, "spans.npy": video.spans, "damaged.npy": video.damaged}

    def _write_tables(self, tables: UnitTables, out: Out) -> None:
        from stages.artifacts.tables import write_table

        for name, table in (
            (WINDOWS, tables.windows),
            (NARRATIONS, tables.narrations),
            (PARAGRAPHS, tables.paragraphs),
        ):
            write_table(out.create(EMBEDDINGS, name), table())
        if self._embedder.has_fusion:
            self._write_tokens(tables, out)
        out.describe(EMBEDDINGS, {**self._embedder.facts, **tables.counts})

    def _write_tokens(self, tables: UnitTables, out: Out) -> None:
        """Write the states of windows, for the fusion."""
        import numpy as np

        from stages.retrieval.window_tokens import write_tokens

        counts = np.array([len(window) for window in tables.tokens], dtype=np.int32)
        write_tokens(lambda name: out.create(EMBEDDINGS, name), counts, tables.tokens, self._embedder.encoder.dim)

    def _open(self, inputs: Inputs) -> "Embedder":
        from stages.training.embedder import Embedder
        from stages.training.opening import open_choice

        config, choice = self._stage.config, self._stage.encoder
        opened = open_choice(choice, config, inputs["checkpoint"] if choice.kind == "train" else None)
        return Embedder(
            opened,
            config,
            window_s=config.window_s,
            stride_s=config.stride_s,
            features=describe_features(self._features),
        )
