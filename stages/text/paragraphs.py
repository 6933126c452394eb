"""Narrations -> paragraphs: runs without a long silence, not too long."""

from collections.abc import Sequence

from stages.text.records import Narration, Paragraph


def group_paragraphs(narrations: Sequence[Narration], *, max_gap_s: float, max_sentences: int) -> list[Paragraph]:
    """Group consecutive narrations; each is in exactly one paragraph, order is kept.

    Args:
        narrations: in order of start_s.
        max_gap_s: a longer silence, measured from the latest end so far, begins a new paragraph.
        max_sentences: a paragraph has at most so many.

    Raises:
        ValueError: max_sentences is less than 1.
    """
    if max_sentences < 1:
        raise ValueError(f"max_sentences is {max_sentences}, expected at least 1")
    paragraphs: list[Paragraph] = []
    for index, narration in enumerate(narrations):
        last = paragraphs[-1] if paragraphs else None
        if last and len(last.narrations) < max_sentences and narration.start_s - last.end_s <= max_gap_s:
            members = (*last.narrations, narration)
            paragraphs[-1] = Paragraph(first_narration=last.first_narration, narrations=members)
        else:
            paragraphs.append(Paragraph(first_narration=index, narrations=(narration,)))
    return paragraphs
