"""Any transcript file -> cues or narrations, whatever its suffix promises."""

from pathlib import Path

from stages.errors import BadTranscript
from stages.text.encoding import decode_text
from stages.text.records import Narration, Transcript
from stages.text.sentences import SentenceSettings, narrate
from stages.text.srt import is_srt, parse_srt
from stages.text.webvtt import is_webvtt, parse_webvtt

SUFFIXES = (".vtt", ".srt")
"""Of files that count as transcripts, the preferred one first."""
MAX_BYTES = 64 << 20
"""The transcript of a day is about 5 MB; what is larger is something else."""

_PARSERS = {".vtt": parse_webvtt, ".srt": parse_srt}


def parse_transcript(content: bytes, name: str) -> Transcript:
    """The cues of a transcript file: the content decides what it is, its suffix only which complaint it gets.

    Args:
        content: the whole file.
        name: what to call it in messages; its suffix is `.vtt` or `.srt`.

    Raises:
        BadTranscript: it is none; the message says where, what it got and what it expected.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in _PARSERS:
        raise BadTranscript(
            f"{name}: got a file with the suffix {suffix!r}, expected one of {', '.join(SUFFIXES)} "
            "(a captions table is given as `captions`, not beside a video)"
        )
    text = decode_text(content, name)
    if is_webvtt(text):
        return parse_webvtt(text, name)
    if is_srt(text):
        return parse_srt(text, name)
    return _PARSERS[suffix](text, name)


def load_transcript(path: Path, name: str) -> bytes:
    """The content of a transcript file.

    Raises:
        BadTranscript: it cannot be read or is far too large for a transcript.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadTranscript(f"{name}: cannot be read ({error.strerror}); check the file and its permissions") from error
    if len(content) > MAX_BYTES:
        raise BadTranscript(f"{name}: got more than {MAX_BYTES >> 20} MiB, expected a transcript")
    return content


def read_transcript(path: Path, settings: SentenceSettings | None = None) -> list[Narration]:
    """The narrations of one transcript file: rolling repeats removed, cut into sentences.

    Args:
        path: a `.vtt` or `.srt` file.
        settings: how to cut; the defaults if None.

    Returns:
        Narrations in order; start times do not fall.

    Raises:
        BadTranscript: it is none.
    """
    transcript = parse_transcript(load_transcript(path, path.name), path.name)
    return list(narrate(transcript.cues, settings or SentenceSettings()).narrations)
