"""DiDeMo's 21 segments: how a ranking is judged, what guessing scores, and a small set with known moments."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.datasets.didemo import read_didemo
from stages.evaluation.encoding import RowStates
from stages.evaluation.protocols.moment_localisation import published_ranks, rank_segments
from stages.evaluation.segments import (
    SEGMENTS,
    RankedSegments,
    by_order,
    chance,
    frequency_order,
    judge,
    overlap,
)
from tests.benchmark_samples import BACKGROUND, CorpusConfig, SmallBenchmarks, metrics_of, outcomes_of, write_json
from tests.training_samples import STEPS

FIT = np.zeros(21)


def test_there_are_21_segments_in_the_published_order() -> None:
    assert len(SEGMENTS) == len(set(SEGMENTS)) == 21
    assert SEGMENTS[:7] == ((0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (0, 1))
    assert SEGMENTS[-1] == (4, 5)


def test_overlap_counts_chunks() -> None:
    assert overlap((0, 1), (1, 2)) == pytest.approx(1 / 3)
    assert overlap((0, 5), (2, 2)) == pytest.approx(1 / 6)
    assert overlap((0, 0), (2, 3)) == 0.0
    assert overlap((2, 3), (2, 3)) == 1.0


def test_three_annotators_must_agree_on_the_first_segment() -> None:
    ranked = by_order(SEGMENTS, FIT)
    assert judge(ranked, [(0, 0), (0, 0), (0, 0), (5, 5)]) == (1.0, 1.0, 1.0)
    assert judge(ranked, [(0, 0), (0, 0), (1, 1), (5, 5)])[:2] == (0.0, 1.0)  # ranks 1, 1, 2: mean 4/3
    assert judge(ranked, [(5, 5)] * 4) == (0.0, 0.0, 0.0)  # rank 6


def test_an_answer_that_does_not_fit_is_missed_by_us_and_ignored_as_published() -> None:
    fits = np.array([0.0 if last < 5 else np.inf for _, last in SEGMENTS])
    ranked = by_order(SEGMENTS, fits)
    annotated = [(0, 0), (0, 0), (5, 5), (5, 5)]
    assert judge(ranked, annotated)[0] == 0.0
    assert judge(ranked, annotated, ignore_absent=True)[0] == 1.0
    assert judge(ranked, [(5, 5)] * 4, ignore_absent=True)[:2] == (0.0, 0.0)


@pytest.mark.parametrize(
    "annotated", [[(0, 0)] * 4, [(0, 0), (0, 0), (0, 1), (2, 2)], [(0, 0), (1, 1), (1, 2), (2, 2)]]
)
def test_chance_is_the_mean_over_all_orders(annotated: list[tuple[int, int]]) -> None:
    kept = [segment for segment in SEGMENTS if segment[1] < 3]  # six segments fit: 720 orders
    fits = np.array([0.0 if segment in kept else np.inf for segment in SEGMENTS])
    judged = [judge(by_order(order, fits), annotated) for order in itertools.permutations(kept)]
    assert chance(annotated, fits) == pytest.approx(np.mean(judged, axis=0))


@pytest.mark.shared
def test_guessing_on_real_annotations(shared_dir: Path) -> None:
    """papers.md 7.6 gives 0.037 / 0.233 / 0.228 for the test file; the validation file is of the same kind."""
    moments = read_didemo(shared_dir / "data" / "annotations" / "didemo" / "val_data.json", "val").moments
    fits = {n: np.array([0.0 if last < n else np.inf for _, last in SEGMENTS]) for n in range(1, 8)}
    found = np.mean([chance(moment.spans, fits[moment.num_chunks]) for moment in moments], axis=0)
    assert found == pytest.approx([0.037, 0.233, 0.228], abs=0.015)
    order = frequency_order(moments)
    assert order[:3] == [(0, 0), (1, 1), (2, 2)]
    prior = [judge(by_order(order, fits[moment.num_chunks]), moment.spans) for moment in moments]
    assert np.mean(prior, axis=0) == pytest.approx([0.194, 0.685, 0.254], abs=0.02)


def states(values: list[float], real: list[bool]) -> RowStates:
    rows = np.array(values, dtype=np.float32)[:, None]
    starts = np.arange(len(values), dtype=np.float64)
    return RowStates(spans=np.stack([starts, starts + 1], axis=1), states=rows, real=np.array(real))


def test_published_means_take_in_the_empty_rows_behind_a_short_video() -> None:
    """Seven seconds of video: chunk 1 has two real rows and three empty ones."""
    video = states([1.0] * 5 + [3.0] * 2 + [0.0] * 23, [True] * 7 + [False] * 23)
    text = np.ones(1, np.float32)
    ours, published = rank_segments(video, text), published_ranks(video, text)
    assert ours.first == (1, 1)
    assert published.first == (1, 1)  # 1.2 against 1.0, although the video shows 3.0
    assert np.isfinite(ours.ranks).sum() == np.isfinite(published.ranks).sum() == 21 - 6 - 4  # begins in chunk 0 or 1
    dark = states([-1.0] * 5 + [-3.0] * 2 + [0.0] * 23, [True] * 7 + [False] * 23)
    assert rank_segments(dark, text).first == (0, 0)
    assert published_ranks(dark, text).first != (0, 0)  # long segments of nothing win


def test_a_tie_has_our_rank() -> None:
    found = rank_segments(states([1.0] * 10, [True] * 10), np.ones(1, np.float32))
    assert isinstance(found, RankedSegments)
    finite = found.ranks[np.isfinite(found.ranks)]
    assert set(finite.tolist()) == {(len(finite) + 1) / 2}


SHOWN = {f"film{i}": [BACKGROUND, i % 6, BACKGROUND, (i + 1) % 6, BACKGROUND, BACKGROUND] for i in range(6)}
VIDEOS = {name: tuple(step for step in chunks for _ in range(5)) for name, chunks in SHOWN.items()}


def benchmark(folder: Path, max_rows: int = 30) -> dict[str, Any]:
    """Two descriptions a film, and what annotators chose before: the first chunk."""
    asked = [
        {
            "annotation_id": 2 * number + place,
            "video": f"{name}.mp4",
            "num_segments": 6,
            "description": STEPS[chunks[1 + 2 * place]],
            "dl_link": "",
            "times": [[1 + 2 * place] * 2] * 3 + [[0, 5]],
        }
        for number, (name, chunks) in enumerate(SHOWN.items())
        for place in (0, 1)
    ]
    known = [{**asked[0], "annotation_id": 100 + n, "video": f"old{n}.mp4", "times": [[0, 0]] * 4} for n in range(3)]
    files = {"test": write_json(folder / "test.json", asked), "val": write_json(folder / "val.json", known)}
    protocol = {"name": "moment_localisation", "max_rows": max_rows}
    return {"name": "moments", "dataset": {"name": "didemo", **files}, "protocol": protocol}


def test_descriptions_find_their_moments(tmp_path: Path, step_encoder: Path) -> None:
    small = SmallBenchmarks(root=tmp_path / "store", encoder=step_encoder, corpus=CorpusConfig(videos=VIDEOS))
    outcome = small.run(benchmark(tmp_path))
    metrics = metrics_of(outcome, "moments")
    scores = metrics["protocols"]["moment_localisation"]["scores"]
    assert scores["rank1"]["value"] >= 0.75
    assert scores["rank1"]["baselines"] == {"frequency prior": 0.0}
    assert scores["rank1"]["chance"] == pytest.approx(1 / 21, abs=1e-6)
    assert len(outcomes_of(outcome, "moments")) == 3 * 12


@pytest.mark.parametrize("max_rows", [30, 32])
def test_a_video_whose_first_rows_are_all_damaged_is_counted(tmp_path: Path, step_encoder: Path, max_rows: int) -> None:
    """Two rows behind the last chunk are intact: behind those that are kept, or kept, but in no segment."""
    longer = {**VIDEOS, "film0": (*VIDEOS["film0"], BACKGROUND, BACKGROUND)}
    corpus = CorpusConfig(videos=longer, damaged={"film0": tuple(range(30))})
    small = SmallBenchmarks(root=tmp_path / "store", encoder=step_encoder, corpus=corpus)
    found = metrics_of(small.run(benchmark(tmp_path, max_rows)), "moments")["protocols"]["moment_localisation"]
    assert found["missing"]["descriptions_of_damaged_videos"] == 2
    assert found["num_queries"] == 10
