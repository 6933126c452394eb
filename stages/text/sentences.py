"""Cues -> narrations: sentence-like pieces with times.

Where a transcript has punctuation, a narration is a sentence. Where it has none, a narration ends at a pause, and what
is still too long is cut at the longest pause inside; cues that do not roll are pieces of their own then. After TAN's
"sentencify" (papers.md 6.1), without its model that restores punctuation.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from stages.text.dedup import drop_rolling_repeats
from stages.text.records import Cue, Narration, Word

_SENTENCE_END = re.compile(r"[.!?…。！？؟۔।॥][\"'”’»)\]」』]*$")
_ABBREVIATION = re.compile(
    r"(?:mr|mrs|ms|dr|st|vs|etc|prof|jr|sr|fig|approx|e\.g|i\.e|[ap]\.m|[^\W\d_])\.", re.IGNORECASE
)
_CLAUSE_END = re.compile(r"[,;:–—、，；：،؛][\"'”’»)\]」』]*$")
_WORDS_A_SENTENCE = 40  # a transcript with fewer sentence ends than one in so many words is not punctuated
_SHORTEST_S = 0.1
_AT_LINE_START = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceSettings:
    """Where narrations end.

    Attributes:
        max_pause_s: in a transcript without punctuation, a longer silence between two words ends one; half of it is
            enough between two lines, since captions begin a new line at a pause.
        max_pause_in_sentence_s: in a transcript with punctuation, a longer silence ends one inside a sentence.
        max_words: none is longer.
    """

    max_pause_s: float = 0.4
    max_pause_in_sentence_s: float = 1.0
    max_words: int = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrated:
    """The narrations of one transcript and what was left out on the way.

    Attributes:
        narrations: in order of start_s.
        num_words: words in them.
        num_repeats: words that were dropped as rolling repeats.
    """

    narrations: tuple[Narration, ...]
    num_words: int
    num_repeats: int


def narrate(cues: Sequence[Cue], settings: SentenceSettings) -> Narrated:
    """Rid cues of rolling repeats and cut them into sentence-like narrations.

    Args:
        cues: of one transcript.
        settings: where narrations end.

    Returns:
        Every word that is no repeat, once; each narration lasts at least 0.1 s.
    """
    kept = [cue.words for cue in drop_rolling_repeats(cues)]
    narrations = [_narration(piece) for piece in _pieces(kept, settings)]
    num_words = sum(map(len, kept))
    return Narrated(
        narrations=tuple(sorted(narrations, key=lambda narration: narration.start_s)),
        num_words=num_words,
        num_repeats=sum(len(cue.words) for cue in cues) - num_words,
    )


def _narration(words: Sequence[Word]) -> Narration:
    start_s = min(word.start_s for word in words)
    end_s = max(word.end_s for word in words)
    text = " ".join(word.text for word in words)
    return Narration(start_s=start_s, end_s=max(end_s, start_s + _SHORTEST_S), text=text)


def _pieces(runs: Sequence[Sequence[Word]], settings: SentenceSettings) -> Iterator[Sequence[Word]]:
    """The words of each narration."""
    punctuated = _is_punctuated([word for run in runs for word in run])
    whole = [[word for run in runs for word in run]] if punctuated else runs
    cut = _cut_at_sentence_ends if punctuated else _cut_at_pauses
    for words in whole:
        for piece in _split(words, lambda before, word: cut(before, word, settings)):
            yield from _shorten(piece, settings.max_words)


def _is_punctuated(words: Iterable[Word]) -> bool:
    ends = [_SENTENCE_END.search(word.text) is not None for word in words]
    return sum(ends) * _WORDS_A_SENTENCE >= len(ends) and any(ends)


def _split(words: Sequence[Word], is_cut: Callable[[Word, Word], bool]) -> Iterator[Sequence[Word]]:
    """Cut between two words where told, and where time runs back: cues that overlap, another speaker."""
    first = 0
    for index in range(1, len(words)):
        before, word = words[index - 1], words[index]
        if word.start_s < before.start_s or is_cut(before, word):
            yield words[first:index]
            first = index
    if words:
        yield words[first:]


def _cut_at_sentence_ends(before: Word, word: Word, settings: SentenceSettings) -> bool:
    return _ends_sentence(before.text) or word.start_s - before.end_s > settings.max_pause_in_sentence_s


def _cut_at_pauses(before: Word, word: Word, settings: SentenceSettings) -> bool:
    share = _AT_LINE_START if word.starts_line else 1.0
    return word.start_s - before.end_s > share * settings.max_pause_s


def _ends_sentence(word: str) -> bool:
    return _SENTENCE_END.search(word) is not None and _ABBREVIATION.fullmatch(word) is None


def _shorten(words: Sequence[Word], max_words: int) -> Iterator[Sequence[Word]]:
    """Cut a piece that is too long: after a clause, else at the longest pause, else at a line, else late.

    No piece gets less than a third of `max_words`.
    """
    while len(words) > max_words:
        shortest = max(1, max_words // 3)
        latest = min(max_words, len(words) - shortest)
        cut = max(range(shortest, latest + 1), key=lambda at: _cut_rank(words, at))
        yield words[:cut]
        words = words[cut:]
    yield words


def _cut_rank(words: Sequence[Word], at: int) -> tuple[bool, float, bool, int]:
    before, word = words[at - 1], words[at]
    pause_s = round(word.start_s - before.end_s, 3)  # smaller differences are noise of interpolation
    return _CLAUSE_END.search(before.text) is not None, pause_s, word.starts_line, at
