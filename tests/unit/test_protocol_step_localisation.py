"""Step localisation: the published golden, brute force over all assignments, and a small CrossTask with known steps."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from stages.evaluation.protocols.step_localisation import ordered_assignment, step_costs
from tests.benchmark_samples import BACKGROUND, CorpusConfig, SmallBenchmarks, metrics_of, outcomes_of, scores_of
from tests.training_samples import STEPS

GOLDEN = [
    [0.64, 0.27, 0.04], [0.02, 0.81, 0.91], [0.61, 0.73, 0.54], [0.94, 0.82, 0.0],
    [0.86, 0.03, 0.73], [0.18, 0.86, 0.54], [0.3, 0.42, 0.03], [0.12, 0.67, 0.65],
]  # fmt: skip


def test_the_published_golden() -> None:
    cost = np.array(GOLDEN)
    rows = ordered_assignment(cost)
    assert rows.tolist() == [1, 4, 6]
    assert cost[rows, [0, 1, 2]].sum() == pytest.approx(0.08)


@pytest.mark.parametrize(("num_rows", "num_steps"), [(1, 1), (3, 3), (6, 1), (6, 4), (8, 3)])
def test_equals_every_assignment_and_keeps_the_earliest(num_rows: int, num_steps: int) -> None:
    for seed in range(20):
        cost = np.random.default_rng([num_rows, num_steps, seed]).integers(0, 3, (num_rows, num_steps)).astype(float)
        ways = list(itertools.combinations(range(num_rows), num_steps))
        totals = [cost[list(way), range(num_steps)].sum() for way in ways]
        least = min(totals)
        expected = min((way for way, total in zip(ways, totals, strict=True) if total == least), key=lambda w: w[::-1])
        assert ordered_assignment(cost).tolist() == list(expected)


def test_more_steps_than_rows_and_nan_are_refused() -> None:
    for bad in (np.zeros((2, 3)), np.array([[np.nan]])):
        with pytest.raises(ValueError, match="at least as many rows as steps"):
            ordered_assignment(bad)


def test_costs_are_minus_log_softmax_over_steps() -> None:
    states, texts = np.array([[1.0, 0.0], [300.0, 1.0]], np.float32), np.array([[2.0, 0.0], [0.0, 2.0]], np.float32)
    found = step_costs(states, texts)
    assert np.exp(-found).sum(axis=1) == pytest.approx([1.0, 1.0])
    assert found[0, 0] == pytest.approx(np.log(1 + np.exp(-2.0)))
    assert np.isfinite(found).all()


def crosstask(folder: Path) -> dict[str, str]:
    """Two primary tasks of three and two steps, five videos, one row of annotation a scene."""
    (folder / "tasks_primary.txt").write_text(
        f"1\nCook\nhttp://a\n3\n{STEPS[0]},{STEPS[1]},{STEPS[3]}\n\n2\nClean\nhttp://b\n2\n{STEPS[2]},{STEPS[5]}\n\n"
    )
    (folder / "videos.csv").write_text("1,a0,u\n1,a1,u\n1,a2,u\n2,b0,u\n2,b1,u\n2,short,u\n2,gone,u\n")
    annotations = folder / "annotations"
    annotations.mkdir()
    for name in ("a0", "a1", "a2"):
        (annotations / f"1_{name}.csv").write_text("1,4,8\n2,12,16\n3,20,24\n")
    for name in ("b0", "b1"):
        (annotations / f"2_{name}.csv").write_text("1,4,8\n2,12,16\n")
    (annotations / "2_short.csv").write_text("1,0,1\n")
    (annotations / "2_gone.csv").write_text("1,0,1\n")
    files = {"videos": "videos.csv", "primary": "tasks_primary.txt", "annotations": "annotations"}
    return {key: str(folder / name) for key, name in files.items()}


def shown(*steps: int) -> tuple[int, ...]:
    return tuple(row for step in steps for row in [BACKGROUND] * 4 + [step] * 4)


def test_steps_in_their_order_are_found(tmp_path: Path, step_encoder: Path) -> None:
    videos = {"a0": shown(0, 1, 3), "a1": shown(0, 1, 3), "a2": shown(0, 1, 3), "b0": shown(2, 5), "b1": shown(5, 2)}
    corpus = CorpusConfig(videos={**videos, "short": (2,)})
    small = SmallBenchmarks(root=tmp_path / "store", encoder=step_encoder, corpus=corpus)
    outcome = small.run(
        {
            "name": "steps",
            "dataset": {"name": "crosstask", "num_train": 1, **crosstask(tmp_path)},
            "protocol": {"name": "step_localisation", "window_rows": 8, "stride_rows": 4},
        }
    )
    metrics = metrics_of(outcome, "steps")
    found = metrics["protocols"]["step_localisation"]
    # One video of each task is drawn for training; the rest are measured, `short` has fewer rows than its task steps.
    assert found["num_bootstrap_units"] + found["missing"]["videos_with_fewer_rows_than_steps"] == 4
    assert metrics["split"]["missing"]["absent"]["first"] == ["gone"]
    assert scores_of(metrics, "step_localisation")["step_recall"] > found["scores"]["step_recall"]["chance"]
    in_order = [value for (_, unit), value in outcomes_of(outcome, "steps").items() if unit.startswith("1/")]
    assert in_order == [1.0, 1.0]
    page = outcome.artifacts["evaluation"].path_in("steps", "report.html").read_text()
    assert "Step recall by task" in page
