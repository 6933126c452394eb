"""A cue's payload -> words: tags and entities of WebVTT and SRT removed, inline word times kept.

Left out because nobody says them: sound tags in square brackets (`[Music]`, `[ __ ]`), notes (♪), speaker marks (`>>`,
or a dash that begins a line), readings of ruby text, and the names of voice tags (`<v Anna>`). Where a script puts no
space between sentences, a word ends with its sentence.
"""

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from stages.text.records import Word
from stages.text.timestamps import parse_time
from stages.text.timing import place_words

_TAG = re.compile(r"<(?P<time>\d[\d:.,]*)>|</?[A-Za-z][^<>]*>|</?>")
_RUBY_READING = re.compile(r"<rt[^<>]*>(?:(?!</?rt).)*</rt>", re.DOTALL | re.IGNORECASE)
_ASS_OVERRIDE = re.compile(r"\{\\[^{}]*\}")  # `{\an8}`: a position, left by converters from ASS
_INVISIBLE = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\u00ad]")
"""Directions, breaks and marks; not the joiners between letters, which Persian and Indian scripts are spelt with."""
_WORD = re.compile(r"[^\s。！？]*[。！？]+[\"'”’»)\]」』]*|[^\s。！？]+")
_UNSPOKEN = re.compile(r"[♩-♯]+|>{2,}|\[[^\[\]]*\][.,!?:;]*")
_DASHES = ("-", "–", "—")
_LONGEST_SOUND_TAG = 8  # words; an opening bracket without a closing one near it is text


def payload_words(payload: str, start_s: float, end_s: float) -> tuple[Word, ...]:
    """The words of a cue with their times.

    Args:
        payload: the lines below the timing line.
        start_s: when the cue appears.
        end_s: when it goes.
    """
    plain, times = _strip_tags(payload)
    words: list[Word] = []
    pending = 0
    line_end = 0
    for match in _WORD.finditer(plain):
        stamp = None
        while pending < len(times) and times[pending][0] < match.end():
            stamp = times[pending][1]
            pending += 1
        starts_line = not words or "\n" in plain[line_end : match.start()]
        line_end = match.end()
        at = start_s if stamp is None else stamp
        words.append(Word(text=match[0], start_s=at, end_s=at, stamped=stamp is not None, starts_line=starts_line))
    return place_words(_drop_unspoken(_stamp_first_words(words, start_s)), start_s, end_s)


def _strip_tags(payload: str) -> tuple[str, list[tuple[int, float]]]:
    """Plain text, and (offset in it, seconds) for each inline time."""
    payload = _ASS_OVERRIDE.sub("", _RUBY_READING.sub("", payload))
    plain, times, done, length = [], [], 0, 0
    for match in _TAG.finditer(payload):
        plain.append(_clean(payload[done : match.start()]))
        length += len(plain[-1])
        done = match.end()
        seconds = parse_time(match["time"]) if match["time"] else None
        if seconds is not None:
            times.append((length, seconds))
    plain.append(_clean(payload[done:]))
    return "".join(plain), times


def _clean(text: str) -> str:
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", html.unescape(text)))


def _stamp_first_words(words: Sequence[Word], start_s: float) -> list[Word]:
    """Count the first word of a line with inline times as timed by its cue, as YouTube writes it.

    YouTube puts no time before the first new word, and none at all into the repeated line above.
    """
    first, stamped = 0, list(words)
    for index, word in enumerate(words):
        if word.starts_line:
            first = index
        if word.stamped:
            if not words[first].stamped:
                stamped[first] = replace(words[first], start_s=start_s, stamped=True)
            break
    return stamped


def _drop_unspoken(words: Sequence[Word]) -> list[Word]:
    """The words that are said; a word after a dropped one inherits that it starts the line."""
    kept: list[Word] = []
    index, opens_line = 0, False
    while index < len(words):
        length = _length_of_unspoken(words, index)
        opens_line = opens_line or words[index].starts_line
        if length:
            index += length
            continue
        kept.append(replace(words[index], starts_line=opens_line))
        opens_line = False
        index += 1
    return kept


def _length_of_unspoken(words: Sequence[Word], index: int) -> int:
    """How many words from `index` on are one mark or sound tag; 0 if it is speech."""
    text = words[index].text
    if text in _DASHES:
        return int(words[index].starts_line)
    if not text.startswith("["):
        return 1 if _UNSPOKEN.fullmatch(text) else 0
    for length in range(1, min(_LONGEST_SOUND_TAG, len(words) - index) + 1):
        if length > 1:
            text = f"{text} {words[index + length - 1].text}"
        if _UNSPOKEN.fullmatch(text):
            return length
    return 0
