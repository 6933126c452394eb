"""embed: an encoder puts windows of features, narrations and paragraphs into its joint space.

One unit a feature shard. A CPU batch never crosses videos and is always full, so that a video's vectors depend on the
video and the encoder alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from stages.artifacts.hashing import fingerprint, hash_file
from stages.artifacts.records import CommitRecord
from stages.artifacts.sealed import Artifact
from stages.contract import Failure, Inputs, Out, Output, Resources, Stage, StageConfig, Unit, Worker
from stages.errors import ConfigError
from stages.training.dataset import unit_entries
from stages.training.embedding_tables import NARRATIONS, PARAGRAPHS, WINDOWS, TextRows, UnitTables, text_rows

if TYPE_CHECKING:
    from stages.training.embedder import Embedder

SCHEMA = 1
Kind = Literal["train", "dual", "clip", "s3d-text"]


class EmbedConfig(StageConfig):
    """How videos are cut into windows, and how the encoder is fed; the defaults are those of TempCLR's evaluation.

    Attributes:
        window_s: length of a window (16, or 8 to search).
        stride_s: from one start to the next (16, or 4 to search).
        sha256: of the weights of an encoder that is given by path; None takes any.
        tokenizer: of a published checkpoint a BERT folder or its vocab.txt, of S3D-G's text tower its word list.
        seed: of an encoder with random weights.
        batch_windows: windows encoded at once.
        batch_texts: sentences encoded at once.
        threads: CPU threads; they decide bits, so they belong to the fingerprint.
    """

    window_s: float = Field(default=16.0, gt=0)
    stride_s: float = Field(default=16.0, gt=0)
    sha256: str | None = Field(default=None, pattern="[0-9a-fA-F]{64}")
    tokenizer: Path | None = None
    seed: int = Field(default=0, ge=0)
    batch_windows: int = Field(default=16, ge=1)
    batch_texts: int = Field(default=16, ge=1)
    threads: int = Field(default=1, ge=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderChoice:
    """Which encoder embeds.

    Attributes:
        kind: `train` the checkpoint of this run, `dual` a checkpoint of the user's, or a frozen pair.
        path: dual: a folder of ours or a published file; clip: a folder or hub id; s3d-text: weights, None for random.
        backbone: whose features it reads.
        preset: how these were cut out of the videos, if the checkpoint says so.
    """

    kind: Kind
    path: str | None = None
    backbone: Literal["s3d", "clip"] = "s3d"
    preset: str | None = None


def parse_encoder(text: str, *, train_backbone: Literal["s3d", "clip"] = "s3d") -> EncoderChoice:
    """Return what `encoder = ...` of a configuration means.

    Args:
        text: `train`, `s3d-text[:WEIGHTS]`, `clip:MODEL`, or the path of a checkpoint.
        train_backbone: whose features training reads.

    Raises:
        ConfigError: it is none of these, or there is no such checkpoint.
    """
    kind, _, path = text.partition(":")
    if text == "train":
        return EncoderChoice(kind="train", backbone=train_backbone)
    if kind == "s3d-text":
        return EncoderChoice(kind="s3d-text", path=path or None)
    if kind == "clip" and path:
        return EncoderChoice(kind="clip", path=path, backbone="clip")
    if not Path(text).exists():
        raise ConfigError(
            f"encoder = {text!r}: there is no such checkpoint; expected 'train', 's3d-text[:WEIGHTS]', 'clip:MODEL' "
            "or the path of one"
        )
    backbone, preset = _features_of(Path(text))
    return EncoderChoice(kind="dual", path=text, backbone=backbone, preset=preset)


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
        return (f"features.{self.encoder.backbone}", "paragraphs", *trained)

    def outputs(self) -> tuple[Output, ...]:
        """The embeddings."""
        return (Output(label="embeddings", schema=SCHEMA),)

    def resources(self) -> Resources:
        """As many cores as threads."""
        return Resources(num_cpus=self.config.threads)

    def units(self, inputs: Inputs) -> list[Unit]:
        """One unit a feature shard: its videos, with their narrations and paragraphs."""
        features, texts = inputs[self.needs[0]], text_rows(inputs["paragraphs"])
        encoder = self._encoder_identity(inputs)
        return [self._unit(features, record, texts, encoder) for record in features.records]

    def open(self, inputs: Inputs) -> Worker:
        """Open the encoder."""
        return EmbedWorker(self, inputs)

    def _unit(
        self, features: Artifact, record: CommitRecord, texts: Mapping[str, TextRows], encoder: Mapping[str, Any]
    ) -> Unit:
        video_ids = tuple(unit_entries(features, record, self.encoder.backbone))
        identity = {
            "config": self.config.model_dump(mode="json", exclude={"tokenizer", "sha256"}),
            "encoder": encoder,
            "features": record.fingerprint,
            "texts": fingerprint([texts[video_id].to_json() for video_id in video_ids if video_id in texts]),
        }
        payload = {"features": record.unit_id}
        return Unit(unit_id=record.unit_id, inputs=video_ids, payload=payload, identities={"embeddings": identity})

    def _encoder_identity(self, inputs: Inputs) -> dict[str, Any]:
        """What decides the encoder: the unit that trained it, or the content of its files."""
        if self.encoder.kind == "train":
            return {"checkpoint": [record.fingerprint for record in inputs["checkpoint"].records]}
        paths = (self.encoder.path, self.config.tokenizer and str(self.config.tokenizer))
        return {"kind": self.encoder.kind, "files": [content_of(path) for path in paths if path]}


class EmbedWorker:
    """An open encoder and the rows it is asked for."""

    def __init__(self, stage: Embed, inputs: Inputs) -> None:
        self._stage = stage
        self._features = inputs[stage.needs[0]]
        self._texts = text_rows(inputs["paragraphs"])
        self._embedder = self._open(inputs)

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        """Write the unit's windows, narrations and paragraphs."""
        from stages.artifacts.tables import write_table

        record = self._features.record(unit.payload["features"])
        if record is None:
            raise ValueError(f"{self._features.directory.reference}: unit {unit.unit_id} is gone since it was planned")
        tables = UnitTables(self._embedder.encoder.dim)
        entries = unit_entries(self._features, record, self._stage.encoder.backbone)
        for number, (video_id, entry) in enumerate(entries.items()):
            texts = self._texts.get(video_id, TextRows())
            tables.add(video_id, self._embedder.embed(video_id, entry, texts), texts)
            out.report((number + 1) / len(entries))
        for name, table in (
            (WINDOWS, tables.windows),
            (NARRATIONS, tables.narrations),
            (PARAGRAPHS, tables.paragraphs),
        ):
            write_table(out.create("embeddings", name), table())
        out.describe("embeddings", {**self._embedder.facts, **tables.counts})
        return []

    def close(self) -> None:
        """Nothing is held."""

    def _open(self, inputs: Inputs) -> "Embedder":
        from stages.training.embedder import Embedder, EmbedSettings
        from stages.training.opening import open_choice

        config, choice = self._stage.config, self._stage.encoder
        checkpoint = inputs["checkpoint"] if choice.kind == "train" else None
        opened = open_choice(
            choice.kind,
            choice.path,
            checkpoint,
            sha256=config.sha256,
            seed=config.seed,
            tokenizer=None if config.tokenizer is None else str(config.tokenizer),
        )
        settings = EmbedSettings(
            window_s=config.window_s,
            stride_s=config.stride_s,
            batch_windows=config.batch_windows,
            batch_texts=config.batch_texts,
            threads=config.threads,
        )
        return Embedder(opened, settings, features=describe_features(self._features))


def describe_features(features: Artifact) -> str:
    """Whose features they are, in words, with the weights that made them: random ones are named as such."""
    about = features.about
    return f"{features.label.partition('.')[2]} preset {about['preset']['name']}, weights {about['weights']}"


def content_of(name: str) -> dict[str, str]:
    """Hash of each file of an encoder by its name in its folder; a hub id stands for itself."""
    path = Path(name)
    if path.is_file():
        return {path.name: hash_file(path)}
    if path.is_dir():
        return {file.name: hash_file(file) for file in sorted(path.iterdir()) if file.is_file()}
    return {"hub": name}


def _features_of(path: Path) -> tuple[Literal["s3d", "clip"], str | None]:
    """Whose features a checkpoint reads, and their preset: our folder says it, a published file is VideoCLIP's."""
    import json

    if not path.is_dir():
        return "s3d", "videoclip"
    try:
        facts = json.loads((path / "encoder.json").read_bytes())
        backbone, preset = facts["sizes"]["backbone"], facts.get("training", {}).get("preset")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"encoder = {path}: its encoder.json cannot be read ({type(error).__name__}: {error}); expected a folder "
            "that `fabula export` has written"
        ) from error
    return "clip" if backbone == "clip" else "s3d", preset
