"""index: embeddings become a bundle that answers a sentence, a paragraph or another video.

One unit, `bundle`, writes all of it. The design names three kinds of units (quantiser, codes of a shard, join), but
the units of one artifact cannot read each other's files, and building a flat or IVF index takes seconds a million
windows, once embedding has taken hours.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from stages.artifacts.manifest import Video, read_videos
from stages.artifacts.sealed import Artifact
from stages.contract import Failure, Inputs, Out, Output, Stage, StageConfig, Unit, Worker
from stages.errors import ConfigError, SchemaMismatch
from stages.retrieval.bundle_record import SCHEMA, EncoderRecord, Probe
from stages.retrieval.ivf import IvfSettings

if TYPE_CHECKING:
    from stages.retrieval.bundle_writer import BundleContent

EMBEDDINGS_SCHEMA = 1
WINDOWS, NARRATIONS, PARAGRAPHS = "windows.parquet", "narrations.parquet", "paragraphs.parquet"

_WINDOW_COLUMNS = ("window_id", "video_id", "index", "start_s", "end_s")
_NARRATION_COLUMNS = ("narration_id", "video_id", "index", "paragraph_index", "start_s", "end_s", "text")
_PARAGRAPH_COLUMNS = ("paragraph_id", "video_id", "index", "start_s", "end_s", "text")
ENCODER_FILES = ("encoder.json", "model.safetensors", "tokenizer.json")
"""What opens a two-tower encoder of ours; `models.encoders.checkpoint` writes these."""


class IndexConfig(StageConfig):
    """How windows are indexed.

    Attributes:
        kind: 'flat' is exact and right up to a few million windows; 'ivf' looks only at the nearest lists.
        nlist: lists of an IVF index; 0 = 4 * sqrt(windows), at most one a 39 windows.
        nprobe: lists that a search visits; 0 = the smallest power of two that reaches `target_recall`.
        target_recall: least recall@10 against exact search, measured on held-out windows; below it, no index is made.
        seed: of the training sample, the held-out windows and k-means.
    """

    kind: Literal["flat", "ivf"] = "flat"
    nlist: int = Field(default=0, ge=0)
    nprobe: int = Field(default=0, ge=0)
    target_recall: float = Field(default=0.95, ge=0, le=1)
    seed: int = Field(default=0, ge=0)

    @property
    def ivf(self) -> IvfSettings | None:
        """How an IVF index is built; None for a flat one."""
        if self.kind == "flat":
            return None
        return IvfSettings(nlist=self.nlist, nprobe=self.nprobe, target_recall=self.target_recall, seed=self.seed)


@dataclass(frozen=True)
class Index(Stage):
    """Settings of index.

    Attributes:
        config: how windows are indexed.
        trained_here: the encoder is the `checkpoint` of this run: its files go into the bundle.
        checkpoint_path: the encoder is a checkpoint that the user gave, our folder or a published file: it goes into
            the bundle too, a published one in our layout. The embeddings' fingerprints cover its content.
        tokenizer_path: that of a published file.
    """

    config: IndexConfig
    trained_here: bool = False
    checkpoint_path: Path | None = None
    tokenizer_path: Path | None = None

    name: ClassVar[str] = "index"
    version: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """Embeddings, the manifest for names and paths, and the checkpoint if this run trained one."""
        return ("manifest", "embeddings", "checkpoint") if self.trained_here else ("manifest", "embeddings")

    def outputs(self) -> tuple[Output, ...]:
        """The bundle."""
        return (Output(label="index", schema=SCHEMA),)

    def units(self, inputs: Inputs) -> list[Unit]:
        """One unit; its inputs are the units of the embeddings."""
        embeddings = inputs["embeddings"].records
        checkpoint = inputs["checkpoint"].records if self.trained_here else ()
        identity = {
            "config": self.config.model_dump(),
            "embeddings": [record.fingerprint for record in embeddings],
            "videos": video_columns(read_videos(inputs["manifest"])),
            "checkpoint": [record.fingerprint for record in checkpoint],
        }
        inputs_of_unit = tuple(record.unit_id for record in embeddings)
        return [Unit(unit_id="bundle", inputs=inputs_of_unit, payload={}, identities={"index": identity})]

    def open(self, inputs: Inputs) -> Worker:
        """Nothing is loaded yet: the unit reads what it needs."""
        return IndexWorker(self, inputs)


class IndexWorker:
    """Builds the bundle."""

    def __init__(self, stage: Index, inputs: Inputs) -> None:
        """Remember what to read."""
        self._stage = stage
        self._inputs = inputs

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        """Write the files of the bundle; there is no input that can fail alone."""
        from stages.retrieval.bundle_writer import write_bundle

        config = self._stage.config
        settings = config.ivf or IvfSettings(seed=config.seed)
        content = read_content(self._inputs, self._encoder_files(out))
        out.report(0.5, f"{len(content.window_vectors)} windows")
        record = write_bundle(lambda name: out.create("index", name), content, config.kind, settings)
        out.describe("index", {"rows": dict(record.counts), "recall": record.ivf and record.ivf["recall"]})
        return []

    def close(self) -> None:
        """Nothing is held."""

    def _encoder_files(self, out: Out) -> Mapping[str, Path]:
        """The files of a trained encoder, by the names under which it opens."""
        if self._stage.trained_here:
            checkpoint = self._inputs["checkpoint"]
            files = {file.name: checkpoint.path(file) for record in checkpoint.records for file in record.files}
            return {name: path for name, path in files.items() if name in ENCODER_FILES}
        given = self._stage.checkpoint_path
        if given is None:
            return {}
        if not given.is_dir():
            given = self._in_our_layout(given, out.scratch_dir("index"))
        if missing := [name for name in ENCODER_FILES if not (given / name).is_file()]:
            raise ConfigError(f"the encoder's checkpoint {given} holds no {missing[0]}; expected {ENCODER_FILES}")
        return {name: given / name for name in ENCODER_FILES}

    def _in_our_layout(self, published: Path, folder: Path) -> Path:
        """Write a published checkpoint as a folder of ours, so that the bundle needs no second file to open it."""
        from models.encoders.checkpoint import save_dual
        from models.encoders.joint import DualJoint, EncoderSpec, open_encoder

        tokenizer = self._stage.tokenizer_path
        try:
            encoder = open_encoder(
                EncoderSpec(kind="dual", path=str(published), tokenizer=None if tokenizer is None else str(tokenizer))
            )
        except ValueError as error:
            raise ConfigError(f"the encoder's checkpoint cannot be opened: {error}") from error
        if isinstance(encoder, DualJoint):
            save_dual(encoder.checkpoint, folder)
        return folder


def read_content(inputs: Inputs, encoder_files: Mapping[str, Path]) -> "BundleContent":
    """Everything that goes into the bundle, from the sealed artifacts.

    Args:
        inputs: `manifest` and `embeddings`.
        encoder_files: files of a trained encoder by name.

    Raises:
        SchemaMismatch: the embeddings do not say which encoder made them, or have another schema.
    """
    from stages.retrieval.bundle_writer import BundleContent

    embeddings = inputs["embeddings"]
    embeddings.check_schema(EMBEDDINGS_SCHEMA)
    facts = read_facts(embeddings)
    windows, vectors, _ = _read(embeddings, WINDOWS, _WINDOW_COLUMNS, "vector")
    narrations, _, _ = _read(embeddings, NARRATIONS, _NARRATION_COLUMNS, None)
    paragraphs, means, present = _read(embeddings, PARAGRAPHS, _PARAGRAPH_COLUMNS, "video_vector")
    return BundleContent(
        videos=video_columns(read_videos(inputs["manifest"])),
        windows=windows,
        window_vectors=vectors,
        paragraphs=paragraphs,
        paragraph_vectors=means,
        paragraph_present=present,
        narrations=narrations,
        window_s=float(facts["window_s"]),
        stride_s=float(facts["stride_s"]),
        encoder=EncoderRecord(**{name: facts["encoder"][name] for name in EncoderRecord.__dataclass_fields__}),
        probe=read_probe(embeddings),
        encoder_files=encoder_files,
    )


def read_probe(embeddings: Artifact) -> Probe | None:
    """The longest narration of the first unit that has any, and its vector; None if nothing was narrated."""
    from stages.artifacts.tables import matrix, read_table

    for path in embeddings.paths(NARRATIONS):
        table = read_table(path, ["text", "vector"])
        texts: list[str] = table.column("text").to_pylist()
        if texts:
            row = max(range(len(texts)), key=lambda row: (len(texts[row]), -row))
            return Probe(text=texts[row], vector=tuple(matrix(table.slice(row, 1), "vector")[0].tolist()))
    return None


def read_facts(embeddings: Artifact) -> Mapping[str, Any]:
    """What the embeddings say of their encoder and windows: `encoder`, `window_s`, `stride_s`.

    They are facts of the artifact, or, where they are known only when the weights are open, of each unit's record.

    Raises:
        SchemaMismatch: one of them is missing.
    """
    facts = dict(embeddings.about)
    for record in embeddings.records:
        facts |= record.info
    wanted = {"window_s", "stride_s", *(f"encoder.{name}" for name in EncoderRecord.__dataclass_fields__)}
    found = {"window_s", "stride_s"} & facts.keys() | {f"encoder.{name}" for name in facts.get("encoder", ())}
    if wanted - found:
        raise SchemaMismatch(
            f"{embeddings.directory.reference} does not say {', '.join(sorted(wanted - found))}: run the stage "
            f"{embeddings.description.stage!r} again"
        )
    return facts


def video_columns(videos: Iterable[Video]) -> dict[str, list[Any]]:
    """What the bundle keeps of the manifest, by column."""
    rows = list(videos)
    return {
        "video_id": [video.video_id for video in rows],
        "paths": [list(video.paths) for video in rows],
        "source_ids": [list(video.source_ids) for video in rows],
        "duration_s": [video.duration_s for video in rows],
    }


def _read(embeddings: Artifact, name: str, columns: tuple[str, ...], vector: str | None) -> tuple[Any, Any, Any]:
    """Columns of a table of all units, its vectors (N, E), and which rows have one."""
    import numpy as np

    from stages.artifacts.tables import matrix, read_tables

    if not embeddings.records:
        return {column: [] for column in columns}, np.zeros((0, 0), np.float32), np.zeros(0, np.bool_)
    table = read_tables(embeddings, name, [*columns, *([vector] if vector else [])])
    read = {column: table.column(column).to_pylist() for column in columns}
    if vector is None:
        return read, None, None
    return read, matrix(table, vector), np.asarray(table.column(vector).is_valid())
