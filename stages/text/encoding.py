"""Bytes of a text file -> text: UTF-8, or UTF-16 by its byte order mark; nothing is guessed."""

import codecs

from stages.errors import BadTranscript

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def is_utf8(text: str) -> bool:
    """Whether a text can be written down: what is no UTF-8 in a file name or a command line is a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def decode_text(content: bytes, name: str) -> str:
    """The text of a file, without a byte order mark and with the line feed as its only line ending.

    Args:
        content: the whole file.
        name: what to call it in a message.

    Raises:
        BadTranscript: it is empty, or not text in one of these encodings.
    """
    encoding = "utf-16" if content.startswith(_UTF16_MARKS) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadTranscript(
            f"{name}:{line}: byte {error.start} (0x{content[error.start]:02x}) is not {encoding.removesuffix('-sig')}: "
            "expected UTF-8, or UTF-16 with a byte order mark; save the file as UTF-8"
        ) from error
    if not text.strip():
        raise BadTranscript(f"{name}: got an empty file, expected a transcript; delete it or write it again")
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise BadTranscript(f"{name}:{line}: got a NUL character, so this is no text file; expected UTF-8 text")
    return text.replace("\r\n", "\n").replace("\r", "\n")
