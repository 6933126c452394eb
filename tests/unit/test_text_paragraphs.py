import pytest

from stages.text.paragraphs import group_paragraphs
from stages.text.records import Narration


def narrations(*spans: tuple[float, float]) -> list[Narration]:
    return [Narration(start_s=start, end_s=end, text=f"n{index}") for index, (start, end) in enumerate(spans)]


def test_a_silence_begins_a_paragraph() -> None:
    found = group_paragraphs(narrations((0, 1), (2, 3), (14, 15)), max_gap_s=10, max_sentences=9)
    assert [(p.first_narration, len(p.narrations), p.start_s, p.end_s) for p in found] == [(0, 2, 0, 3), (2, 1, 14, 15)]


def test_silence_is_measured_from_the_latest_end() -> None:
    assert len(group_paragraphs(narrations((0, 20), (1, 2), (25, 26)), max_gap_s=10, max_sentences=9)) == 1


def test_a_paragraph_has_at_most_so_many_sentences() -> None:
    found = group_paragraphs(narrations((0, 1), (1, 2), (2, 3)), max_gap_s=10, max_sentences=2)
    assert [len(paragraph.narrations) for paragraph in found] == [2, 1]


def test_no_narrations() -> None:
    assert group_paragraphs([], max_gap_s=1, max_sentences=1) == []


def test_a_paragraph_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="max_sentences is 0"):
        group_paragraphs([], max_gap_s=1, max_sentences=0)
