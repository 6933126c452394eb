"""A paragraph as a user writes it, split into the sentences that are aligned with a video.

One sentence a line if the text has several lines (an enumerator such as `2.` or `-` is dropped), else at sentence
punctuation. Nothing is guessed about abbreviations beyond a short list: who wants full control writes lines.
"""

import re
from pathlib import Path
from typing import BinaryIO

from stages.errors import ConfigError

_ENUMERATOR = re.compile(r"^(?:\d{1,3}[.)]|[-*•])\s+")
_SENTENCE_END = re.compile(r"(?<=[.!?…؟۔।॥])[\"')\]]*\s+|(?<=[。！？])")
_ABBREVIATION = re.compile(r"(?:(?:^|\s)(?:e\.g|i\.e|mr|mrs|ms|dr|vs|approx)|^\d{1,3})\.$", re.IGNORECASE)
_HAS_WORD = re.compile(r"[^\W_]")


def split_sentences(text: str) -> list[str]:
    """The sentences of `text`, in order, white space normalised; [] if there is no word in it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    pieces = lines if len(lines) > 1 else _split_at_punctuation(lines[0] if lines else "")
    sentences = (" ".join(_ENUMERATOR.sub("", piece).split()) for piece in pieces)
    return [sentence for sentence in sentences if _HAS_WORD.search(sentence)]


def read_sentences(source: Path | BinaryIO) -> list[str]:
    """The sentences of a text file, or of an open stream such as standard input.

    Raises:
        ConfigError: it cannot be read, is not UTF-8 text, or holds no sentence.
    """
    name = f"the paragraph file {source}" if isinstance(source, Path) else "the paragraph on standard input"
    try:
        content = source.read_bytes() if isinstance(source, Path) else source.read()
        sentences = split_sentences(content.decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}; give a text file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not UTF-8 text: byte {error.start} is not valid") from error
    if not sentences:
        raise ConfigError(f"{name} holds no sentence: write one sentence a line")
    return sentences


def _split_at_punctuation(line: str) -> list[str]:
    """Pieces of one line that end with sentence punctuation; a piece that ends with an abbreviation goes on."""
    sentences: list[str] = []
    for piece in _SENTENCE_END.split(line):
        if sentences and _ABBREVIATION.search(sentences[-1]):
            sentences[-1] = f"{sentences[-1]} {piece}"
        else:
            sentences.append(piece)
    return sentences
