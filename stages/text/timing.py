"""When each word of a cue is said, if only some of its words carry a time."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from stages.text.records import Word

_SHORTEST_WORD_S = 0.25
_CHARACTER_S = 0.06


def spoken_s(word: str) -> float:
    """How long a word takes at most when it is said without a pause after it, in seconds.

    Generous for speech of 2 to 3 words a second. Transcripts give at best the beginnings of words; without this, a
    pause would belong to the word before it.
    """
    return _SHORTEST_WORD_S + _CHARACTER_S * len(word)


def place_words(words: Sequence[Word], start_s: float, end_s: float) -> tuple[Word, ...]:
    """Give every word a time: stamped ones keep their beginning, the others share the space between by length.

    Args:
        words: of one cue, in order. Times of those that are not stamped are ignored.
        start_s: when the cue appears; the first word begins here unless it is stamped.
        end_s: when the cue goes.

    Returns:
        The words; starts do not fall, every word lies in [start_s, end_s], and each ends where the next begins (stamped
        ones after `spoken_s` at the latest).
    """
    starts = _starts(words, start_s, end_s)
    placed = []
    for index, word in enumerate(words):
        end = starts[index + 1] if index + 1 < len(words) else end_s
        if word.stamped:
            end = min(end, starts[index] + spoken_s(word.text))
        placed.append(replace(word, start_s=starts[index], end_s=end))
    return tuple(placed)


def _starts(words: Sequence[Word], start_s: float, end_s: float) -> list[float]:
    """Beginnings: between two anchors in proportion to the characters that stand between them."""
    anchors = [(0, start_s)] if words and not words[0].stamped else []
    for index, word in enumerate(words):
        if word.stamped:
            earliest = anchors[-1][1] if anchors else start_s
            anchors.append((index, min(max(word.start_s, earliest), end_s)))
    anchors.append((len(words), end_s))
    starts: list[float] = []
    for (first, from_s), (last, to_s) in pairwise(anchors):
        lengths = [len(word.text) + 1 for word in words[first:last]]
        done, total = 0, sum(lengths)
        for length in lengths:
            starts.append(min(from_s + (to_s - from_s) * (done / total), to_s))
            done += length
    return starts
