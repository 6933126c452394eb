"""Opens the encoder that embeds: one that this run trained, one of the user's, or a frozen pair."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models.backbones.weights import check_sha256
from models.encoders.joint import DualJoint, EncoderSpec, JointEncoder, open_encoder
from stages.artifacts.sealed import Artifact
from stages.errors import ConfigError
from stages.training.batch_encoder import OpenedEncoder
from stages.training.choice import EncoderChoice, EncoderSettings

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def open_choice(choice: EncoderChoice, settings: EncoderSettings, checkpoint: Artifact | None) -> OpenedEncoder:
    """Open an encoder.

    Args:
        choice: which; `train` takes `checkpoint`, the others their path.
        settings: checksum, seed and tokenizer.
        checkpoint: the sealed artifact of train.

    Raises:
        ConfigError: it cannot be opened.
    """
    tokenizer = None if settings.tokenizer is None else str(settings.tokenizer)
    try:
        if choice.kind == "none":
            raise ValueError("encoder is 'none', but something is to be encoded")
        if choice.kind != "train":
            spec = EncoderSpec(
                kind=choice.kind, path=choice.path, sha256=settings.sha256, seed=settings.seed, tokenizer=tokenizer
            )
            return _opened(spec, None if choice.path is None else Path(choice.path))
        if checkpoint is None:
            raise ValueError("encoder 'train' needs the checkpoint of this run")
        with encoder_dir(checkpoint) as folder:
            return _opened(EncoderSpec(kind="dual", path=str(folder), seed=settings.seed), folder)
    except ValueError as error:
        raise ConfigError(f"[embed] the encoder cannot be opened: {error}") from error


@contextmanager
def encoder_dir(checkpoint: Artifact) -> Iterator[Path]:
    """Give the files of a checkpoint under their logical names, as long as the context lasts."""
    with TemporaryDirectory(prefix="fabula-encoder-") as name:
        folder = Path(name)
        for record in checkpoint.records:
            for file in record.files:
                (folder / file.name).symlink_to(checkpoint.path(file).resolve())
        yield folder


def _opened(spec: EncoderSpec, path: Path | None) -> OpenedEncoder:
    encoder = open_encoder(spec)
    return OpenedEncoder(
        encoder=encoder,
        facts=_facts(spec, encoder, path),
        max_rows=encoder.max_video_len if isinstance(encoder, DualJoint) else None,
    )


def _facts(spec: EncoderSpec, encoder: JointEncoder, path: Path | None) -> dict[str, Any]:
    """What embeddings and bundles say of the encoder that made them."""
    return {
        "kind": spec.kind,
        "sha256": None if encoder.random_weights else _checksum(path),
        "seed": spec.seed,
        "backbone": encoder.backbone,
        "description": encoder.description,
        "random_weights": encoder.random_weights,
        "normalised": encoder.normalised,
    }


def _checksum(path: Path | None) -> str | None:
    """Checksum of the weights file; None for a hub id or a folder whose weights are in several files."""
    if path is None:
        return None
    files = [path, *(path / name for name in _WEIGHTS)]
    return next((check_sha256(file, None) for file in files if file.is_file()), None)
