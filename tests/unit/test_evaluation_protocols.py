"""Protocols on sets with a known answer, and what they say when there is nothing to measure."""

from dataclasses import replace

import numpy as np
import pytest

from stages.evaluation.protocols.order_pairs import choices_of, order_pairs
from stages.evaluation.protocols.paragraph_retrieval import paragraph_retrieval, paragraphs_of
from stages.evaluation.protocols.window_retrieval import window_retrieval, windows_of_narrations
from stages.evaluation.records import EvaluationSet, ProtocolResult
from stages.evaluation.scoring import ProtocolSettings
from tests.evaluation_samples import WINDOWS_PER_SCENE, make_set

SETTINGS = ProtocolSettings()


def scores_of(results: list[ProtocolResult], name: str) -> dict[str, float]:
    (result,) = (result for result in results if result.name == name)
    return {score.name: score.value for score in result.scores}


def only(results: list[ProtocolResult], name: str) -> ProtocolResult:
    return next(result for result in results if result.name == name)


def test_windows_whose_centre_lies_in_the_span_are_right() -> None:
    windows = np.array([[0.0, 8.0], [4.0, 12.0], [8.0, 16.0], [12.0, 20.0]])
    narrations = np.array([[3.0, 8.5], [4.0, 12.0], [20.0, 25.0], [19.0, 25.0], [5.0, 5.5]])
    assert windows_of_narrations(windows, narrations).tolist() == [
        [True, True, False, False],
        [True, True, False, False],  # half-open: the centre at 12 s belongs to what starts there
        [False, False, False, False],
        [False, False, False, True],  # no centre in it: the one that overlaps most
        [True, False, False, False],  # of equals the earliest
    ]


def test_no_windows_or_no_narrations() -> None:
    assert windows_of_narrations(np.zeros((0, 2)), np.zeros((3, 2))).shape == (3, 0)
    assert windows_of_narrations(np.zeros((2, 2)), np.zeros((0, 2))).shape == (0, 2)


def test_without_noise_every_protocol_that_can_is_perfect() -> None:
    evaluation = make_set(noise=0.0, num_pairs=5)
    pairs, paragraphs = order_pairs(evaluation, SETTINGS), paragraph_retrieval(evaluation, SETTINGS)
    assert scores_of(pairs, "order_pairs.dtw")["accuracy"] == 1.0
    assert scores_of(paragraphs, "paragraph_to_video.dtw") == {
        "R@1": 1.0, "R@5": 1.0, "R@10": 1.0, "median_rank": 1.0, "mean_rank": 1.0, "MRR": 1.0, "nDCG": 1.0,
    }  # fmt: skip


def test_what_forgets_order_only_guesses() -> None:
    pairs = order_pairs(make_set(noise=1.0, num_pairs=60), SETTINGS)
    found = only(pairs, "order_pairs.caption_average").scores[0]
    assert found.low < 0.5 < found.high
    accuracy, difference = only(pairs, "order_pairs.dtw").scores
    assert accuracy.low > 0.9
    assert (difference.name, difference.chance) == ("accuracy_minus_caption_average", None)
    assert difference.low > 0.3


def test_a_tie_counts_one_half() -> None:
    scores = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [2.0, 1.0]]])
    assert choices_of(scores).tolist() == [[1.0, 1.0], [0.5, 0.0]]


def test_identical_videos_of_a_pair_are_a_guess_with_rank_one_and_a_half() -> None:
    evaluation = make_set(num_pairs=3)
    first = evaluation.videos[0]
    twin = replace(first, video_id=evaluation.videos[1].video_id)
    twins = replace(evaluation, videos=(first, twin, *evaluation.videos[2:]), pairs={"p": ("video000a", "video000b")})
    for result in order_pairs(twins, SETTINGS):
        assert result.scores[0].value == 0.5
        assert result.ranked is not None
        assert result.ranked.ranks.tolist() == [1.5, 1.5]


def test_clip_retrieval_finds_a_window_that_shows_what_the_sentence_says() -> None:
    evaluation = make_set(noise=0.05, num_pairs=6)
    said = {
        name: text for video in evaluation.videos for name, text in zip(video.narration_ids, video.texts, strict=True)
    }
    shown = {
        name: video.texts[number // WINDOWS_PER_SCENE]
        for video in evaluation.videos
        for number, name in enumerate(video.window_ids)
    }
    found = window_retrieval(evaluation, SETTINGS)
    result = only(found, "text_to_window")
    assert result.ranked is not None
    # A step is shown in both videos of a pair and in some others: which of them comes first is a guess.
    assert [said[name] for name in result.ranked.query_ids] == [shown[name] for name in result.ranked.answer_ids]
    assert result.ranked.num_relevant.tolist() == [3] * 60
    assert result.ranked.gallery_size == 180
    assert result.missing["narrations_without_window"] == 0


def test_chance_is_what_random_vectors_score() -> None:
    evaluation = make_set(noise=0.0, num_pairs=25)
    rng = np.random.default_rng(0)
    noise = tuple(
        replace(
            video,
            windows=rng.standard_normal(video.windows.shape).astype(np.float32),
            narrations=rng.standard_normal(video.narrations.shape).astype(np.float32),
        )
        for video in evaluation.videos
    )
    lost = replace(evaluation, videos=noise)
    for result in (
        *window_retrieval(lost, SETTINGS),
        only(paragraph_retrieval(lost, SETTINGS), "paragraph_to_video.dtw"),
    ):
        for score in result.scores:
            assert score.chance is not None
            slack = 0.6 * (score.high - score.low) + 0.01
            assert score.low - slack <= score.chance <= score.high + slack, (result.name, score)


def test_scaling_all_vectors_changes_no_rank() -> None:
    evaluation = make_set(noise=0.8)
    scaled = replace(
        evaluation,
        videos=tuple(replace(v, windows=v.windows * 4, narrations=v.narrations * 4) for v in evaluation.videos),
    )
    for protocol in (order_pairs, paragraph_retrieval, window_retrieval):
        for before, after in zip(protocol(evaluation, SETTINGS), protocol(scaled, SETTINGS), strict=True):
            assert before.ranked is not None
            assert after.ranked is not None
            assert np.array_equal(before.ranked.ranks, after.ranked.ranks), before.name


def test_blocks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = make_set(noise=0.8)
    whole = [result.scores for result in window_retrieval(evaluation, SETTINGS)]
    monkeypatch.setattr("stages.evaluation.scoring._BLOCK_CELLS", 1000)
    assert [result.scores for result in window_retrieval(evaluation, SETTINGS)] == whole


def test_paragraphs_are_queries_and_videos_without_narration_are_distractors() -> None:
    evaluation = make_set(num_scenes=8, noise=0.0)
    silent = replace(
        evaluation.videos[-1],
        narration_ids=(),
        narration_spans=np.zeros((0, 2)),
        narrations=np.zeros((0, 24), np.float32),
        texts=(),
        paragraph_index=np.zeros(0, np.int64),
    )
    evaluation = replace(evaluation, videos=(*evaluation.videos[:-1], silent), without_narrations=(silent.video_id,))
    assert [len(vectors) for _, vectors in paragraphs_of(evaluation.videos[0])] == [6, 2]
    result = only(paragraph_retrieval(evaluation, SETTINGS), "paragraph_to_video.caption_average")
    assert result.ranked is not None
    assert result.ranked.query_ids[:2] == ("video000a/p000", "video000a/p001")
    assert (len(result.ranked), result.ranked.gallery_size) == (14, 8)
    assert result.missing == {"videos_without_features": 0, "videos_without_narrations": 1}
    pairs = only(order_pairs(evaluation, SETTINGS), "order_pairs.dtw")
    assert (pairs.num_units, pairs.missing["pairs_incomplete"]) == (3, 1)


@pytest.mark.parametrize("videos", [0, 1])
def test_a_set_that_is_too_small_says_why(videos: int) -> None:
    full = make_set()
    evaluation: EvaluationSet = replace(full, videos=full.videos[:videos], without_features=("gone",))
    for protocol in (order_pairs, paragraph_retrieval, window_retrieval):
        for result in protocol(evaluation, SETTINGS):
            assert (result.scores, result.ranked) == ((), None)
            assert "1 without features" in result.not_evaluated or "none of the 4 pairs" in result.not_evaluated


def test_no_pairs_is_said() -> None:
    result, *_ = order_pairs(make_set(pairs={}), SETTINGS)
    assert result.not_evaluated == "the split 'test' names no pairs of videos that differ in order only"
    assert "rank" not in result.missing


def test_narrations_outside_of_the_video_are_counted() -> None:
    evaluation = make_set()
    late = tuple(replace(video, narration_spans=video.narration_spans + 1e4) for video in evaluation.videos)
    result = window_retrieval(replace(evaluation, videos=late), SETTINGS)[0]
    assert result.not_evaluated == "no narration of the split overlaps a window"
    assert result.missing["narrations_without_window"] == 40


def test_nan_in_a_vector_is_an_error() -> None:
    evaluation = make_set()
    evaluation.videos[2].windows[1, 3] = np.nan
    with pytest.raises(ValueError, match=r"NaN|finite"):
        window_retrieval(evaluation, SETTINGS)
