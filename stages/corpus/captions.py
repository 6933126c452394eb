"""The narrator of a video, and WebVTT as YouTube's automatic captions lay it out.

A sentence is spoken near the start of its scene, not exactly there. The file shows two rolling lines: a cue repeats
the line before it and adds the next one with a time before every word but the first; a cue of 10 ms then holds the
finished line. After a long silence the screen is empty. Lower case, no punctuation, as speech recognition gives it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.corpus.compose import VideoPlan
from stages.corpus.settings import CorpusSettings
from stages.corpus.steps import FILLERS, OPENERS, wordings
from stages.text.timestamps import format_time

LINE_CHARACTERS = 40
HOLD_MS = 10
LONGEST_TAIL_MS = 1800
BREATH_S = 0.8
CUE_STYLE = "align:start position:0%"
HEADER = "WEBVTT\nKind: captions\nLanguage: en\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One spoken word; `start_ms` and `end_ms` are whole milliseconds of the video's clock."""

    text: str
    start_ms: int
    end_ms: int


def say(step: int, rng: np.random.Generator) -> str:
    """One wording of a step, with an opener now and then."""
    spoken = wordings(step)
    return OPENERS[rng.integers(len(OPENERS))] + spoken[rng.integers(len(spoken))]


def narrate(plan: VideoPlan, settings: CorpusSettings, rng: np.random.Generator) -> tuple[tuple[Word, ...], ...]:
    """Speak a video: one sentence a scene, a filler here and there.

    Sentences never overlap and end before the video does; a filler that does not fit is left out.

    Returns:
        Sentences in order of time, each the tuple of its words.
    """
    sentences: list[tuple[Word, ...]] = []
    free_s = 0.0
    for scene in plan.scenes:
        start_s, end_s = scene.start_frame / settings.fps, (scene.start_frame + scene.num_frames) / settings.fps
        late_s = settings.timing_jitter_s * rng.uniform(-1, 1)
        begin_s = min(max(start_s + 0.5 + late_s, free_s), (start_s + end_s) / 2)
        sentences.append(_speak(say(scene.step, rng), begin_s, end_s, rng))
        said_s = sentences[-1][-1].end_ms / 1000
        filler = _speak(FILLERS[rng.integers(len(FILLERS))], said_s + rng.uniform(0.3, 1.0), np.inf, rng)
        if rng.random() < settings.filler_rate and filler[-1].end_ms < 1000 * end_s:
            sentences.append(filler)
        free_s = sentences[-1][-1].end_ms / 1000 + BREATH_S
    return tuple(sentences)


def _speak(text: str, begin_s: float, limit_s: float, rng: np.random.Generator) -> tuple[Word, ...]:
    """Time the words of a sentence at 0.15 to 0.32 s each, faster where it would pass `limit_s`."""
    words = text.split()
    lengths_s = rng.uniform(0.15, 0.32, len(words))
    pace = min(1.0, (limit_s - begin_s) / float(lengths_s.sum()))
    ends_ms = np.floor(1000 * (begin_s + pace * np.cumsum(lengths_s))).astype(int).tolist()
    starts_ms = [int(1000 * begin_s), *ends_ms[:-1]]
    return tuple(
        Word(text=word, start_ms=start, end_ms=end) for word, start, end in zip(words, starts_ms, ends_ms, strict=True)
    )


def write_vtt(sentences: Sequence[Sequence[Word]]) -> str:
    """Lay sentences out as YouTube does; a pause between sentences starts a new line.

    A line stays until the next one begins, or LONGEST_TAIL_MS into a pause; then the next line has nothing above it.

    Args:
        sentences: at least one, in order of time; each at least one word.

    Returns:
        The whole file's text.
    """
    lines = [line for sentence in sentences for line in _break_lines(sentence)]
    limits_ms = [*(line[0].start_ms - HOLD_MS for line in lines[1:]), lines[-1][-1].end_ms]
    above, free_ms = " ", 0
    cues: list[str] = []
    for line, limit_ms in zip(lines, limits_ms, strict=True):
        start_ms, end_ms = line[0].start_ms, min(line[-1].end_ms + LONGEST_TAIL_MS, limit_ms)
        cues.append(_cue(start_ms, end_ms, above if start_ms == free_ms else " ", _timed(line)))
        above, free_ms = " ".join(word.text for word in line), end_ms + HOLD_MS
        cues.append(_cue(end_ms, free_ms, above, " "))
    cues.pop()  # nothing follows that would need the last line held
    return HEADER + "".join(cues)


def _break_lines(sentence: Sequence[Word]) -> list[list[Word]]:
    """Fill lines of at most LINE_CHARACTERS; a longer word stands alone."""
    lines: list[list[Word]] = []
    width = 0
    for word in sentence:
        width += 1 + len(word.text)
        if not lines or width > LINE_CHARACTERS:
            lines.append([])
            width = len(word.text)
        lines[-1].append(word)
    return lines


def _timed(line: Sequence[Word]) -> str:
    """`now<00:00:01.200><c> word</c>`: every word but the first with its start."""
    return line[0].text + "".join(f"<{format_time(word.start_ms)}><c> {word.text}</c>" for word in line[1:])


def _cue(start_ms: int, end_ms: int, upper: str, lower: str) -> str:
    """One cue of two lines with the blank line after it."""
    return f"{format_time(start_ms)} --> {format_time(end_ms)} {CUE_STYLE}\n{upper}\n{lower}\n\n"
