"""Overlapped sampling: which words and which feature rows make one training pair.

Source: VideoCLIP, arXiv:2109.14084, section 3.3, and the released sampler as `papers.md` 2.5 and A.2 state it. A sample
depends on (run seed, batch, video id, draw) and on nothing else, so neither the order of the data nor the number of
workers changes it. Knows numpy and no torch.

Departures: rows carry spans, so that a row may last any time (the published case is one row a second, and then the
numbers are the same); a damaged row is a wall of the walk, so that it never enters a window.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stages.contract import StageConfig


class OverlapSampling(StageConfig):
    """The numbers of overlapped sampling; the defaults are the published ones.

    Attributes:
        alignment: `overlap` grows the window from a point inside the text's span; `exact` takes the rows of that span,
            the first `max_rows` of them, as fine-tuning and the vectors of retrieval do.
        draws_per_video: pairs drawn from a video for one batch, with replacement.
        min_text_tokens: least of the uniform text length that growth aims at.
        max_text_tokens: greatest of it, inclusive.
        max_text_span_s: text does not grow once it spans this many seconds.
        kept_text_tokens: tokens kept of a grown text, the first ones.
        max_caption_chars: characters kept of one narration before it is tokenised.
        max_caption_tokens: tokens kept of one narration.
        min_rows: least of the uniform window length, in feature rows.
        max_rows: greatest of it, inclusive.
    """

    alignment: Literal["overlap", "exact"] = "overlap"
    draws_per_video: int = Field(default=16, ge=1)
    min_text_tokens: int = Field(default=8, ge=1)
    max_text_tokens: int = Field(default=64, ge=1)
    max_text_span_s: float = Field(default=256.0, gt=0)
    kept_text_tokens: int = Field(default=61, ge=1)
    max_caption_chars: int = Field(default=96, ge=1)
    max_caption_tokens: int = Field(default=32, ge=1)
    min_rows: int = Field(default=3, ge=1)
    max_rows: int = Field(default=32, ge=1)

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> "OverlapSampling":
        """Refuse a least that is above its greatest."""
        if self.min_text_tokens > self.max_text_tokens:
            raise ValueError(f"min_text_tokens {self.min_text_tokens} is above max_text_tokens {self.max_text_tokens}")
        if self.min_rows > self.max_rows:
            raise ValueError(f"min_rows {self.min_rows} is above max_rows {self.max_rows}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Captions:
    """The tokenised narrations of one video, in the order of time.

    Attributes:
        start_s: (C,) float64 seconds.
        end_s: (C,) float64 seconds, half-open.
        tokens: int32 ids of all captions, end to end, without special tokens.
        bounds: (C + 1,) int64, where each caption's tokens begin and end.
        narrations: (C,) int32, which of the video's narrations each is; one without tokens is left out.
    """

    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    tokens: NDArray[np.int32]
    bounds: NDArray[np.int64]
    narrations: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.start_s)

    def between(self, first: int, last: int) -> NDArray[np.int32]:
        """The tokens of the captions first..last, both inclusive."""
        return self.tokens[self.bounds[first] : self.bounds[last + 1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSample:
    """One text and one window that overlaps it.

    Attributes:
        first_caption: index of the text's first caption.
        last_caption: index of its last caption, inclusive.
        start_row: first feature row of the window.
        end_row: one past its last row.
        tokens: (L,) int32 ids of the text without special tokens.
    """

    first_caption: int
    last_caption: int
    start_row: int
    end_row: int
    tokens: NDArray[np.int32]


def sample_generator(seed: int, number: int, name: str, draw: int) -> np.random.Generator:
    """Return the source of randomness of one draw: a pure function of its four arguments.

    Args:
        seed: the run's.
        number: of the batch, epoch or step.
        name: of the video; anything else that draws has a name that no video can have.
        draw: which of several.
    """
    digest = blake2b(f"{seed}\n{number}\n{name}\n{draw}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def grow_text(
    captions: Captions, centre: int, settings: OverlapSampling, generator: np.random.Generator
) -> tuple[int, int]:
    """Grow a caption over its neighbours until a random number of tokens is reached.

    Args:
        captions: the narrations of one video.
        centre: index of the caption to begin with.
        settings: the numbers of the sampler.
        generator: source of the length and of the directions.

    Returns:
        Index of the first and of the last caption, both inclusive.
    """
    wanted = int(generator.integers(settings.min_text_tokens, settings.max_text_tokens, endpoint=True))
    first = last = centre
    num_tokens = len(captions.between(centre, centre))
    span_s = float(captions.end_s[last] - captions.start_s[first])
    while num_tokens < wanted and span_s < settings.max_text_span_s:
        can_left, can_right = first > 0, last + 1 < len(captions)
        if not (can_left or can_right):
            break
        if can_right and (generator.random() < 0.5 or not can_left):
            last += 1
            num_tokens += len(captions.between(last, last))
        elif can_left:
            first -= 1
            num_tokens += len(captions.between(first, first))
        span_s = float(captions.end_s[last] - captions.start_s[first])
    return first, last


def rows_of_span(spans: NDArray[np.float64], start_s: float, end_s: float) -> tuple[int, int]:
    """Return floor(start) and ceil(end) of a time span, in rows.

    Args:
        spans: (T, 2) float64 seconds, ordered by start.
        start_s: start of the text.
        end_s: end of the text; past the last row it is extrapolated with the last row's step.

    Returns:
        The row that holds the start, and the first row that starts at the end or after it. With one row a second these
        are floor(start_s) and ceil(end_s). The second may be T or more.
    """
    starts = spans[:, 0]
    low = max(0, int(np.searchsorted(starts, start_s, side="right")) - 1)
    high = int(np.searchsorted(starts, end_s, side="left"))
    step_s = starts[-1] - starts[-2] if len(starts) > 1 else spans[-1, 1] - spans[-1, 0]
    beyond_s = end_s - (starts[-1] + step_s)
    return low, high + max(0, int(np.ceil(beyond_s / step_s)))


def usable_captions(captions: Captions, spans: NDArray[np.float64], damaged: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the indices of the captions that touch an intact row, by the clamp of the sampler.

    Args:
        captions: C narrations.
        spans: (T, 2) float64 seconds of the rows.
        damaged: (T,) bool, True where a row must not be used.

    Returns:
        Ascending int64 indices; empty when T is 0 or every row is damaged.
    """
    last_row = len(spans) - 1
    if last_row < 0:
        return np.empty(0, dtype=np.int64)
    usable = []
    for index, (start_s, end_s) in enumerate(zip(captions.start_s, captions.end_s, strict=True)):
        low, high = rows_of_span(spans, float(start_s), float(end_s))
        if not damaged[min(low, last_row) : min(high, last_row) + 1].all():
            usable.append(index)
    return np.asarray(usable, dtype=np.int64)


def draw_centre(low: int, high: int, damaged: NDArray[np.bool_], generator: np.random.Generator) -> int:
    """Draw the row that a window grows from: uniform in [low, high], clamped, then the nearest intact row.

    Args:
        low: row of the text's start.
        high: row of the text's end, drawn too.
        damaged: (T,) bool with at least one False.
        generator: source of the draw.

    Returns:
        A row in [0, T - 1] that is not damaged; of two equally near ones the earlier.
    """
    drawn = (low + high) // 2 if low >= high else int(generator.integers(low, high, endpoint=True))
    centre = min(max(drawn, 0), len(damaged) - 1)
    intact = np.flatnonzero(~damaged)
    return int(intact[np.argmin(np.abs(intact - centre))])


def intact_run(centre: int, damaged: NDArray[np.bool_]) -> tuple[int, int]:
    """Return [start, end) of the run of intact rows that holds the intact row `centre`: the walls of the walk."""
    before = np.flatnonzero(damaged[:centre])
    after = np.flatnonzero(damaged[centre:])
    start = int(before[-1]) + 1 if len(before) else 0
    end = centre + int(after[0]) if len(after) else len(damaged)
    return start, end


def grow_window(centre: int, num_rows: int, length: int, generator: np.random.Generator) -> tuple[int, int]:
    """Grow a window from [centre, centre) by a symmetric walk between the walls 0 and `num_rows`.

    The closed form of `papers.md` A.2, equal in distribution to growing row by row with a fair coin, forced away from
    a wall that is reached.

    Args:
        centre: where the walk begins, in [0, num_rows].
        num_rows: the right wall.
        length: rows wanted.
        generator: source of the one binomial draw.

    Returns:
        [start, end) with end - start = min(length, num_rows), holding or touching the centre.
    """
    size = min(length, num_rows)
    left = int(generator.binomial(size, 0.5))
    start = max(0, centre - left)
    end = min(num_rows, start + size)
    return max(0, end - size), end


def overlapping_rows(
    low: int, high: int, damaged: NDArray[np.bool_], settings: OverlapSampling, generator: np.random.Generator
) -> tuple[int, int]:
    """Grow a window of a drawn length from a drawn row of a text; arguments as for `draw_centre`.

    Returns:
        [start, end) of intact rows.
    """
    centre = draw_centre(low, high, damaged, generator)
    run_start, run_end = intact_run(centre, damaged)
    length = int(generator.integers(settings.min_rows, settings.max_rows, endpoint=True))
    start, end = grow_window(centre - run_start, run_end - run_start, length, generator)
    return run_start + start, run_start + end


def aligned_rows(low: int, high: int, damaged: NDArray[np.bool_], settings: OverlapSampling) -> tuple[int, int]:
    """Take the rows of a text that touches an intact row: from the first of these to the text's end or a damaged row.

    Args:
        low: row of the text's start.
        high: first row behind it; low and high may lie behind the last row, which then stands for them.
        damaged: (T,) bool.
        settings: `max_rows` are taken at most.

    Returns:
        [start, end) of intact rows, at least one.
    """
    last = len(damaged) - 1
    first = min(low, last)
    start = first + int(np.flatnonzero(~damaged[first : min(high, last) + 1])[0])
    end = min(intact_run(start, damaged)[1], max(high, start + 1), start + settings.max_rows)
    return start, end


def sample_pair(
    captions: Captions,
    usable: NDArray[np.int64],
    spans: NDArray[np.float64],
    damaged: NDArray[np.bool_],
    settings: OverlapSampling,
    generator: np.random.Generator,
) -> PairSample:
    """Draw one pair from a video.

    Args:
        captions: the video's narrations.
        usable: what `usable_captions` returned for it; not empty.
        spans: (T, 2) float64 seconds of the feature rows.
        damaged: (T,) bool, True where a row must not be used.
        settings: the numbers of the sampler.
        generator: from `sample_generator`.

    Returns:
        The pair; no row of it is damaged. Overlapping, it has min(drawn length, length of the intact run) rows.
    """
    centre_caption = int(usable[generator.integers(len(usable))])
    first, last = grow_text(captions, centre_caption, settings, generator)
    tokens = captions.between(first, last)[: settings.kept_text_tokens]
    # Of captions within each other, the last to begin need not be the last to end.
    end_s = float(captions.end_s[first : last + 1].max())
    low, high = rows_of_span(spans, float(captions.start_s[first]), end_s)
    if settings.alignment == "exact":
        start, end = aligned_rows(low, high, damaged, settings)
    else:
        start, end = overlapping_rows(low, high, damaged, settings, generator)
    return PairSample(first_caption=first, last_caption=last, start_row=start, end_row=end, tokens=tokens)
