"""WebVTT -> cues, after the parser of the W3C recommendation, with what is found in the wild.

As the recommendation: a line with an arrow always begins a cue, whatever stands before it; NOTE, STYLE and REGION
blocks and cue settings are passed over; a cue whose timing cannot be read is left out (and named in
`Transcript.problems`). Beyond it: hours of one digit, a comma before the fraction, and text that a blank line has cut
from its cue, as when an editor has stripped the lone space that YouTube puts into the first line.
"""

import html
import re
from collections.abc import Iterable, Iterator, Sequence

from stages.errors import BadTranscript
from stages.text.markup import payload_words
from stages.text.records import Cue, Transcript
from stages.text.timestamps import TimingProblem, format_time, parse_range

ARROW = "-->"
_SIGNATURE = re.compile(r"WEBVTT(?=[ \t]|$)")
_PASSED_OVER = re.compile(r"(NOTE|STYLE|REGION)(?=\s|$)")


def is_webvtt(text: str) -> bool:
    """Whether a file's text begins as every WebVTT file must."""
    return _SIGNATURE.match(text.partition("\n")[0]) is not None


def parse_webvtt(text: str, name: str) -> Transcript:
    """Read a WebVTT file.

    Args:
        text: decoded, with the line feed as line ending.
        name: what to call the file in messages.

    Raises:
        BadTranscript: no signature in the first line, or not one of its timing lines can be read.
    """
    lines = text.split("\n")
    if not is_webvtt(text):
        raise BadTranscript(f"{name}:1: got {lines[0][:80]!r}, expected 'WEBVTT'; is it a WebVTT file?")
    return read_cues(_cue_blocks(lines), lines, name)


def read_cues(blocks: Iterator[tuple[int, str]], lines: Sequence[str], name: str) -> Transcript:
    """Cues from (index of the timing line, payload) pairs; shared with SRT.

    Raises:
        BadTranscript: there are timing lines, and none can be read.
    """
    cues, problems = [], []
    for index, payload in blocks:
        interval = parse_range(lines[index])
        if isinstance(interval, TimingProblem):
            problems.append(f"{name}:{index + 1}: got {interval.got}, expected {interval.expected}")
            continue
        start_s, end_s = interval
        cues.append(Cue(start_s=start_s, end_s=end_s, words=payload_words(payload, start_s, end_s)))
    if problems and not cues:
        raise BadTranscript(f"{problems[0]}; none of its {len(problems)} cues can be read, write the file again")
    return Transcript(cues=tuple(sorted(cues, key=lambda cue: cue.start_s)), problems=tuple(problems))


def _cue_blocks(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    timing: int | None = None
    payload: list[str] = []
    in_block, passed_over = True, True  # the header is a block that holds no cue
    for index, line in enumerate(lines):
        if ARROW in line:
            if timing is not None:
                yield timing, "\n".join(payload)
            timing, payload, in_block, passed_over = index, [], True, False
        elif not line:
            in_block = False
        else:
            if not in_block:
                # Text of a block of its own belongs to the cue before only if that one got none.
                passed_over = _PASSED_OVER.match(line) is not None or any(payload) or _is_identifier(lines, index)
                in_block = True
            if not passed_over:
                payload.append(line)
    if timing is not None:
        yield timing, "\n".join(payload)


def _is_identifier(lines: Sequence[str], index: int) -> bool:
    """Whether a line is the identifier of the cue whose timing line follows."""
    return index + 1 < len(lines) and ARROW in lines[index + 1]


def format_webvtt(lines: Iterable[tuple[float, float, str]]) -> str:
    """Lay timed lines out as a WebVTT file, one cue each.

    Args:
        lines: (start_s, end_s, text), the text on one line; times become milliseconds, and a cue lasts one at least.
    """
    cues = []
    for start_s, end_s, text in lines:
        start_ms = round(1000 * start_s)
        end_ms = max(round(1000 * end_s), start_ms + 1)
        cues.append(f"\n{format_time(start_ms)} --> {format_time(end_ms)}\n{html.escape(text, quote=False)}\n")
    return "WEBVTT\n" + "".join(cues)
