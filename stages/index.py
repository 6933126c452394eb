"""index: embeddings become a bundle that answers a sentence, a paragraph or another video.

A flat index is one unit, `bundle`. An IVF index has three kinds: `quantiser` trains the lists on a drawn sample, one
`codes-*` a shard of embeddings fills them with its vectors, and `bundle` joins those and measures what is found. When
videos are appended, the quantiser of the newest index is taken over, as long as the encoder is the same and the index
has not outgrown it: then one shard is filled and all are joined. Which quantiser it is depends on the embeddings, so
it is decided when the stage is planned, and stands in the artifact's description (the design has it in the resolved
configuration, which is written before). A video that is left out costs the bundle alone, and nothing of it stays
there (the design has a list of tombstones, which would keep its words and vectors).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from stages.artifacts.hashing import fingerprint
from stages.artifacts.manifest import read_videos
from stages.artifacts.records import CommitRecord
from stages.artifacts.report_sections import SECTIONS
from stages.contract import Failure, Inputs, Out, Output, Stage, StageConfig, Unit, Worker
from stages.errors import ConfigError
from stages.retrieval.bundle_record import SCHEMA
from stages.retrieval.content import (
    WINDOWS,
    count_windows,
    read_columns,
    read_content,
    read_facts,
    read_vectors,
    video_columns,
)
from stages.retrieval.ivf import IvfSettings, report_section
from stages.text.names import NameIndex

if TYPE_CHECKING:
    from stages.retrieval.clips import ClipSource
    from stages.retrieval.ivf_build import TrainedLists
    from stages.retrieval.vectors import Vectors

BUNDLE, QUANTISER, CODES = "bundle", "quantiser", "codes"
LISTS_FILE, CODES_FILE = "quantiser.faiss", "codes.faiss"


class IndexConfig(StageConfig):
    """How windows are indexed.

    Attributes:
        kind: 'flat' is exact and right up to a few million windows; 'ivf' looks only at the nearest lists.
        nlist: lists of an IVF index; 0 = 4 * sqrt(windows), at most one a 39 windows.
        nprobe: lists that a search visits; 0 = the smallest power of two that reaches `target_recall`.
        target_recall: least recall@10 against exact search, measured on held-out windows; below it, no index is made.
        seed: of the training sample, the held-out windows and k-means.
        most_growth: a quantiser is taken over until there are so many times the windows that it was trained for;
            0 trains a new one whenever windows change.
        without: videos, by any of their names, that are left out: nothing of them stays in the bundle, and no other
            unit is done again.
    """

    kind: Literal["flat", "ivf"] = "flat"
    nlist: int = Field(default=0, ge=0)
    nprobe: int = Field(default=0, ge=0)
    target_recall: float = Field(default=0.95, ge=0, le=1)
    seed: int = Field(default=0, ge=0)
    most_growth: float = Field(default=2.0, ge=0)
    without: tuple[str, ...] = ()

    @property
    def ivf(self) -> IvfSettings | None:
        """How an IVF index is built; None for a flat one."""
        settings = IvfSettings(nlist=self.nlist, nprobe=self.nprobe, target_recall=self.target_recall, seed=self.seed)
        return settings if self.kind == "ivf" else None


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
    version: ClassVar[int] = 2  # 2: rows to train on and to measure on are drawn by the windows' ids

    @property
    def needs(self) -> tuple[str, ...]:
        """Embeddings, the manifest for names and paths, and the checkpoint if this run trained one."""
        return ("manifest", "embeddings", "checkpoint") if self.trained_here else ("manifest", "embeddings")

    def outputs(self) -> tuple[Output, ...]:
        """The bundle."""
        return (Output(label="index", schema=SCHEMA),)

    def units(self, inputs: Inputs) -> list[Unit]:
        """The bundle alone, or quantiser, codes and bundle; the inputs are the units of the embeddings."""
        embeddings = inputs["embeddings"].records
        shards = tuple(record.unit_id for record in embeddings)
        if self.config.kind == "flat" or not count_windows(embeddings):
            return [Unit(unit_id=BUNDLE, inputs=shards, payload={}, identities=self._bundle_identity(inputs))]
        quantiser = self._quantiser(inputs)
        key = {"quantiser": quantiser.payload["key"]}
        codes = [
            Unit(
                unit_id=f"{CODES}-{record.unit_id}",
                inputs=(record.unit_id,),
                payload={"shard": record.unit_id},
                identities={"index": {**key, "embeddings": record.fingerprint}},
                after=(QUANTISER,),
            )
            for record in embeddings
        ]
        identities = {"index": {**self._bundle_identity(inputs)["index"], **key}}
        after = (QUANTISER, *(unit.unit_id for unit in codes))
        return [quantiser, *codes, Unit(unit_id=BUNDLE, inputs=(), payload={}, identities=identities, after=after)]

    def left_out(self, inputs: Inputs) -> frozenset[str]:
        """Ids of the videos that are left out.

        Raises:
            ConfigError: a name means no video, or two.
        """
        names = NameIndex(read_videos(inputs["manifest"])) if self.config.without else None
        found = {name: names.find(name) for name in self.config.without} if names else {}
        if unknown := [name for name, match in found.items() if match is None]:
            raise ConfigError(f"[index] without: no video of the manifest is called {unknown[0]!r}; take it out")
        return frozenset(match.video_id for match in found.values() if match)

    def open(self, inputs: Inputs) -> Worker:
        """Nothing is loaded yet: the unit reads what it needs."""
        return IndexWorker(self, inputs)

    def _bundle_identity(self, inputs: Inputs) -> dict[str, dict[str, Any]]:
        checkpoint = inputs["checkpoint"].records if self.trained_here else ()
        identity = {
            "config": self.config.model_dump(exclude={"most_growth", "without"}),
            "without": sorted(self.left_out(inputs)),
            "embeddings": [record.fingerprint for record in inputs["embeddings"].records],
            "videos": video_columns(read_videos(inputs["manifest"])),
            "checkpoint": [record.fingerprint for record in checkpoint],
        }
        return {"index": identity}

    def _quantiser(self, inputs: Inputs) -> Unit:
        """The unit that trains the lists, or the one of an earlier index that stands for it."""
        embeddings = inputs["embeddings"]
        config = self.config.model_dump(include={"nlist", "seed"})
        suits = {"config": config, "encoder": read_facts(embeddings)["encoder"]}
        identity = {**suits, "embeddings": [record.fingerprint for record in embeddings.records]}
        earlier = self._earlier_quantiser(inputs, suits)
        return Unit(
            unit_id=QUANTISER,
            inputs=(),
            payload={"key": earlier.info["key"] if earlier else fingerprint(identity), **suits},
            identities={"index": identity},
            takes_over={"index": earlier.fingerprint} if earlier else {},
        )

    def _earlier_quantiser(self, inputs: Inputs, suits: Mapping[str, Any]) -> CommitRecord | None:
        """The newest quantiser for this encoder and these settings that the windows have not outgrown."""
        num_windows = count_windows(inputs["embeddings"].records)
        for earlier in inputs.previous.get("index", ()):
            record = earlier.record(QUANTISER) if QUANTISER in earlier.description.units else None
            if record is None or any(record.info[name] != value for name, value in suits.items()):
                continue
            if num_windows <= self.config.most_growth * record.info["windows"]:
                return record
        return None


class IndexWorker:
    """Trains lists, fills them, or builds the bundle."""

    def __init__(self, stage: Index, inputs: Inputs) -> None:
        """Remember what to read."""
        self._stage = stage
        self._inputs = inputs

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        """Write the files of the unit; there is no input that can fail alone."""
        if unit.unit_id == QUANTISER:
            self._train(unit, out)
        elif unit.unit_id == BUNDLE:
            self._write_bundle(out)
        else:
            self._fill(unit.payload["shard"], out)
        return []

    def close(self) -> None:
        """Nothing is held."""

    def _train(self, unit: Unit, out: Out) -> None:
        """Train the lists of an IVF index on a sample of all windows."""
        import numpy as np

        from stages.retrieval.ivf import draw_rows
        from stages.retrieval.ivf_build import take_rows
        from stages.retrieval.vectors import train_lists

        if unit.takes_over:
            raise ConfigError(
                "the quantiser that this index takes over is gone from the store: train a new one, "
                "--set index.most_growth=0"
            )
        window_ids = read_columns(self._inputs["embeddings"], WINDOWS, ("window_id",))["window_id"]
        draw = draw_rows(window_ids, self._settings())
        sample = np.concatenate(list(take_rows(self._parts(), draw.sample)))
        lists = train_lists(sample, nlist=draw.nlist, seed=self._stage.config.seed)
        with out.create("index", LISTS_FILE) as file:
            lists.write(file)
        facts = {"windows": len(window_ids), "sample_rows": len(draw.sample), "dim": lists.dim}
        out.describe("index", {**facts, **unit.payload})

    def _fill(self, shard: str, out: Out) -> None:
        """Put the vectors of one shard into the lists."""
        from stages.retrieval.vectors import fill_lists

        vectors = next(iter(self._parts(shard)))
        with out.create("index", CODES_FILE) as file:
            fill_lists(self._lists().index, vectors).write(file)
        out.describe("index", {"windows": len(vectors)})

    def _write_bundle(self, out: Out) -> None:
        from stages.retrieval.bundle_writer import write_bundle

        content = read_content(
            self._inputs, self._clips(out), self._encoder_files(out), self._stage.left_out(self._inputs)
        )
        record = write_bundle(lambda name: out.create("index", name), content)
        shown = {SECTIONS: [report_section(record.ivf).to_json()]} if record.ivf else {}
        recall = record.ivf and record.ivf["recall"]
        out.describe("index", {"rows": dict(record.counts), "recall": recall, **shown})

    def _clips(self, out: Out) -> "ClipSource":
        """Where the clip index comes from: vectors, or the parts that were filled."""
        from stages.retrieval.clips import FlatClips, JoinedClips

        embeddings = self._inputs["embeddings"]
        if QUANTISER not in self._inputs.making["index"].description.units:
            return FlatClips(vectors=read_vectors(embeddings, WINDOWS, "vector")[0])
        num_parts = len(embeddings.records)
        return JoinedClips(
            lists=self._lists(),
            filled=[self._made(f"{CODES}-{record.unit_id}", CODES_FILE)[0] for record in embeddings.records],
            parts=self._parts,
            settings=self._settings(),
            on_part=lambda done: out.report(done / num_parts, f"{done} of {num_parts} parts joined"),
        )

    def _lists(self) -> "TrainedLists":
        from stages.retrieval.ivf_build import TrainedLists
        from stages.retrieval.vectors import load_index

        path, record = self._made(QUANTISER, LISTS_FILE)
        index = load_index(path, dim=record.info["dim"], nprobe=1)
        return TrainedLists(index=index, sample_rows=record.info["sample_rows"], seed=record.info["config"]["seed"])

    def _made(self, unit_id: str, name: str) -> tuple[Path, CommitRecord]:
        """What a unit that this one comes after has committed."""
        artifact = self._inputs.making["index"]
        record = artifact.record(unit_id)
        if record is None:
            raise ValueError(f"{artifact.directory.reference}: unit {unit_id} is not committed, but comes before")
        return artifact.path(record.file(name)), record

    def _parts(self, *shards: str) -> "Iterator[Vectors]":
        """The window vectors of the named shards of the embeddings, or of all, as stored."""
        from stages.artifacts.tables import matrix, read_table

        embeddings = self._inputs["embeddings"]
        for record in embeddings.records:
            if not shards or record.unit_id in shards:
                yield matrix(read_table(embeddings.path(record.file(WINDOWS)), ["vector"]), "vector")

    def _settings(self) -> IvfSettings:
        if self._stage.config.ivf is None:
            raise ValueError("a flat index has no lists")
        return self._stage.config.ivf

    def _encoder_files(self, out: Out) -> Mapping[str, Path]:
        """The files of a trained encoder, by the names under which it opens."""
        from stages.retrieval.encoder_files import ENCODER_FILES, FILES_OF_SOME, files_of_checkpoint

        if self._stage.trained_here:
            checkpoint = self._inputs["checkpoint"]
            files = {file.name: checkpoint.path(file) for record in checkpoint.records for file in record.files}
            return {name: path for name, path in files.items() if name in (*ENCODER_FILES, *FILES_OF_SOME)}
        given = self._stage.checkpoint_path
        if given is None:
            return {}
        return files_of_checkpoint(given, self._stage.tokenizer_path, out.scratch_dir("index"))
