"""Decoders behind one interface (`base.Decoder`), by name."""

from collections.abc import Callable

from stages.errors import ConfigError
from stages.media.decoders.base import Decoder


def _pyav() -> Decoder:
    from stages.media.decoders.pyav import PyavDecoder

    return PyavDecoder()


def _decord() -> Decoder:
    from stages.media.decoders.decord_ import DecordDecoder

    return DecordDecoder()


def _ffmpeg() -> Decoder:
    from stages.media.decoders.ffmpeg_pipe import FfmpegDecoder

    return FfmpegDecoder()


DECODERS: dict[str, Callable[[], Decoder]] = {"pyav": _pyav, "decord": _decord, "ffmpeg": _ffmpeg}
"""Each imports its library when it is first used. A module that a worker process preloads may add to it."""


def open_decoder(name: str) -> Decoder:
    """Make the decoder of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in DECODERS:
        raise ConfigError(f"decoder: got {name!r}, expected one of {', '.join(sorted(DECODERS))}")
    return DECODERS[name]()
