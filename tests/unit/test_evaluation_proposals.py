"""Proposals, their targets, recall and precision: closed forms, loops over definitions, and chance by simulation."""

import numpy as np
import pytest

from stages.evaluation.detections import average_precisions
from stages.evaluation.proposal_targets import proposal_targets
from stages.evaluation.proposals import (
    TIOUS,
    Proposals,
    SoftNms,
    area_under,
    boundary_peaks,
    candidate_pairs,
    chance_curve,
    covering_ranks,
    overlaps_of,
    recall_curve,
    soft_nms,
)


def spans(*pairs: tuple[float, float]) -> np.ndarray:
    return np.array(pairs, dtype=np.float64).reshape(-1, 2)


def overlap(a: tuple[float, float], b: tuple[float, float]) -> float:
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return shared / ((a[1] - a[0]) + (b[1] - b[0]) - shared)


def random_spans(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.sort(rng.uniform(0, 100, (count, 2)), axis=1)


def test_overlaps_are_intersection_over_union() -> None:
    rng = np.random.default_rng(0)
    first, second = random_spans(rng, 7), random_spans(rng, 5)
    got = overlaps_of(first, second)
    for i, a in enumerate(first.tolist()):
        for j, b in enumerate(second.tolist()):
            assert got[i, j] == pytest.approx(overlap(tuple(a), tuple(b)))
    assert overlaps_of(spans((0, 1)), spans()).shape == (1, 0)


def test_targets_of_one_action() -> None:
    targets = proposal_targets(spans((0.2, 0.6)), 10)
    # The region of the start is [0.05, 0.35], that of the end [0.45, 0.75].
    np.testing.assert_allclose(targets.starts, [0.5, 1, 1, 0.5, 0, 0, 0, 0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(targets.ends, [0, 0, 0, 0, 0.5, 1, 1, 0.5, 0, 0], atol=1e-9)
    assert targets.overlaps[3, 2] == pytest.approx(1.0)  # four steps from the third
    assert targets.overlaps[4, 2] == pytest.approx(0.8)
    for length in range(10):
        for start in range(10):
            expected = overlap((start / 10, (start + length + 1) / 10), (0.2, 0.6)) if start + length < 10 else 0.0
            assert targets.overlaps[length, start] == pytest.approx(expected)


def test_targets_of_several_actions_are_the_best_and_of_none_nothing() -> None:
    one, other, both = (proposal_targets(spans(*s), 8) for s in ([(0, 0.3)], [(0.5, 1)], [(0, 0.3), (0.5, 1)]))
    for part in range(3):
        np.testing.assert_allclose(both[part], np.maximum(one[part], other[part]))
    assert not any(part.any() for part in proposal_targets(spans(), 8))


def test_peaks_are_local_maxima_and_what_is_above_half() -> None:
    assert boundary_peaks(np.array([0.1, 0.3, 0.1, 0.9, 0.5, 0.45, 0.1, 0.2])).tolist() == [1, 3, 4, 7]


def test_candidates_of_perfect_maps_are_led_by_the_action() -> None:
    targets = proposal_targets(spans((0.2, 0.6)), 20)
    found, scores = candidate_pairs(*targets)
    assert found[scores.argmax()].tolist() == [0.2, 0.6]
    assert (found[:, 0] < found[:, 1]).all()
    whole, _ = candidate_pairs(np.zeros(5), np.zeros(5), np.zeros((5, 5)))
    assert [0.0, 1.0] in whole.tolist()


def naive_soft_nms(found: np.ndarray, scores: np.ndarray, settings: SoftNms, most: int) -> list[tuple[float, int]]:
    left, chosen = dict(enumerate(scores.tolist())), []
    while left and len(chosen) < most:
        best = max(left, key=lambda index: (left[index], -index))
        chosen.append((left.pop(best), best))
        limit = settings.low + (settings.high - settings.low) * (found[best, 1] - found[best, 0])
        for index in left:
            shared = overlap(tuple(found[best]), tuple(found[index]))
            if shared > limit:
                left[index] *= np.exp(-(shared**2) / settings.alpha)
    return sorted(chosen, key=lambda item: -item[0])


def test_soft_nms_is_its_definition() -> None:
    rng = np.random.default_rng(1)
    found, scores = random_spans(rng, 40) / 100, rng.uniform(size=40)
    expected = naive_soft_nms(found, scores, SoftNms(), 25)
    got = soft_nms(found, scores, SoftNms(), 25)
    np.testing.assert_allclose(got.scores, [score for score, _ in expected])
    np.testing.assert_array_equal(got.spans, found[[index for _, index in expected]])


def test_soft_nms_keeps_what_lies_apart() -> None:
    found = spans((0.0, 0.2), (0.01, 0.2), (0.5, 0.7))
    got = soft_nms(found, np.array([0.9, 0.8, 0.7]), SoftNms())
    assert got.spans.tolist() == [[0.0, 0.2], [0.5, 0.7], [0.01, 0.2]]
    assert got.scores[1] == 0.7


def test_recall_and_its_area() -> None:
    actions = spans((10, 20), (50, 60))
    proposals = spans((0, 5), (10, 20), (51, 60), (50, 60))
    ranks = covering_ranks(proposals, actions)
    assert ranks[0].tolist() == [2.0] * 10
    assert ranks[1].tolist() == [3.0] * 9 + [4.0]  # 0.9 is an overlap of 0.9; 0.95 needs the fourth
    curve = recall_curve(ranks, most=4)
    np.testing.assert_allclose(curve, [[0, 1, 1, 1], [0, 0, 0.9, 1.0]])
    np.testing.assert_allclose(area_under(curve), [2.5 / 4, 1.4 / 4])
    assert covering_ranks(spans((0, 1)), actions).tolist() == [[np.inf] * 10] * 2


def test_perfect_proposals_have_the_challenge_s_area() -> None:
    actions = spans((10, 20))
    assert area_under(recall_curve(covering_ranks(actions, actions)))[0] == pytest.approx(0.99)


def test_chance_is_what_random_proposals_recall() -> None:
    rng = np.random.default_rng(2)
    actions, num_steps, most = spans((3.0, 9.5), (0.0, 20.0)), 10, 8
    first, last = np.triu_indices(num_steps)
    all_pairs = np.stack([first, last + 1], axis=1) * 2.0
    curves = [
        recall_curve(covering_ranks(all_pairs[rng.permutation(len(all_pairs))[:most]], actions), most)
        for _ in range(4000)
    ]
    expected = chance_curve(actions, 20.0, num_steps, most)
    np.testing.assert_allclose(np.mean(curves, axis=0), expected, atol=0.012)
    assert expected.max() > 0.1


def detected(*rows: tuple[float, float, float]) -> Proposals:
    ordered = sorted(rows, key=lambda row: -row[2])
    return Proposals(spans=spans(*((a, b) for a, b, _ in ordered)), scores=np.array([row[2] for row in ordered]))


def test_average_precision_by_hand() -> None:
    # In order of scores: hit, miss (taken already), hit: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    found = {"a": detected((0, 10, 0.9), (0, 9.5, 0.8)), "b": detected((20, 30, 0.7))}
    annotated = {"a": spans((0, 10)), "b": spans((20, 30))}
    np.testing.assert_allclose(average_precisions(found, annotated, [0.5]), [0.5 + 0.5 * 2 / 3])


def test_a_later_detection_takes_the_action_that_is_free() -> None:
    found = {"a": detected((0, 10, 0.9), (1, 10, 0.8))}
    # The second overlaps the taken action most, and the free one by more than one half.
    assert average_precisions(found, {"a": spans((0, 10), (2, 12))}, [0.5]).tolist() == [1.0]


def test_equal_scores_are_one_step() -> None:
    annotated = {"a": spans((0, 10))}
    for rows in ([(0, 10, 0.5), (50, 60, 0.5)], [(50, 60, 0.5), (0, 10, 0.5)]):
        found = {"a": Proposals(spans=spans(*((a, b) for a, b, _ in rows)), scores=np.array([0.5, 0.5]))}
        assert average_precisions(found, annotated, [0.5]).tolist() == [0.5]


def test_videos_without_an_action_hold_misses_only() -> None:
    found = {"a": detected((0, 10, 0.9)), "b": detected((0, 10, 0.95)), "c": detected((0, 1, 0.99))}
    np.testing.assert_allclose(average_precisions(found, {"a": spans((0, 10)), "b": spans()}, [0.5]), [1 / 3])


def test_nothing_detected_is_zero_and_nothing_annotated_an_error() -> None:
    assert average_precisions({}, {"a": spans((0, 1))}).tolist() == [0.0] * len(TIOUS)
    with pytest.raises(ValueError, match="no annotated action"):
        average_precisions({"a": detected((0, 1, 1))}, {})
