from collections.abc import Sequence

import pytest

from stages.text.markup import payload_words
from stages.text.records import Cue
from stages.text.sentences import Narrated, SentenceSettings, narrate


def cue(start_s: float, end_s: float, text: str) -> Cue:
    return Cue(start_s=start_s, end_s=end_s, words=payload_words(text, start_s, end_s))


def run(cues: Sequence[Cue], *, max_pause_s: float = 0.7, max_words: int = 24) -> Narrated:
    settings = SentenceSettings(max_pause_s=max_pause_s, max_pause_in_sentence_s=0.7, max_words=max_words)
    return narrate(cues, settings)


def texts(narrated: Narrated) -> list[str]:
    return [narration.text for narration in narrated.narrations]


def test_sentences_run_over_cues() -> None:
    found = run([cue(0, 2, "Cut the onion and"), cue(2, 4, "the leek. Then we")])
    assert texts(found) == ["Cut the onion and the leek.", "Then we"]
    assert found.narrations[0].start_s == 0.0
    assert found.narrations[0].end_s == found.narrations[1].start_s == pytest.approx(2 + 2 * 10 / 18)
    assert found.narrations[1].end_s == 4.0


def test_abbreviations_and_initials_end_no_sentence() -> None:
    assert texts(run([cue(0, 4, 'Dr. J. Doe adds salt, e.g. a pinch. He said "stop." Good!')])) == [
        "Dr. J. Doe adds salt, e.g. a pinch.",
        'He said "stop."',
        "Good!",
    ]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("先切洋葱。然后把油加热。", ["先切洋葱。", "然后把油加热。"]),
        ("ما هذا؟ هذا كتاب.", ["ما هذا؟", "هذا كتاب."]),
        ("यह क्या है। यह किताब है।", ["यह क्या है।", "यह किताब है।"]),
        ("He pays at 5 p.m. today. Good.", ["He pays at 5 p.m. today.", "Good."]),
    ],
)
def test_sentences_end_in_every_script(said: str, expected: list[str]) -> None:
    assert texts(run([cue(0, 4, said)])) == expected


def test_a_pause_ends_a_sentence() -> None:
    assert texts(run([cue(0, 2, "First the onion"), cue(3, 4, "and the leek."), cue(4, 5, "Done.")])) == [
        "First the onion",
        "and the leek.",
        "Done.",
    ]


def test_without_punctuation_cues_are_pieces() -> None:
    assert texts(run([cue(0, 1, "~ Stream of Water ~"), cue(1, 2, "one")])) == ["~ Stream of Water ~", "one"]


def test_without_punctuation_timed_words_are_cut_at_pauses() -> None:
    found = run([cue(0, 5, "cut<00:00:00.300> it<00:00:03.000> stir<00:00:03.400> it"), cue(5, 5.01, "cut it stir it")])
    assert texts(found) == ["cut it", "stir it"]
    assert found.narrations[1].start_s == 3.0
    assert found.narrations[0].end_s < 1.0
    assert (found.num_words, found.num_repeats) == (4, 4)


def test_between_two_lines_half_a_pause_is_enough() -> None:
    timed = "cut<00:00:00.300> it{}stir<00:00:01.300> it"
    lines = [cue(0, 0.97, "cut<00:00:00.300> it"), cue(0.97, 1.5, "cut it\nstir<00:00:01.300> it")]
    assert texts(run(lines)) == ["cut it stir it"]
    assert texts(run(lines, max_pause_s=0.5)) == ["cut it", "stir it"]
    assert texts(run([cue(0, 1.5, timed.format("<00:00:00.970> "))], max_pause_s=0.5)) == ["cut it stir it"]


def test_long_sentences_are_cut_after_a_clause() -> None:
    assert texts(run([cue(0, 9, "one two three four, five six seven eight nine.")], max_words=6)) == [
        "one two three four,",
        "five six seven eight nine.",
    ]


def test_long_pieces_without_clauses_are_cut_at_the_longest_pause() -> None:
    stamped = "a<00:01.000> b<00:02.000> c<00:02.900> d<00:03.200> e<00:03.500> f"
    assert texts(run([cue(0, 4, stamped)], max_words=4, max_pause_s=5)) == ["a b", "c d e f"]


def test_no_stub_is_cut_off() -> None:
    text = "so, " + " ".join(f"w{n}" for n in range(24))
    assert all(len(found.split()) >= 8 for found in texts(run([cue(0, 9, text)])))


def test_cues_that_overlap_are_another_speaker() -> None:
    found = run([cue(0, 10, "I talk for long."), cue(4, 5, "Yes."), cue(10, 11, "Bye.")])
    assert [(n.start_s, n.end_s, n.text) for n in found.narrations] == [
        (0.0, 10.0, "I talk for long."),
        (4.0, 5.0, "Yes."),
        (10.0, 11.0, "Bye."),
    ]


def test_every_narration_lasts() -> None:
    found = run([cue(0, 1, "a\nb<00:00.500> c")])
    assert all(narration.end_s - narration.start_s >= 0.1 for narration in found.narrations)


def test_no_words() -> None:
    assert run([]) == Narrated(narrations=(), num_words=0, num_repeats=0)
