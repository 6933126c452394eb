"""The clip sampler's promises, over many drawn videos (papers.md, section 11, point 3)."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.training.layout import epoch_order
from stages.training.sampling import (
    Captions,
    OverlapSampling,
    draw_centre,
    grow_text,
    grow_window,
    intact_run,
    rows_of_span,
    sample_generator,
    sample_pair,
    usable_captions,
)

PUBLISHED = OverlapSampling()


@st.composite
def videos(draw):
    """A video of 1..80 rows of any length, some damaged, with captions in time order, some past its end."""
    num_rows = draw(st.integers(1, 80))
    row_s = draw(st.sampled_from([0.4, 1.0, 1.5, 2.0]))
    starts = np.arange(num_rows) * row_s
    spans = np.stack([starts, starts + row_s], axis=1)
    damaged = np.array(draw(st.lists(st.booleans(), min_size=num_rows, max_size=num_rows)))
    damaged &= draw(st.booleans())
    gaps = draw(st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 9), st.integers(1, 32)), min_size=1, max_size=20))
    start_s, end_s, tokens, clock = [], [], [], 0.0
    for gap_s, duration_s, num_tokens in gaps:
        start_s.append(clock + gap_s)
        end_s.append(clock + gap_s + duration_s)
        tokens.append(np.arange(num_tokens, dtype=np.int64) + 1000 * len(tokens))
        clock += gap_s + 0.7 * duration_s
    captions = Captions(
        start_s=np.array(start_s), end_s=np.array(end_s), tokens=np.concatenate(tokens).astype(np.int32),
        bounds=np.cumsum([0, *map(len, tokens)]), narrations=np.arange(len(tokens), dtype=np.int32),
    )  # fmt: skip
    return captions, spans, damaged


@settings(max_examples=150, deadline=None)
@given(video=videos(), seed=st.integers(0, 2**31))
def test_a_pair_keeps_every_promise(video, seed):
    captions, spans, damaged = video
    usable = usable_captions(captions, spans, damaged)
    if not len(usable):
        assert damaged[min(rows_of_span(spans, captions.start_s[0], captions.end_s[0])[0], len(spans) - 1)]
        return
    for draw in range(4):
        pair = sample_pair(captions, usable, spans, damaged, PUBLISHED, sample_generator(seed, 0, "v", draw))
        assert 1 <= len(pair.tokens) <= 61
        grown = captions.between(pair.first_caption, pair.last_caption)
        np.testing.assert_array_equal(pair.tokens, grown[:61])
        assert not damaged[pair.start_row : pair.end_row].any()
        run = intact_run(pair.start_row, damaged)
        assert run[0] <= pair.start_row < pair.end_row <= run[1]
        assert min(3, run[1] - run[0]) <= pair.end_row - pair.start_row <= 32


@settings(max_examples=100, deadline=None)
@given(video=videos(), seed=st.integers(0, 2**31))
def test_the_window_touches_the_text_when_nothing_is_damaged(video, seed):
    captions, spans, _ = video
    damaged = np.zeros(len(spans), dtype=bool)
    usable = usable_captions(captions, spans, damaged)
    assert len(usable) == len(captions)
    pair = sample_pair(captions, usable, spans, damaged, PUBLISHED, sample_generator(seed, 1, "v", 0))
    low, high = rows_of_span(spans, captions.start_s[pair.first_caption], captions.end_s[pair.last_caption])
    assert pair.start_row <= min(high, len(spans) - 1)
    assert pair.end_row >= min(low, len(spans) - 1)


@settings(max_examples=100, deadline=None)
@given(video=videos(), seed=st.integers(0, 2**31))
def test_text_growth_stops_at_the_first_of_its_reasons(video, seed):
    captions, _, _ = video
    generator = sample_generator(seed, 0, "v", 0)
    centre = int(generator.integers(len(captions)))
    limits = OverlapSampling(min_text_tokens=20, max_text_tokens=20, max_text_span_s=25.0)
    first, last = grow_text(captions, centre, limits, generator)
    assert 0 <= first <= centre <= last < len(captions)
    lengths = [len(captions.between(place, place)) for place in range(first, last + 1)]
    all_taken = (first, last) == (0, len(captions) - 1)
    assert sum(lengths) >= 20 or captions.end_s[last] - captions.start_s[first] >= 25.0 or all_taken
    if first < last:
        assert sum(lengths) - max(lengths[0], lengths[-1]) < 20


def test_a_second_a_row_gives_floor_and_ceil():
    spans = np.stack([np.arange(30.0), np.arange(30.0) + 1], axis=1)
    for start_s, end_s in [(0.0, 0.5), (2.0, 5.0), (2.3, 5.1), (29.5, 30.0), (28.2, 37.4), (33.0, 35.5)]:
        low, high = rows_of_span(spans, start_s, end_s)
        assert low == min(int(np.floor(start_s)), 29)
        assert high == int(np.ceil(end_s))


def test_the_centre_is_uniform_over_both_ends_and_clamped():
    generator = np.random.default_rng(0)
    damaged = np.zeros(8, dtype=bool)
    drawn = [draw_centre(5, 9, damaged, generator) for _ in range(5000)]
    shares = np.bincount(drawn, minlength=8) / len(drawn)
    np.testing.assert_allclose(shares, [0, 0, 0, 0, 0, 0.2, 0.2, 0.6], atol=0.03)


def test_a_damaged_centre_moves_to_the_nearest_intact_row():
    damaged = np.array([False, True, True, True, False, True])
    generator = np.random.default_rng(0)
    assert draw_centre(1, 1, damaged, generator) == 0
    assert draw_centre(2, 2, damaged, generator) == 0
    assert draw_centre(3, 3, damaged, generator) == 4
    assert draw_centre(9, 9, damaged, generator) == 4


def walk(centre: int, num_rows: int, length: int, generator: np.random.Generator) -> tuple[int, int]:
    """The published sequential rule: one row at a time, a fair coin, forced away from a wall."""
    start = end = centre
    for _ in range(length):
        if start == 0 and end == num_rows:
            break
        if start == 0:
            end += 1
        elif end == num_rows or generator.random() < 0.5:
            start -= 1
        else:
            end += 1
    return start, end


def test_the_closed_form_has_the_distribution_of_the_walk():
    draws = 20000
    for num_rows, length, centre in [(40, 9, 20), (40, 20, 3), (40, 20, 38), (12, 10, 5), (7, 32, 2), (16, 15, 0)]:
        generator = np.random.default_rng(length)
        counts = np.zeros((2, num_rows + 1))
        for _ in range(draws):
            fast, slow = grow_window(centre, num_rows, length, generator), walk(centre, num_rows, length, generator)
            assert fast[1] - fast[0] == slow[1] - slow[0] == min(length, num_rows)
            counts[0, fast[0]] += 1
            counts[1, slow[0]] += 1
        seen = counts.sum(0) > 20
        difference = counts[0, seen] - counts[1, seen]
        chi_square = float((difference**2 / counts[:, seen].sum(0)).sum())
        freedom = max(1, int(seen.sum()) - 1)
        assert chi_square < freedom + 4 * np.sqrt(2 * freedom) + 4, (num_rows, length, centre, chi_square)


@given(videos(), st.integers(0, 2**20))
@settings(max_examples=200, deadline=None)
def test_an_exact_window_lies_in_the_span_of_its_text(video, seed):
    captions, spans, damaged = video
    usable = usable_captions(captions, spans, damaged)
    if not len(usable):
        return
    exact = PUBLISHED.model_copy(update={"alignment": "exact"})
    pair = sample_pair(captions, usable, spans, damaged, exact, np.random.default_rng(seed))
    assert 1 <= pair.end_row - pair.start_row <= exact.max_rows
    assert not damaged[pair.start_row : pair.end_row].any()
    end_s = captions.end_s[pair.first_caption : pair.last_caption + 1].max()
    low, high = rows_of_span(spans, captions.start_s[pair.first_caption], end_s)
    last = len(spans) - 1
    assert min(low, last) <= pair.start_row
    assert pair.end_row <= max(min(high, last + 1), pair.start_row + 1)
    if not damaged.any() and low < last + 1:
        assert (pair.start_row, pair.end_row) == (low, max(low + 1, min(high, last + 1, low + exact.max_rows)))


def test_of_captions_within_each_other_the_window_is_that_of_the_longest():
    captions = Captions(
        start_s=np.array([0.0, 5.0]),
        end_s=np.array([30.0, 8.0]),
        tokens=np.arange(20, dtype=np.int32),
        bounds=np.array([0, 5, 20]),
        narrations=np.arange(2, dtype=np.int32),
    )
    spans = np.stack([np.arange(40.0), np.arange(40.0) + 1], axis=1)
    damaged = np.arange(40) < 12
    exact = PUBLISHED.model_copy(update={"alignment": "exact", "min_text_tokens": 20})
    usable = usable_captions(captions, spans, damaged)
    assert usable.tolist() == [0]
    pair = sample_pair(captions, usable, spans, damaged, exact, np.random.default_rng(0))
    assert (pair.first_caption, pair.last_caption, pair.start_row, pair.end_row) == (0, 1, 12, 30)


def test_a_draw_depends_on_its_names_only():
    assert sample_generator(3, 1, "a", 0).random() == sample_generator(3, 1, "a", 0).random()
    others = [(4, 1, "a", 0), (3, 2, "a", 0), (3, 1, "b", 0), (3, 1, "a", 1)]
    assert len({sample_generator(*names).random() for names in [(3, 1, "a", 0), *others]}) == 5


def test_the_order_of_an_epoch_ignores_the_order_given():
    ids = [f"v{i}" for i in range(50)]
    assert epoch_order(ids, seed=1, epoch=2) == epoch_order(ids[::-1], seed=1, epoch=2)
    assert epoch_order(ids, seed=1, epoch=2) != epoch_order(ids, seed=1, epoch=3)
    assert sorted(epoch_order(ids, seed=1, epoch=2)) == sorted(ids)
