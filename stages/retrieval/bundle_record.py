"""bundle.json: what a bundle says of itself, and the names of its files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from stages.artifacts.hashing import hash_bytes, pretty_json
from stages.errors import Corrupt, SchemaMismatch

SCHEMA = 1
METRIC = "inner_product"

RECORD_FILE = "bundle.json"
CLIPS_INDEX, CLIPS_TABLE = "clips.faiss", "clips.parquet"
PARAGRAPHS_INDEX, PARAGRAPHS_TABLE = "paragraphs.faiss", "paragraphs.parquet"
NARRATIONS_TABLE, VIDEOS_TABLE = "narrations.parquet", "videos.parquet"
ENCODER_DIR = "encoder"

ID_COLUMNS: Mapping[str, str] = {
    CLIPS_TABLE: "window_id",
    PARAGRAPHS_TABLE: "paragraph_id",
    NARRATIONS_TABLE: "narration_id",
    VIDEOS_TABLE: "video_id",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderRecord:
    """Which encoder made the vectors, without the path that it was read from.

    Attributes:
        kind: 'dual', 'clip' or 's3d-text'.
        sha256: Checksum of its weights; None if they are random.
        seed: Seed of random weights.
        backbone: Which features its windows are made of, 's3d' or 'clip'.
        description: Its own description of itself.
        random_weights: True if its weights were never trained.
        normalised: True if its vectors have length 1, so that scores are cosines.
        features: The frozen features that it reads and the weights that made them, in words.
    """

    kind: Literal["dual", "clip", "s3d-text"]
    sha256: str | None
    seed: int
    backbone: str
    description: str
    random_weights: bool
    normalised: bool
    features: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A text and the vector that the encoder gave it, by which it is recognised, whatever it calls itself."""

    text: str
    vector: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """Length and content hash (xxh3-128, hex) of one file."""

    size_bytes: int
    xxh3_128: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRecord:
    """The content of bundle.json.

    Attributes:
        dim: Length of a vector; 0 if no window was ever seen.
        window_s: Length of a window in seconds.
        stride_s: Distance of the starts of neighbouring windows in seconds.
        encoder: Which encoder made the vectors.
        counts: Rows of each table by file name.
        id_columns: Checksum of each table's id column by file name; see `ids_checksum`.
        files: Every other file of the bundle by logical name.
        ivf: How the clip index is divided and what recall was measured, as `vectors.IvfFacts`; None if it is flat.
        probe: By which the encoder is recognised; None if nothing was narrated.
    """

    dim: int
    window_s: float
    stride_s: float
    encoder: EncoderRecord
    counts: Mapping[str, int]
    id_columns: Mapping[str, str]
    files: Mapping[str, FileRecord]
    ivf: Mapping[str, Any] | None = None
    probe: Probe | None = None

    @property
    def nprobe(self) -> int | None:
        """Lists that a search of the clip index visits; None if it is flat."""
        return None if self.ivf is None else int(self.ivf["nprobe"])

    def to_bytes(self) -> bytes:
        """The file's content."""
        return pretty_json(
            {"schema": SCHEMA, "metric": METRIC, "normalised": self.encoder.normalised}
            | {name: getattr(self, name) for name in ("dim", "window_s", "stride_s", "counts", "id_columns", "ivf")}
            | {"encoder": asdict(self.encoder), "files": {name: asdict(file) for name, file in self.files.items()}}
            | {"probe": self.probe and asdict(self.probe)}
        )


def read_bundle_record(path: Path) -> BundleRecord:
    """Read a bundle.json.

    Raises:
        Corrupt: it is not one.
        SchemaMismatch: another version wrote it.
    """
    try:
        raw = json.loads(path.read_bytes())
        schema, metric = raw["schema"], raw["metric"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{path} does not describe a bundle ({type(error).__name__}: {error}); index again") from error
    if (schema, metric) != (SCHEMA, METRIC):
        raise SchemaMismatch(
            f"{path} has schema {schema} and metric {metric!r}, this version reads {SCHEMA} and {METRIC!r}: index again"
        )
    try:
        return BundleRecord(
            **{name: raw[name] for name in ("dim", "window_s", "stride_s", "counts", "id_columns", "ivf")},
            encoder=EncoderRecord(**raw["encoder"]),
            files={name: FileRecord(**file) for name, file in raw["files"].items()},
            probe=raw["probe"] and Probe(text=raw["probe"]["text"], vector=tuple(raw["probe"]["vector"])),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise Corrupt(f"{path} does not describe a bundle ({type(error).__name__}: {error}); index again") from error


def ids_checksum(ids: Sequence[str]) -> str:
    """xxh3-128 of an id column in row order: it ties row numbers of an index to ids."""
    return hash_bytes("".join(f"{name}\n" for name in ids).encode())
