"""Decoders behind one interface (`base.Decoder`), by name. Their libraries are imported when they are first used."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from stages.errors import ConfigError

if TYPE_CHECKING:
    from stages.media.decoders.base import Decoder


def _pyav() -> "Decoder":
    from stages.media.decoders.pyav import PyavDecoder

    return PyavDecoder()


def _keyframes() -> "Decoder":
    from stages.media.decoders.pyav import KeyframeDecoder

    return KeyframeDecoder()


def _decord() -> "Decoder":
    from stages.media.decoders.decord_ import DecordDecoder

    return DecordDecoder()


def _ffmpeg() -> "Decoder":
    from stages.media.decoders.ffmpeg_pipe import FfmpegDecoder

    return FfmpegDecoder()


def _torchcodec() -> "Decoder":
    from stages.media.decoders.torchcodec_ import TorchcodecDecoder

    return TorchcodecDecoder()


KEYFRAMES = "keyframes"
"""The decoder that gives keyframes alone."""

DECODERS: "dict[str, Callable[[], Decoder]]" = {
    KEYFRAMES: _keyframes, "pyav": _pyav, "decord": _decord, "ffmpeg": _ffmpeg, "torchcodec": _torchcodec,
}  # fmt: skip
"""A module that a worker process preloads may add to it."""


def open_decoder(name: str) -> "Decoder":
    """Make the decoder of that name.

    Raises:
        ConfigError: there is none, or its library does not import.
    """
    if name not in DECODERS:
        raise ConfigError(f"decoder: got {name!r}, expected one of {', '.join(sorted(DECODERS))}")
    return DECODERS[name]()
