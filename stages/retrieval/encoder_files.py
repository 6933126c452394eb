"""The files of a two-tower encoder that travel with a bundle, so that it needs no second file to be asked."""

from collections.abc import Mapping
from pathlib import Path

from stages.errors import ConfigError

ENCODER_FILES = ("encoder.json", "model.safetensors", "tokenizer.json")
"""What opens a two-tower encoder of ours; `models.encoders.checkpoint` writes these."""
FILES_OF_SOME = ("fusion.json",)
"""What some encoders have besides."""


def files_of_checkpoint(given: Path, tokenizer: Path | None, folder: Path) -> Mapping[str, Path]:
    """The files of a checkpoint that the user gave, by the names under which it opens.

    Args:
        given: a folder of ours, or a published file.
        tokenizer: that of a published file.
        folder: where a published file is written in our layout.

    Raises:
        ConfigError: it cannot be opened, or a file is missing.
    """
    if not given.is_dir():
        _write_in_our_layout(given, tokenizer, folder)
        given = folder
    if missing := [name for name in ENCODER_FILES if not (given / name).is_file()]:
        raise ConfigError(f"the encoder's checkpoint {given} holds no {missing[0]}; expected {ENCODER_FILES}")
    return {name: given / name for name in (*ENCODER_FILES, *FILES_OF_SOME) if (given / name).is_file()}


def _write_in_our_layout(published: Path, tokenizer: Path | None, folder: Path) -> None:
    # Here, because they import torch and transformers, which building a bundle does not need otherwise.
    from models.encoders.checkpoint import save_dual
    from models.encoders.joint import DualJoint, EncoderSpec, open_encoder

    spec = EncoderSpec(kind="dual", path=str(published), tokenizer=None if tokenizer is None else str(tokenizer))
    try:
        encoder = open_encoder(spec)
    except ValueError as error:
        raise ConfigError(f"the encoder's checkpoint cannot be opened: {error}") from error
    if isinstance(encoder, DualJoint):
        save_dual(encoder.checkpoint, folder)
