"""What holds for every transcript, however odd."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stages.errors import BadTranscript
from stages.text.dedup import drop_rolling_repeats
from stages.text.markup import payload_words
from stages.text.paragraphs import group_paragraphs
from stages.text.readers import parse_transcript
from stages.text.records import Cue, Narration
from stages.text.sentences import SentenceSettings, narrate

WORDS = st.sampled_from(["a", "b", "c", "to", "be,", "stop.", "Why?"])
LINES = st.lists(WORDS, min_size=0, max_size=4).map(" ".join)
PAYLOADS = st.lists(LINES, min_size=1, max_size=3).map("\n".join)


@st.composite
def cue_lists(draw: st.DrawFn) -> list[Cue]:
    """Cues of few words, so that they overlap and repeat often; some words carry times."""
    cues, at = [], 0.0
    for payload in draw(st.lists(PAYLOADS, max_size=9)):
        start_s = at + draw(st.sampled_from([0.0, 0.0, 0.0, 0.25, 2.0, -0.5]))
        end_s = max(start_s, 0.0) + draw(st.sampled_from([0.01, 1.0, 3.0]))
        words = payload_words(payload, max(start_s, 0.0), end_s)
        if draw(st.booleans()) and len(words) > 1:
            stamped = payload.replace(" ", f" <00:00:{int(start_s) % 60:02d}.500>", 1)
            words = payload_words(stamped, max(start_s, 0.0), end_s)
        cues.append(Cue(start_s=max(start_s, 0.0), end_s=end_s, words=words))
        at = end_s
    return cues


@st.composite
def rolling_transcripts(draw: st.DrawFn) -> tuple[list[str], list[Cue]]:
    """Lines shown two at a time, as YouTube does without word times; each line is new."""
    numbers = draw(st.lists(st.integers(2, 5), min_size=2, max_size=8))
    lines = [" ".join(f"w{index}x{word}" for word in range(count)) for index, count in enumerate(numbers)]
    shown = zip(["", *lines], [*lines, ""], strict=True)
    cues = [
        Cue(
            start_s=2.0 * index,
            end_s=2.0 * index + 2,
            words=payload_words(f"{above}\n{below}", 2.0 * index, 2.0 * index + 2),
        )
        for index, (above, below) in enumerate(shown)
    ]
    return lines, cues


@given(cue_lists())
def test_dropping_repeats_twice_changes_nothing(cues: list[Cue]) -> None:
    once = drop_rolling_repeats(cues)
    assert drop_rolling_repeats(once) == once


@given(cue_lists())
def test_dropping_repeats_invents_nothing(cues: list[Cue]) -> None:
    kept = drop_rolling_repeats(cues)
    assert {word.text for cue in kept for word in cue.words} == {word.text for cue in cues for word in cue.words}
    assert sum(len(cue.words) for cue in kept) <= sum(len(cue.words) for cue in cues)
    assert all(before.start_s <= after.start_s for before, after in pairwise(kept))
    assert all(word.start_s <= word.end_s for cue in kept for word in cue.words)


@given(rolling_transcripts())
def test_a_rolling_transcript_says_every_line_once(case: tuple[list[str], list[Cue]]) -> None:
    lines, cues = case
    (found,) = drop_rolling_repeats(cues)
    assert found.text == " ".join(lines)
    assert all(before.start_s <= after.start_s for before, after in pairwise(found.words))


@given(cue_lists(), st.integers(2, 6), st.sampled_from([0.1, 0.7, 5.0]))
def test_narrations_hold_every_word_once_and_in_bounds(cues: list[Cue], max_words: int, max_pause_s: float) -> None:
    found = narrate(cues, SentenceSettings(max_words=max_words, max_pause_s=max_pause_s))
    texts = [narration.text.split() for narration in found.narrations]
    assert sorted(word for text in texts for word in text) == sorted(
        word.text for cue in drop_rolling_repeats(cues) for word in cue.words
    )
    assert all(1 <= len(text) <= max_words for text in texts)
    assert all(0 <= narration.start_s < narration.end_s for narration in found.narrations)
    assert all(before.start_s <= after.start_s for before, after in pairwise(found.narrations))
    assert found.num_words + found.num_repeats == sum(len(cue.words) for cue in cues)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 20)), max_size=12),
    st.floats(0, 30),
    st.integers(1, 5),
)
def test_paragraphs_hold_every_narration_once_in_order(
    spans: list[tuple[float, float]], max_gap_s: float, max_sentences: int
) -> None:
    narrations = [Narration(start_s=start, end_s=start + length, text="n") for start, length in sorted(spans)]
    paragraphs = group_paragraphs(narrations, max_gap_s=max_gap_s, max_sentences=max_sentences)
    assert [narration for paragraph in paragraphs for narration in paragraph.narrations] == narrations
    assert all(narrations[paragraph.first_narration] is paragraph.narrations[0] for paragraph in paragraphs)
    assert all(1 <= len(paragraph.narrations) <= max_sentences for paragraph in paragraphs)


@given(
    st.binary(max_size=200)
    | st.text(alphabet="01:.,-> \n<c>/[]&;ab", max_size=200).map(lambda text: f"WEBVTT\n\n{text}".encode())
    | st.text(alphabet="01:.,-> \n<c>/[]&;ab", max_size=200).map(str.encode),
    st.sampled_from(["x.vtt", "x.srt"]),
)
def test_any_bytes_are_a_transcript_or_a_clear_refusal(content: bytes, name: str) -> None:
    cues: tuple[Cue, ...] = ()
    message = name
    try:
        cues = parse_transcript(content, name).cues
    except BadTranscript as error:
        message = str(error)
    assert message.startswith(name)
    found = narrate(cues, SentenceSettings())
    assert all(narration.start_s < narration.end_s for narration in found.narrations)
