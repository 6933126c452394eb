"""A transcript's times against the video's own: what lies outside of the video is cut off and counted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from stages.text.records import Narration


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Narrations inside a video.

    Attributes:
        narrations: each within [0, duration_s), in order.
        sources: the same ones with the transcript's own times.
        num_clamped: how many ended after the video and were shortened.
        num_outside: how many began after it and were left out.
    """

    narrations: tuple[Narration, ...]
    sources: tuple[Narration, ...]
    num_clamped: int
    num_outside: int


def fit_to_video(narrations: Sequence[Narration], duration_s: float) -> Fitted:
    """Keep what lies within a video.

    Args:
        narrations: in order of start_s, none before 0.
        duration_s: of the video.
    """
    sources = tuple(narration for narration in narrations if narration.start_s < duration_s)
    return Fitted(
        narrations=tuple(replace(source, end_s=min(source.end_s, duration_s)) for source in sources),
        sources=sources,
        num_clamped=sum(source.end_s > duration_s for source in sources),
        num_outside=len(narrations) - len(sources),
    )


def coverage_s(narrations: Iterable[Narration]) -> float:
    """Seconds in which at least one narration is said.

    Args:
        narrations: in order of start_s.
    """
    total, until = 0.0, 0.0
    for narration in narrations:
        total += max(0.0, narration.end_s - max(narration.start_s, until))
        until = max(until, narration.end_s)
    return total
