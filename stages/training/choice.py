"""Which encoder a run embeds and evaluates with, and what decides it. Knows no torch: planning reads this."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stages.artifacts.hashing import hash_files
from stages.artifacts.sealed import Artifact
from stages.contract import StageConfig
from stages.errors import ConfigError

Kind = Literal["train", "dual", "clip", "s3d-text", "none"]
Backbone = Literal["s3d", "clip"]


class EncoderSettings(StageConfig):
    """How an encoder is opened and fed.

    Attributes:
        sha256: of the weights of an encoder that is given by path; None takes any.
        tokenizer: of a published checkpoint a BERT folder or its vocab.txt, of S3D-G's text tower its word list.
        seed: of an encoder with random weights.
        batch_windows: windows encoded at once.
        batch_texts: sentences encoded at once.
        threads: CPU threads; they decide bits, so they belong to the fingerprint.
    """

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
        kind: `train` the checkpoint of this run, `dual` a checkpoint of the user's, a frozen pair, or `none`: the run
            embeds nothing, it extracts and measures frame backbones.
        path: dual: a folder of ours or a published file; clip: a folder or hub id; s3d-text: weights, None for random.
        backbone: whose features it reads.
        preset: how these were cut out of the videos, if the checkpoint says so.
    """

    kind: Kind
    path: str | None = None
    backbone: Backbone = "s3d"
    preset: str | None = None

    @property
    def features_label(self) -> str:
        """The artifact that holds the features it reads."""
        return f"features.{self.backbone}"


def parse_encoder(text: str, *, train_backbone: Backbone = "s3d") -> EncoderChoice:
    """Return what `encoder = ...` of a configuration means.

    Args:
        text: `train`, `s3d-text[:WEIGHTS]`, `clip:MODEL`, the path of a checkpoint, or `none`.
        train_backbone: whose features training reads.

    Raises:
        ConfigError: it is none of these, or there is no such checkpoint.
    """
    kind, _, path = text.partition(":")
    if text == "train":
        return EncoderChoice(kind="train", backbone=train_backbone)
    if text == "none":
        return EncoderChoice(kind="none")
    if kind == "s3d-text":
        return EncoderChoice(kind="s3d-text", path=path or None)
    if kind == "clip" and path:
        return EncoderChoice(kind="clip", path=path, backbone="clip")
    if not Path(text).exists():
        raise ConfigError(
            f"encoder = {text!r}: there is no such checkpoint; expected 'train', 's3d-text[:WEIGHTS]', "
            "'clip:MODEL', the path of one, or 'none'"
        )
    backbone, preset = _features_of(Path(text))
    return EncoderChoice(kind="dual", path=text, backbone=backbone, preset=preset)


def encoder_identity(
    choice: EncoderChoice, settings: EncoderSettings, checkpoint: Artifact | None
) -> Mapping[str, Any]:
    """Return what decides the encoder: the unit that trained it, or the content of its files.

    Args:
        choice: which.
        settings: how it is opened.
        checkpoint: the sealed artifact of train, if the run trains the encoder.
    """
    if checkpoint is not None:
        return {"checkpoint": [record.fingerprint for record in checkpoint.records]}
    paths = (choice.path, settings.tokenizer and str(settings.tokenizer))
    return {"kind": choice.kind, "files": [content_of(path) for path in paths if path]}


def content_of(name: str) -> dict[str, str]:
    """Hash of each file of an encoder by its name in its folder; a hub id stands for itself."""
    path = Path(name)
    return hash_files(path) if path.exists() else {"hub": name}


def describe_features(features: Artifact) -> str:
    """Whose features they are, in words, with the weights that made them: random ones are named as such."""
    about = features.about
    return f"{features.label.partition('.')[2]} preset {about['preset']['name']}, weights {about['weights']}"


def _features_of(path: Path) -> tuple[Backbone, str | None]:
    """Whose features a checkpoint reads, and their preset: our folder says it, a published file is VideoCLIP's."""
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
