import pytest

from stages.errors import BadTranscript
from stages.text.webvtt import is_webvtt, parse_webvtt

YOUTUBE = """WEBVTT
Kind: captions
Language: en

00:00:00.500 --> 00:00:02.110 align:start position:0%
\x20
have<00:00:00.760><c> you</c><00:00:01.280><c> ever</c>

00:00:02.110 --> 00:00:02.120 align:start position:0%
have you ever
\x20

00:00:02.120 --> 00:00:03.630 align:start position:0%
have you ever
seen<00:00:03.000><c> it</c>
"""


def texts(text: str) -> list[str]:
    return [cue.text for cue in parse_webvtt(text, "x.vtt").cues]


def test_inline_times_become_word_times() -> None:
    first = parse_webvtt(YOUTUBE, "x.vtt").cues[0]
    assert [(word.text, word.start_s, word.stamped) for word in first.words] == [
        ("have", 0.5, True),
        ("you", 0.76, True),
        ("ever", 1.28, True),
    ]
    assert [word.end_s for word in first.words] == pytest.approx([0.76, 1.19, 1.77])


def test_a_repeated_line_above_a_timed_one_carries_no_times() -> None:
    third = parse_webvtt(YOUTUBE, "x.vtt").cues[2]
    assert [word.stamped for word in third.words] == [False, False, False, True, True]
    assert [word.starts_line for word in third.words] == [True, False, False, True, False]
    assert third.words[3].start_s == 2.12


def test_blocks_that_are_no_cues_are_passed_over() -> None:
    text = (
        "WEBVTT - a title\nX-Header: 1\n\nSTYLE\n::cue(v) { color: red }\n\nREGION\nid:a\n\n"
        "NOTE a comment\nof two lines\n\nan-id\n00:01.000 --> 00:02.000 line:80%\nHello\n\nNOTE\n\n"
        "12\n1:00:03.000 --> 1:00:04.000\nthere\n"
    )
    cues = parse_webvtt(text, "x.vtt").cues
    assert [(cue.start_s, cue.end_s, cue.text) for cue in cues] == [(1.0, 2.0, "Hello"), (3603.0, 3604.0, "there")]


def test_tags_and_entities() -> None:
    assert texts(
        "WEBVTT\n\n00:01.000 --> 00:02.000\n<v.loud Ann>Fish &amp; <i>chips</i>,</v> <c.yellow.bg_blue>a&nbsp;b</c>"
        " 1 &lt; 2 <3 <ruby>base<rt>reading</rt></ruby> wh<b>at</b>&lrm;\n"
    ) == ["Fish & chips, a b 1 < 2 <3 base what"]


def test_what_nobody_says_is_left_out() -> None:
    assert texts("WEBVTT\n\n00:01.000 --> 00:02.000\n[Music] &gt;&gt; yes ♪ la ♪ [ __ ] no [open\n") == [
        "yes la no [open"
    ]


def test_a_cue_without_a_blank_line_before_it_begins_anyway() -> None:
    assert texts("WEBVTT\n00:01.000 --> 00:02.000\na\n00:02.000 --> 00:03.000\nb") == ["a", "b"]


def test_text_cut_off_by_a_stripped_space_line_is_kept() -> None:
    assert texts("WEBVTT\n\n00:01.000 --> 00:02.000\n\nlost words\n\n00:02.000 --> 00:03.000\nb\n\nstray\n") == [
        "lost words",
        "b",
    ]


def test_an_empty_cue_takes_neither_a_note_nor_the_next_identifier() -> None:
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\n\nNOTE no\n\nid\n00:02.000 --> 00:03.000\nb\n"
    assert texts(text) == ["", "b"]


def test_cues_are_sorted_by_time() -> None:
    assert texts("WEBVTT\n\n00:05.000 --> 00:06.000\nb\n\n00:01.000 --> 00:02.000\na\n") == ["a", "b"]


def test_an_unreadable_cue_is_left_out_and_named() -> None:
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\na\n\n00:99.000 --> 00:03.000\nb\n\n00:03.000 --> 00:03.000\nc\n"
    transcript = parse_webvtt(text, "x.vtt")
    assert [cue.text for cue in transcript.cues] == ["a"]
    assert [problem.split(":")[:2] for problem in transcript.problems] == [["x.vtt", "6"], ["x.vtt", "9"]]
    assert "00:99.000" in transcript.problems[0]


def test_a_file_without_one_readable_cue_is_refused() -> None:
    with pytest.raises(BadTranscript, match=r"x\.vtt:3: got 'soon --> later', expected .*none of its 1 cues"):
        parse_webvtt("WEBVTT\n\nsoon --> later\na\n", "x.vtt")


def test_a_file_without_cues_is_a_transcript() -> None:
    assert parse_webvtt("WEBVTT\n", "x.vtt").cues == ()


def test_the_signature_is_required() -> None:
    assert not is_webvtt("WEBVTTX\n")
    with pytest.raises(BadTranscript, match=r"x\.vtt:1: got 'hello', expected 'WEBVTT'"):
        parse_webvtt("hello\nworld\n", "x.vtt")
