"""Why a media file cannot be used: named causes, and the decoder's own words made fit for a committed record."""

import re

from stages.errors import DecodeError

UNREADABLE = "unreadable"
UNREACHABLE = "unreachable"
EMPTY_FILE = "empty_file"
NOT_MEDIA = "not_media"
NO_VIDEO_STREAM = "no_video_stream"
NO_FRAMES = "no_frames"
UNSUPPORTED = "unsupported"
DECODER_CRASHED = "decoder_crashed"
OUT_OF_MEMORY = "out_of_memory"

MAX_WORDS = 300
"""Characters of a decoder's last words that a record keeps."""

_ADDRESS = re.compile(r"\s*@?\s*\b0x[0-9a-fA-F]+\b")
_PATH = re.compile(r"(?<![\w.])(?:file:)?/[^\s'\":,]*")
_QUOTED_PATH = re.compile(r"'(?:file:)?/[^']*'")


def decode_error(cause: str, message: str) -> DecodeError:
    """Make a DecodeError whose Failure row names `cause` in place of the general `decode_error`."""
    error = DecodeError(message)
    error.cause = cause
    return error


def normalise_words(text: str) -> str:
    """Take out of a native library's message whatever differs from run to run.

    Args:
        text: lines as the decoder wrote them.

    Returns:
        One line without addresses and absolute paths, repeated lines once, at most 300 characters from the end.
    """
    text = _PATH.sub("<path>", _QUOTED_PATH.sub("<path>", _ADDRESS.sub("", text)))
    lines = dict.fromkeys(" ".join(line.split()) for line in text.splitlines())
    words = " | ".join(line for line in lines if line)
    return words if len(words) <= MAX_WORDS else "..." + words[-MAX_WORDS:]
