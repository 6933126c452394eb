"""Full-video retrieval end to end: order decides, with and without background; the published columns are published."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.alignment.legacy import legacy_dtw, legacy_otam, legacy_recall
from stages.evaluation.protocols.full_video_retrieval import legacy_scores
from tests.benchmark_samples import BACKGROUND, CorpusConfig, SmallBenchmarks, metrics_of, scores_of
from tests.evaluation_samples import make_set
from tests.training_samples import STEPS
from tests.unit.test_evaluation_benchmarks import youcook2

ORDERS = [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)]
SCENE_S = 4


def corpus(*, gap_s: int) -> tuple[CorpusConfig, dict[str, list[tuple[float, float, str]]]]:
    """Videos with the same four steps in other orders, and `gap_s` of background after each."""
    videos, told = {}, {}
    for number, order in enumerate(ORDERS):
        rows: list[int] = []
        clips = []
        for step in order:
            clips.append((float(len(rows)), float(len(rows) + SCENE_S), STEPS[step]))
            rows += [step] * SCENE_S + [BACKGROUND] * gap_s
        videos[f"v{number}"], told[f"v{number}"] = tuple(rows), clips
    return CorpusConfig(videos=videos), told


def benchmark(annotations: str, **protocol: object) -> dict[str, object]:
    return {
        "name": "full",
        "split": "val",
        "dataset": {"name": "youcook2", "annotations": annotations},
        "protocol": {"name": "full_video_retrieval", **protocol},
    }


@pytest.mark.parametrize(("gap_s", "protocol"), [(0, {}), (4, {"background": "kept", "window_s": 4, "stride_s": 4})])
def test_order_finds_the_video_and_words_alone_do_not(
    tmp_path: Path, step_encoder: Path, gap_s: int, protocol: dict[str, object]
) -> None:
    config, told = corpus(gap_s=gap_s)
    small = SmallBenchmarks(root=tmp_path / "store", encoder=step_encoder, corpus=config)
    outcome = small.run(benchmark(youcook2(tmp_path / "y.json", told), ks=[1, 2], **protocol))
    metrics = metrics_of(outcome, "full")
    assert scores_of(metrics, "full_video.dtw")["R@1"] == 1.0
    assert scores_of(metrics, "full_video.drop_dtw")["R@1"] == 1.0
    assert scores_of(metrics, "full_video.caption_average")["R@1"] < 1.0
    for name, protocol_found in metrics["protocols"].items():
        legacy = [protocol_found["scores"][f"R@{k}"]["legacy"] for k in (1, 2)]
        assert legacy == [None, None] if name.endswith("drop_dtw") else all(0 <= value <= 1 for value in legacy)
        assert protocol_found["scores"]["R@1"]["chance"] == 0.25
    page = outcome.artifacts["evaluation"].path_in("full", "report.html").read_text()
    assert "Clean and as published" in page
    assert page.count('<polyline class="path"') >= 1


def test_a_damaged_clip_takes_its_caption_along(tmp_path: Path, step_encoder: Path) -> None:
    config, told = corpus(gap_s=0)
    damaged = config.model_copy(update={"damaged": {"v0": tuple(range(SCENE_S))}})
    small = SmallBenchmarks(root=tmp_path / "store", encoder=step_encoder, corpus=damaged)
    metrics = small.measure(benchmark(youcook2(tmp_path / "y.json", told)))
    assert metrics["protocols"]["full_video.dtw"]["missing"] == {"captions_without_rows": 1}
    assert scores_of(metrics, "full_video.dtw")["R@1"] == 1.0


def test_the_published_columns_come_from_raw_dot_products() -> None:
    """With background removed every caption has its clip; the columns are those of the published functions."""
    videos = [
        replace(video, windows=video.windows[::3], window_ids=video.window_ids[::3])
        for video in make_set(noise=0.5, num_scenes=3).videos
    ]
    found = legacy_scores(videos, background="removed")
    sentences, clips = (np.concatenate([getattr(v, kind) for v in videos]) for kind in ("narrations", "windows"))
    lengths = [3] * len(videos)
    similarity = (sentences @ clips.T).astype(np.float32)
    assert np.array_equal(found["dtw"], legacy_dtw(similarity, lengths))
    assert np.array_equal(found["otam"], legacy_otam(similarity, lengths))
    scaled = [replace(video, windows=video.windows * 40, narrations=video.narrations * 40) for video in videos]
    recalls = [legacy_recall(legacy_scores(some, background="removed")["otam"])[1] for some in (videos, scaled)]
    assert recalls[0] != recalls[1]  # what the clean scores do not do
