import pytest

from stages.text.records import Word
from stages.text.timing import place_words, spoken_s


def word(text: str, stamp: float | None = None) -> Word:
    return Word(text=text, start_s=stamp or 0.0, end_s=stamp or 0.0, stamped=stamp is not None)


def test_words_without_times_share_the_cue_by_length() -> None:
    placed = place_words([word("a"), word("bbb"), word("a")], 10.0, 18.0)
    assert [(w.start_s, w.end_s) for w in placed] == [(10.0, 12.0), (12.0, 16.0), (16.0, 18.0)]


def test_words_between_times_share_the_space_between() -> None:
    placed = place_words([word("a"), word("b", 4.0), word("c"), word("d", 8.0)], 2.0, 9.0)
    assert [w.start_s for w in placed] == [2.0, 4.0, 6.0, 8.0]


def test_a_timed_word_ends_before_a_pause() -> None:
    placed = place_words([word("so", 1.0), word("then", 5.0)], 1.0, 5.2)
    assert placed[0].end_s == pytest.approx(1.0 + spoken_s("so"))
    assert placed[1].end_s == 5.2


def test_times_outside_of_the_cue_or_running_back_are_held_inside() -> None:
    placed = place_words([word("a", 0.5), word("b", 3.0), word("c", 2.0), word("d", 9.0)], 1.0, 4.0)
    assert [w.start_s for w in placed] == [1.0, 3.0, 3.0, 4.0]


def test_no_words() -> None:
    assert place_words([], 1.0, 2.0) == ()
