"""Whatever the scores: moments do not overlap, hold the best hit, and answers do not depend on how many are asked."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.retrieval.moments import find_moments, half_height


@st.composite
def videos(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[int]]:
    scores = np.array(draw(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=24)), np.float32)
    stride_s, window_s = draw(st.sampled_from([(4.0, 8.0), (16.0, 16.0), (0.1, 0.3), (2.0, 1.0)]))
    starts = np.arange(len(scores)) * stride_s
    hits = draw(st.sets(st.integers(0, len(scores) - 1), min_size=1))
    return scores, np.stack([starts, starts + window_s], axis=1), sorted(hits)


def floor(scores: np.ndarray, hit: int) -> float:
    return half_height(scores, float(scores[hit]))


@settings(deadline=None)
@given(videos())
def test_moments_are_disjoint_ordered_and_cover_every_hit(video: tuple[np.ndarray, np.ndarray, list[int]]) -> None:
    scores, spans, hits = video
    moments = find_moments(scores, spans, hits)
    ordered = sorted(moments, key=lambda moment: moment.start_s)
    assert all(a.end_s <= b.start_s + 1e-6 for a, b in pairwise(ordered))
    for moment in moments:
        part = scores[moment.first : moment.last + 1]
        assert moment.score == part.max()
        assert (moment.start_s, moment.end_s) == (spans[moment.first, 0], spans[moment.last, 1])
        inside = [hit for hit in hits if moment.first <= hit <= moment.last]
        # A hit may lie below its video's median, and then below its own floor; its neighbours never do.
        assert any(np.delete(part, hit - moment.first).min(initial=9) >= floor(scores, hit) for hit in inside)
    for hit in hits:
        assert any(spans[hit, 0] < moment.end_s and moment.start_s < spans[hit, 1] for moment in moments)
    assert max(moment.score for moment in moments) >= scores[hits].max()


@settings(deadline=None)
@given(videos())
def test_the_best_moment_does_not_depend_on_the_other_hits(
    video: tuple[np.ndarray, np.ndarray, list[int]],
) -> None:
    scores, spans, hits = video
    best = max(hits, key=lambda hit: (scores[hit], -hit))
    assert find_moments(scores, spans, hits)[0] == find_moments(scores, spans, [best])[0]
