from collections.abc import Sequence

from stages.text.dedup import drop_rolling_repeats
from stages.text.markup import payload_words
from stages.text.records import Cue
from stages.text.timing import place_words, spoken_s
from stages.text.webvtt import parse_webvtt
from tests.unit.test_text_webvtt import YOUTUBE


def cue(start_s: float, end_s: float, text: str) -> Cue:
    return Cue(start_s=start_s, end_s=end_s, words=payload_words(text, start_s, end_s))


def said(cues: Sequence[Cue]) -> str:
    return " | ".join(found.text for found in drop_rolling_repeats(cues))


def test_youtube_says_each_word_once_and_keeps_its_times() -> None:
    (found,) = drop_rolling_repeats(parse_webvtt(YOUTUBE, "x.vtt").cues)
    assert [(word.text, word.start_s) for word in found.words] == [
        ("have", 0.5),
        ("you", 0.76),
        ("ever", 1.28),
        ("seen", 2.12),
        ("it", 3.0),
    ]


def test_the_longest_overlap_of_words_counts() -> None:
    assert said([cue(0, 2, "to be or to be"), cue(2, 4, "to be or to be or not")]) == "to be or to be or not"
    assert said([cue(0, 2, "we cut the red"), cue(2, 4, "the red onion")]) == "we cut the red onion"


def test_letters_are_no_overlap() -> None:
    assert said([cue(0, 2, "add the oil"), cue(2, 4, "lower the heat")]) == "add the oil | lower the heat"
    assert (
        said([cue(0, 2, "add the oil and sal"), cue(2, 4, "sal lted water")]) == "add the oil and sal | sal lted water"
    )


def test_one_word_is_evidence_only_as_a_whole_line() -> None:
    assert said([cue(0, 2, "I see that"), cue(2, 4, "that man")]) == "I see that | that man"
    assert said([cue(0, 2, "well\nyeah"), cue(2, 4, "yeah\nwhat")]) == "well yeah what"


def test_growing_captions() -> None:
    assert said([cue(0, 1, "have"), cue(1, 2, "have you"), cue(2, 3, "have you ever")]) == "have you ever"


def test_after_a_pause_words_are_said_again() -> None:
    assert said([cue(0, 2, "stir it well now"), cue(5, 7, "stir it well now")]) == "stir it well now | stir it well now"


def test_after_a_pause_the_upper_line_is_a_repeat() -> None:
    cues = [
        cue(0, 2, "stir<00:00:00.500> it"),
        cue(2, 2.01, "stir it"),
        cue(9, 11, "stir it\nstir<00:00:09.500> it"),
        cue(11, 11.01, "stir it"),
    ]
    (found,) = drop_rolling_repeats(cues)
    assert [word.start_s for word in found.words] == [0.0, 0.5, 9.0, 9.5]


def test_a_new_line_of_one_word_ends_as_a_word_does() -> None:
    cues = [cue(0, 2, "stir<00:00:00.500> it"), cue(2, 6, "stir it\nslowly")]
    (found,) = drop_rolling_repeats(cues)
    assert (found.words[-1].start_s, found.words[-1].end_s) == (2, 2 + spoken_s("slowly"))


def test_people_who_repeat_themselves_are_left_alone() -> None:
    lines = [f"This is line {n} of a talk." for n in range(20)]
    lines[9:11] = ["Thank you.", "Thank you."]
    cues = [cue(n, n + 1, line) for n, line in enumerate(lines)]
    assert drop_rolling_repeats(cues) == cues


def test_a_long_repeat_goes_from_any_transcript() -> None:
    lines = [f"This is line {n} of a talk." for n in range(20)]
    lines[9] = lines[8]
    assert len(drop_rolling_repeats([cue(n, n + 1, line) for n, line in enumerate(lines)])) == 19


def test_a_timed_word_is_no_repeat_of_a_word_of_another_time() -> None:
    cues = [cue(0, 2, "no<00:00:01.000> no"), cue(2, 4, "no no\nno<00:00:03.000> no")]
    (found,) = drop_rolling_repeats(cues)
    assert [word.start_s for word in found.words] == [0.0, 1.0, 2.0, 3.0]


def test_new_words_without_times_get_the_whole_cue() -> None:
    (found,) = drop_rolling_repeats([cue(0, 2, "first line here"), cue(2, 4, "first line here\nsecond line")])
    assert [word.start_s for word in found.words[3:]] == [w.start_s for w in place_words(found.words[3:], 2, 4)]
    assert found.words[3].start_s == 2.0


def test_a_line_that_is_shown_again_lasts_on() -> None:
    (found,) = drop_rolling_repeats([cue(0, 1, "first line here"), cue(1, 3, "first line here")])
    assert (found.end_s, found.words[-1].end_s) == (3, 3)


def test_cues_without_words_are_left_out() -> None:
    assert drop_rolling_repeats([cue(0, 1, "[Music]"), cue(1, 2, "")]) == []
