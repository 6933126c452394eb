"""Rolling captions: automatic captions show each line twice or more; say it once.

Departs from VideoCLIP's de-duplication (papers.md 2.4), which takes the *shortest* overlap of *characters* and so
damages words at many boundaries: here an overlap is the longest one of whole words.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from stages.text.records import Cue, Word
from stages.text.timing import place_words

LONGEST_GAP_S = 0.5
"""Rolling captions follow each other at once. After a pause, words that are there again are said again, unless they are
the upper line of a cue that goes on: YouTube shows the line before again."""
ROLLING_SHARE = 0.1
"""A transcript rolls if at least so many of its cues repeat the one before. People repeat themselves too ("Thank you."
/ "Thank you."): in 3,175 cues of hand-made transcripts 0.3 % do; YouTube's automatic captions all repeat."""
_FEWEST_WORDS = 2
_FEWEST_WORDS_ANYWHERE = 4  # so much is a repeat in any transcript
_SAME_TIME_S = 1e-3


def drop_rolling_repeats(cues: Iterable[Cue]) -> list[Cue]:
    """Join cues that repeat the end of what came before, each repeated word kept once.

    A cue repeats what was kept if the longest run of whole words that ends the one and begins the other has two words,
    or is a whole line of either (so `I see that` / `that man` stays); in a transcript that does not roll, four. A word
    that the transcript itself times is a repeat only of a word of the same time. New words of a cue that are not timed
    share its time.

    Args:
        cues: of one transcript, in any order; they are sorted by start_s.

    Returns:
        Cues in order, those without words left out. Doing it again changes nothing, by construction: this is repeated
        until nothing changes, and every pass but the last leaves fewer cues.
    """
    kept = sorted((cue for cue in cues if cue.words), key=lambda cue: cue.start_s)
    joined = _join(kept, rolls=_rolls(kept), retime=True)
    while len(joined) < len(kept):
        kept, joined = joined, _join(joined, rolls=_rolls(joined), retime=False)
    return joined


def _rolls(cues: Sequence[Cue]) -> bool:
    """Whether so many cues repeat the one before at once that the transcript rolls."""
    repeats = sum(_overlap(before.words, before.end_s, cue, rolls=True) > 0 for before, cue in pairwise(cues))
    return repeats > 0 and repeats >= ROLLING_SHARE * (len(cues) - 1)


def _join(cues: Sequence[Cue], *, rolls: bool, retime: bool) -> list[Cue]:
    """One pass: each cue is joined to the one before if it repeats its end.

    Args:
        cues: in order.
        rolls: whether they are of a transcript that rolls.
        retime: they are as they were read, so that new words share a cue's time with repeats that go.
    """
    runs: list[tuple[Cue, list[Word]]] = []  # words grow in a list: one cue may take in a whole transcript
    for cue in cues:
        if runs:
            before, words = runs[-1]
            if overlap := _overlap(words, before.end_s, cue, rolls=rolls):
                _append(words, cue, overlap, retime=retime)
                runs[-1] = (replace(before, end_s=max(before.end_s, cue.end_s)), words)
                continue
        runs.append((cue, list(cue.words)))
    return [replace(cue, words=tuple(words)) for cue, words in runs]


def _append(words: list[Word], cue: Cue, overlap: int, *, retime: bool) -> None:
    """Add to `words` what is new in a cue whose first `overlap` words it has."""
    new = cue.words[overlap:]
    if new and retime:
        if len(new) == 1 and words[0].stamped:  # where lines carry times, one of a single word begins with its cue
            new = (replace(new[0], start_s=cue.start_s, stamped=True),)
        words.extend(place_words(new, cue.start_s, cue.end_s))
    elif new:
        words.extend(new)
    elif not words[-1].stamped:
        words[-1] = replace(words[-1], end_s=max(words[-1].end_s, cue.end_s))


def _overlap(kept: Sequence[Word], kept_end_s: float, cue: Cue, *, rolls: bool) -> int:
    """How many words at the beginning of a cue repeat the end of `kept`; 0 if none do."""
    words, paused = cue.words, cue.start_s - kept_end_s > LONGEST_GAP_S
    if paused and not rolls:
        return 0
    fewest = 1 if rolls else _FEWEST_WORDS_ANYWHERE
    for length in range(min(len(kept), len(words)), fewest - 1, -1):
        if kept[-length].text != words[0].text:  # without it, long runs would be sliced once a word
            continue
        if all(map(_repeats, kept[-length:], words[:length])) and _is_evidence(kept, words, length, paused=paused):
            return length
    return 0


def _repeats(kept: Word, word: Word) -> bool:
    if kept.text != word.text:
        return False
    return not word.stamped or abs(kept.start_s - word.start_s) <= _SAME_TIME_S


def _is_evidence(kept: Sequence[Word], words: Sequence[Word], length: int, *, paused: bool) -> bool:
    is_upper_line = length < len(words) and words[length].starts_line
    if paused:
        return is_upper_line
    return length >= _FEWEST_WORDS or is_upper_line or length == len(words) or kept[-length].starts_line
