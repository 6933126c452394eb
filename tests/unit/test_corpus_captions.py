import re
from itertools import pairwise

import numpy as np
import pytest

from stages.corpus.captions import LINE_CHARACTERS, Word, narrate, write_vtt
from stages.corpus.compose import VideoPlan, compose
from stages.corpus.settings import CorpusSettings
from stages.corpus.steps import FILLERS, OPENERS, wordings

SMALL = CorpusSettings(num_train=60, num_train_pairs=0, num_val=0, num_test=0, num_pairs=0)
TIME = re.compile(r"(\d\d):(\d\d):(\d\d)\.(\d\d\d)")


def milliseconds(clock: str) -> int:
    hours, minutes, seconds, rest = map(int, TIME.fullmatch(clock).groups())  # type: ignore[union-attr]
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest


def spoken(plan: VideoPlan, settings: CorpusSettings = SMALL) -> tuple[tuple[Word, ...], ...]:
    return narrate(plan, settings, np.random.default_rng(plan.position))


def text_of(sentence: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in sentence)


def word(text: str, start_ms: int, end_ms: int) -> Word:
    return Word(text=text, start_ms=start_ms, end_ms=end_ms)


def test_layout_is_that_of_youtube() -> None:
    first = (word("the", 200, 400), word("star", 400, 700))
    second = (word("it", 1500, 1700), word("spins", 1700, 2000))
    late = (word("bye", 3_661_000, 3_661_500),)
    assert write_vtt([first, second, late]) == (
        "WEBVTT\nKind: captions\nLanguage: en\n\n"
        "00:00:00.200 --> 00:00:01.490 align:start position:0%\n \nthe<00:00:00.400><c> star</c>\n\n"
        "00:00:01.490 --> 00:00:01.500 align:start position:0%\nthe star\n \n\n"
        "00:00:01.500 --> 00:00:03.800 align:start position:0%\nthe star\nit<00:00:01.700><c> spins</c>\n\n"
        "00:00:03.800 --> 00:00:03.810 align:start position:0%\nit spins\n \n\n"
        "01:01:01.000 --> 01:01:01.500 align:start position:0%\n \nbye\n\n"
    )


def test_long_sentences_are_broken_into_rolling_lines() -> None:
    words = tuple(word("seven77", 100 * index, 100 * index + 100) for index in range(12))
    text = write_vtt([words])
    lines = [re.sub(r"<[^>]*>", "", line) for line in text.splitlines()[4:] if "-->" not in line and line.strip()]
    assert max(map(len, lines)) <= LINE_CHARACTERS
    assert text.count("-->") == 5  # three lines, two holds


@pytest.mark.parametrize("settings", [SMALL, SMALL.model_copy(update={"timing_jitter_s": 5.0, "filler_rate": 1.0})])
def test_words_are_in_order_inside_the_video_and_never_overlap(settings: CorpusSettings) -> None:
    for plan in compose(settings):
        words = [word for sentence in spoken(plan, settings) for word in sentence]
        assert all(word.start_ms < word.end_ms for word in words)
        assert all(a.end_ms <= b.start_ms for a, b in pairwise(words))
        assert words[0].start_ms >= 0
        assert words[-1].end_ms <= 1000 * plan.num_frames / settings.fps


def test_cues_never_overlap() -> None:
    for plan in compose(SMALL):
        times = [line.split()[::2][:2] for line in write_vtt(spoken(plan)).splitlines() if "-->" in line]
        cues = [(milliseconds(start), milliseconds(end)) for start, end in times]
        assert all(start < end for start, end in cues)
        assert all(a[1] <= b[0] for a, b in pairwise(cues))


def test_each_scene_is_told_in_order_between_fillers() -> None:
    num_fillers = 0
    for plan in compose(SMALL):
        said = [text_of(sentence) for sentence in spoken(plan)]
        num_fillers += sum(text in FILLERS for text in said)
        told = [text for text in said if text not in FILLERS]
        for step, text in zip(plan.steps, told, strict=True):
            assert text in {opener + wording for opener in OPENERS for wording in wordings(step)}
    assert 0 < num_fillers < 60 * SMALL.max_scenes / 3


def test_a_sentence_starts_near_its_scene_but_not_exactly() -> None:
    plain = SMALL.model_copy(update={"filler_rate": 0.0})
    late_s = [
        sentence[0].start_ms / 1000 - scene.start_frame / plain.fps
        for plan in compose(plain)
        for scene, sentence in zip(plan.scenes, spoken(plan, plain), strict=True)
    ]
    assert min(late_s) >= -0.001
    assert max(late_s) <= 1.2
    assert np.std(late_s) > 0.2
