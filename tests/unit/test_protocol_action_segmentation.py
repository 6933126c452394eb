"""Action segmentation: targets, thresholds, the background's baselines, and both heads on a small COIN."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.encoders.checkpoint import load_dual, save_dual
from models.encoders.dual import DualEncoder
from stages.datasets.records import Segment
from stages.errors import FabulaError
from stages.evaluation.segmentation import (
    RowGuesses,
    count_rows,
    gamma_of_labels,
    gamma_of_training,
    similarities,
)
from stages.training.row_windows import row_targets
from tests.benchmark_samples import BACKGROUND, CorpusConfig, SmallBenchmarks, scores_of, write_json
from tests.training_samples import STEPS

SHOWN = {f"v{i}": (BACKGROUND,) * 4 + (i % 6,) * 4 + (BACKGROUND,) * 4 + ((i + 2) % 6,) * 4 for i in range(8)}
WINDOWS = {"window_rows": 8, "stride_rows": 4}


def segment(label: int, start_s: float, end_s: float) -> Segment:
    return Segment(source_id="v", index=0, label_index=label, label=str(label), start_s=start_s, end_s=end_s)


def test_targets_are_the_touched_rows_and_the_later_segment_wins() -> None:
    starts = np.arange(8, dtype=np.float64)
    spans = np.stack([starts, starts + 1], axis=1)
    found = row_targets(spans, [segment(3, 1.5, 4.0), segment(5, 3.2, 5.1)])
    assert found.tolist() == [0, 3, 3, 5, 5, 5, 0, 0]  # floor(start) to ceil(end), as published


def test_three_ways_to_compare_a_row_with_steps() -> None:
    states, texts = np.array([[2.0, 0.0], [0.0, 3.0]], np.float32), np.array([[1.0, 0.0], [1.0, 2.0]], np.float32)
    assert similarities(states, texts, "dot").tolist() == [[2.0, 2.0], [0.0, 6.0]]
    assert similarities(states, texts, "cosine")[1].tolist() == pytest.approx([0.0, 2 / np.sqrt(5)])
    assert similarities(states, texts, "standardised").tolist() == [[0.0, 0.0], [-1.0, 1.0]]
    assert gamma_of_labels(texts, "dot") == 1.0
    assert gamma_of_labels(texts, "cosine") == pytest.approx(1 / np.sqrt(5))


def guesses(rng: np.random.Generator) -> RowGuesses:
    target, label = rng.integers(0, 4, 30), rng.integers(1, 4, 30)
    return RowGuesses(target=target, label=label, strength=rng.integers(0, 8, 30).astype(float))


def test_the_threshold_of_training_is_the_best_of_all() -> None:
    for seed in range(20):
        given = [guesses(np.random.default_rng([seed, part])) for part in range(2)]

        def f1(gamma: float, given: list[RowGuesses] = given) -> float:
            return count_rows([g.target for g in given], [g.above(gamma) for g in given]).f1

        best = max(f1(gamma) for gamma in np.arange(-1.5, 9.0))
        assert f1(gamma_of_training(given)) == pytest.approx(best)


def test_counts_of_rows() -> None:
    counts = count_rows([np.array([0, 0, 1, 2])], [np.array([0, 1, 1, 1])])
    assert (counts.accuracy, counts.always_background) == (0.5, 0.5)
    assert counts.f1 == pytest.approx(2 * 1 / (3 + 2))
    assert counts.background == 0.25


def coin(path: Path) -> str:
    """Two videos for training, six for testing; steps are numbered from 1."""
    database = {
        name: {
            "duration": 16.0,
            "class": "Task",
            "video_url": "",
            "start": 0,
            "end": 16,
            "recipe_type": 1,
            "subset": "training" if name in ("v6", "v7") else "testing",
            "annotation": [
                {"id": str(rows[start] + 1), "segment": [start, start + 4], "label": STEPS[rows[start]]}
                for start in (4, 12)
            ],
        }
        for name, rows in SHOWN.items()
    }
    return write_json(path, {"database": database})


def benchmark(tmp_path: Path, **protocol: Any) -> dict[str, Any]:
    return {
        "name": "actions",
        "dataset": {"name": "coin", "annotations": coin(tmp_path / "COIN.json")},
        "protocol": {"name": "action_segmentation", **WINDOWS, **protocol},
    }


@pytest.fixture
def small(tmp_path: Path, step_encoder: Path) -> SmallBenchmarks:
    return SmallBenchmarks(root=tmp_path / "store", encoder=step_encoder, corpus=CorpusConfig(videos=SHOWN))


def test_steps_are_told_from_each_other_and_from_the_background(small: SmallBenchmarks, tmp_path: Path) -> None:
    metrics = small.measure(benchmark(tmp_path, gamma="train"))
    scores = metrics["protocols"]["action_segmentation"]["scores"]
    assert scores["frame_f1"]["value"] > 0.6
    assert scores["frame_accuracy"]["baselines"] == {"always background": 0.5}
    assert scores["frame_accuracy"]["value"] > 0.5
    assert metrics["protocols"]["action_segmentation"]["num_queries"] == 6


def test_all_background_is_named(small: SmallBenchmarks, tmp_path: Path) -> None:
    metrics = small.measure(benchmark(tmp_path, gamma=1e6))
    found = metrics["protocols"]["action_segmentation"]
    assert scores_of(metrics, "action_segmentation") == {
        "frame_accuracy": 0.5, "frame_f1": 0.0, "predicted_background": 1.0
    }  # fmt: skip
    assert "100.0% of the rows are predicted as background" in found["warnings"][0]


def test_no_f1_where_every_row_of_a_step_is_damaged(small: SmallBenchmarks, tmp_path: Path) -> None:
    rows_of_steps = {name: (*range(4, 8), *range(12, 16)) for name in SHOWN}
    torn = replace(small, corpus=CorpusConfig(videos=SHOWN, damaged=rows_of_steps))
    found = scores_of(torn.measure(benchmark(tmp_path, gamma=1e6)), "action_segmentation")
    assert found == {"frame_accuracy": 1.0, "predicted_background": 1.0}


def test_a_threshold_from_training_needs_training_videos(small: SmallBenchmarks, tmp_path: Path) -> None:
    corpus = CorpusConfig(videos={name: rows for name, rows in SHOWN.items() if name not in ("v6", "v7")})
    metrics = replace(small, corpus=corpus).measure(benchmark(tmp_path, gamma="train"))
    assert "needs videos of the training split" in metrics["protocols"]["action_segmentation"]["not_evaluated"]


def with_head(folder: Path, source: Path, gamma: float) -> Path:
    """The same encoder with a head that says what zero-shot says at this threshold."""
    checkpoint = load_dual(source)
    config = replace(checkpoint.encoder.config, num_labels=7)
    encoder = DualEncoder(config)
    encoder.load_state_dict(checkpoint.encoder.state_dict(), strict=False)
    with torch.no_grad():
        texts = checkpoint.encoder.eval().encode_text(*checkpoint.tokenizer.encode(list(STEPS)))
        encoder.video_encoder.classifier.weight.copy_(torch.cat([torch.zeros(1, texts.shape[1]), texts]))
        encoder.video_encoder.classifier.bias.copy_(torch.tensor([gamma] + [0.0] * 6))
    save_dual(replace(checkpoint, encoder=encoder.eval()), folder)
    return folder


def test_the_head_of_a_checkpoint_labels_rows(small: SmallBenchmarks, tmp_path: Path, step_encoder: Path) -> None:
    zero_shot = small.measure(benchmark(tmp_path, gamma=5.0))
    headed = replace(small, encoder=with_head(tmp_path / "head", step_encoder, 5.0))
    by_head = headed.measure(benchmark(tmp_path, head="checkpoint"))
    assert scores_of(by_head, "action_segmentation") == scores_of(zero_shot, "action_segmentation")
    assert scores_of(by_head, "action_segmentation")["predicted_background"] not in (0.0, 1.0)
    with pytest.raises(FabulaError, match="has no head on single rows"):
        small.measure(benchmark(tmp_path, head="checkpoint"))


@pytest.mark.parametrize(
    ("protocol", "message"),
    [({"stride_rows": 9}, "rows between windows"), ({"similarity": "standardised"}, "nothing to be standardised")],
)
def test_settings_that_make_no_sense(small: SmallBenchmarks, tmp_path: Path, protocol: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small.measure(benchmark(tmp_path, **protocol))
