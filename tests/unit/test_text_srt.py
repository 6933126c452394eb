import pytest

from stages.errors import BadTranscript
from stages.text.srt import is_srt, parse_srt


def texts(text: str) -> list[str]:
    return [cue.text for cue in parse_srt(text, "x.srt").cues]


def test_cues_with_times() -> None:
    cues = parse_srt(
        "1\n00:00:01,000 --> 00:00:02,500\nHello\nthere\n\n2\n01:00:03,000 --> 01:00:04,000\nyou\n", "x.srt"
    ).cues
    assert [(cue.start_s, cue.end_s, cue.text) for cue in cues] == [(1.0, 2.5, "Hello there"), (3603.0, 3604.0, "you")]


def test_markup_and_positions_are_removed() -> None:
    text = '1\n00:00:01,000 --> 00:00:02,000 X1:40 X2:600\n{\\an8}<font color="#fff"><i>Hi</i></font> &amp; bye\n'
    assert texts(text) == ["Hi & bye"]


def test_blank_lines_inside_and_missing_between() -> None:
    text = "7\n00:01,000 --> 00:02,000\na\n\nb\n8\n00:02.000 --> 00:03.000\nc\n\n00:03,000 --> 00:04,000\nd\n"
    assert texts(text) == ["a b", "c", "d"]


def test_a_text_of_digits_is_text_unless_it_is_the_next_number() -> None:
    text = "1\n00:01,000 --> 00:02,000\nin\n1999\n00:02,000 --> 00:03,000\nb\n"
    assert texts(text) == ["in 1999", "b"]


def test_a_line_of_thousands_of_digits_is_no_number() -> None:
    digits = "1" * 5000
    text = f"{digits}\n00:01,000 --> 00:02,000\na\n\n{digits}\n00:02,000 --> 00:03,000\nb\n"
    assert texts(text) == [f"a {digits}", "b"]


def test_a_cue_without_text_before_another() -> None:
    assert texts("1\n00:01,000 --> 00:02,000\n\n2\n00:02,000 --> 00:03,000\nb\n") == ["", "b"]


def test_what_has_no_timing_line_is_refused() -> None:
    with pytest.raises(BadTranscript, match=r"x\.srt:2: got 'Dear diary' and no line with '-->'"):
        parse_srt("\nDear diary\n", "x.srt")


def test_sniffing() -> None:
    assert is_srt("\n\n1\n00:00:01,000 --> 00:00:02,000\na\n")
    assert not is_srt("a --> b\n")
    assert not is_srt("Dear diary\n")
