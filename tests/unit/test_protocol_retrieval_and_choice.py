"""Whole paragraphs and multiple choice: small sets with a known answer, and the rules of ties."""

from pathlib import Path

import numpy as np
import pytest

from stages.datasets.records import Question
from stages.evaluation.protocols.multiple_choice import shares_right
from stages.evaluation.protocols.whole_paragraph_retrieval import mean_vectors
from tests.benchmark_samples import CorpusConfig, SmallBenchmarks, metrics_of, outcomes_of, scores_of, write_json
from tests.training_samples import STEPS

VIDEOS = {f"video{i}": (i,) * 6 + ((i + 1) % 6,) * 6 for i in range(6)}


@pytest.fixture
def small(tmp_path: Path, step_encoder: Path) -> SmallBenchmarks:
    return SmallBenchmarks(root=tmp_path / "store", encoder=step_encoder, corpus=CorpusConfig(videos=VIDEOS))


@pytest.mark.parametrize("paragraph", ["joined", "mean"])
def test_a_whole_paragraph_finds_its_video(small: SmallBenchmarks, tmp_path: Path, paragraph: str) -> None:
    told = {
        f"v_{name}": {"duration": 12.0, "timestamps": [[0, 6], [6, 12]], "sentences": [STEPS[rows[0]], STEPS[rows[-1]]]}
        for name, rows in VIDEOS.items()
    }
    metrics = small.measure(
        {
            "name": "paragraphs",
            "split": "val",
            "dataset": {"name": "activitynet", "annotations": write_json(tmp_path / "val_1.json", told)},
            "protocol": {
                "name": "whole_paragraph_retrieval",
                "paragraph": paragraph,
                "window_s": 6,
                "stride_s": 6,
                "ks": [1, 2],
            },
        }
    )
    for protocol in ("whole_paragraph_to_video", "video_to_whole_paragraph"):
        scores = metrics["protocols"][protocol]["scores"]
        assert scores["R@2"]["value"] == 1.0
        assert scores["R@1"]["value"] >= 5 / 6
        assert scores["R@1"]["legacy"] == scores["R@1"]["value"]  # no ties
        assert metrics["protocols"][protocol]["gallery_size"] == 6


def test_means_of_unit_vectors_have_unit_length() -> None:
    steady, varied = np.array([[1.0, 0.0]] * 2, np.float32), np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    asked = np.array([0.8, 0.6], np.float32)
    (of_steady, of_varied) = mean_vectors([steady, varied], normalised=True) @ asked
    assert of_varied > of_steady  # it is the nearer one, whatever its windows differ among themselves
    assert mean_vectors([2 * steady, varied], normalised=False).tolist() == [[2.0, 0.0], [0.5, 0.5]]


def questions(path: Path) -> str:
    """Every video is asked for its first step among five; in the last question the right answer is named wrongly."""
    lines = ["vid_key\ta1\ta2\ta3\ta4\ta5\tanswer"]
    for i in range(6):
        options = [STEPS[(i + 2 + place) % 6] for place in range(4)]
        options.insert(i % 5, STEPS[i])
        lines.append("\t".join([f"msr{i}", *options, str(i % 5 if i < 5 else 4)]))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_the_right_answer_is_chosen(small: SmallBenchmarks, tmp_path: Path) -> None:
    outcome = small.run(
        {
            "name": "choice",
            "dataset": {"name": "msrvtt-qa", "annotations": questions(tmp_path / "MSR_MC_test.csv")},
            "protocol": {"name": "multiple_choice", "max_rows": 6},
        }
    )
    metrics = metrics_of(outcome, "choice")
    assert scores_of(metrics, "multiple_choice")["accuracy"] == pytest.approx(5 / 6, abs=1e-6)
    score = metrics["protocols"]["multiple_choice"]["scores"]["accuracy"]
    assert (score["chance"], score["legacy"]) == (0.2, pytest.approx(5 / 6, abs=1e-6))
    assert score["baselines"] == {"most frequent place": pytest.approx(2 / 6, abs=1e-6)}
    values = outcomes_of(outcome, "choice")
    assert [values["accuracy", f"q{number}"] for number in range(6)] == [1.0] * 5 + [0.0]


def test_equal_answers_share_a_question() -> None:
    asked = [Question(question_id=str(n), source_id="v", options=("a", "b", "c"), answer=1) for n in range(3)]
    scores = [np.array([1.0, 1.0, 0.0]), np.array([2.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0])]
    assert shares_right(asked, scores).tolist() == [0.5, 0.0, pytest.approx(1 / 3)]
    with pytest.raises(ValueError, match="NaN"):
        shares_right(asked[:1], [np.array([0.0, np.nan, 1.0])])
