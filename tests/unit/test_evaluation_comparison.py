"""Paired comparison of two runs: what cancels out, what is shared, and the command on real runs."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.evaluation.bootstrap import outcome_bootstrap, outcome_value, paired_outcome_bootstrap
from stages.evaluation.comparison import Difference, compare_runs, comparison_lines
from stages.evaluation.outcomes import of_units
from stages.evaluation.records import Outcome
from stages.evaluation.scoring import ProtocolSettings
from tests.benchmark_samples import CorpusConfig, SmallBenchmarks
from tests.small_run import FABULA, ROOT, SmallRun
from tests.training_samples import STEPS
from tests.unit.test_evaluation_benchmarks import VIDEOS, clip_benchmark, youcook2

SETTINGS = ProtocolSettings(ks=(1, 5))


def outcome(values: np.ndarray, groups: tuple[str, ...] = (), weights: np.ndarray | None = None) -> Outcome:
    ids = tuple(f"q{number}" for number in range(len(values)))
    weights = np.ones(len(values)) if weights is None else weights
    return Outcome(metric="m", unit_ids=ids, values=values, weights=weights, groups=groups)


def test_a_weighted_mean_over_groups() -> None:
    found = outcome(np.array([1.0, 0.0, 1.0]), ("a", "a", "b"), np.array([3.0, 1.0, 5.0]))
    assert outcome_value(found) == pytest.approx((3 / 4 + 1) / 2)
    estimate = outcome_bootstrap(found, rng=np.random.default_rng(0))
    assert estimate.low >= 0.5  # group b is all right however it is drawn
    with pytest.raises(ValueError, match="positive weights"):
        outcome_value(outcome(np.ones(2), weights=np.array([1.0, 0.0])))


def test_what_is_hard_for_both_cancels_out() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(400)
    first, second = outcome(np.minimum(1.0, hard + 0.02)), outcome(hard)
    found = paired_outcome_bootstrap(first, second, rng=np.random.default_rng(1))
    assert 0 < found.low < found.high < 0.03
    alone = outcome_bootstrap(first, rng=np.random.default_rng(1))
    assert alone.high - alone.low > 0.04
    with pytest.raises(ValueError, match="same units"):
        paired_outcome_bootstrap(first, of_units(second, second.unit_ids[::-1]), rng=np.random.default_rng(1))


def test_intervals_of_equal_runs_hold_zero() -> None:
    """A thousand pairs of runs that do not differ: about one interval in twenty excludes 0."""
    rng = np.random.default_rng(0)
    quick = replace(SETTINGS.bootstrap, num_resamples=200)
    excluded = 0
    for _ in range(1000):
        runs = [outcome((rng.random(60) < 0.5).astype(float)) for _ in range(2)]
        found = paired_outcome_bootstrap(*runs, rng=rng, settings=quick)
        excluded += not found.low <= 0 <= found.high
    assert 20 <= excluded <= 90


def _by_ks(annotations: Path, *ks: int) -> dict[str, Any]:
    benchmark = clip_benchmark(annotations)
    return {**benchmark, "protocol": {**benchmark["protocol"], "ks": ks}}


def test_two_runs_are_compared_on_what_both_measured(tmp_path: Path, step_encoder: Path) -> None:
    right = youcook2(tmp_path / "a.json", {f"v{i}": [(0, 5, STEPS[i])] for i in range(6)})
    wrong = youcook2(tmp_path / "b.json", {f"v{i}": [(0, 5, STEPS[(i + 1) % 6])] for i in range(1, 6)})
    small = SmallBenchmarks(root=tmp_path / "store", encoder=step_encoder, corpus=CorpusConfig(videos=VIDEOS))
    first, second = (small.run(_by_ks(path, 1, 3)).artifacts["evaluation"] for path in (right, wrong))
    differences = compare_runs(first, second, SETTINGS)
    recall = next(d for d in differences if (d.protocol, d.metric) == ("text_to_clip", "R@1"))
    assert (recall.first, recall.second, recall.difference) == (1.0, 0.0, 1.0)
    assert (recall.num_shared, recall.num_only_one, recall.better) == (5, 1, "first")
    assert (recall.first_gallery, recall.second_gallery) == (6, 5)
    clips = {d.metric for d in differences if (d.unit, d.protocol) == ("cooking", "text_to_clip")}
    assert clips == {"R@1", "R@3", "mean_rank", "MRR"}  # what the benchmark measured, not what the settings name
    rank = next(d for d in differences if (d.protocol, d.metric) == ("text_to_clip", "mean_rank"))
    assert rank.better == "first"
    assert rank.difference < 0  # a lower rank is better
    lines = comparison_lines(differences, 0.95)
    assert lines[0] == "cooking: text_to_clip (5 shared, 1 in one run only)"
    assert lines[1].startswith("  warning: ranked among 6 items and among 5: fewer are easier")
    assert lines[2].split() == [
        "R@1",
        "100.0",
        "%",
        "0.0",
        "%",
        "+100.0",
        "%",
        "95%",
        "+100.0",
        "%",
        "to",
        "+100.0",
        "%",
        "first",
        "is",
        "better",
    ]
    itself = compare_runs(first, first, SETTINGS)
    assert not any("warning" in line for line in comparison_lines(itself, 0.95))
    assert {(d.difference, d.low, d.high, d.better) for d in itself} == {(0.0, 0.0, 0.0, "")}


@pytest.mark.parametrize(
    ("metric", "better"), [("R@1", "first"), ("mean_rank", "second"), ("predicted_background", "")]
)
def test_which_run_is_better_depends_on_the_metric(metric: str, better: str) -> None:
    numbers = {"first": 2.0, "second": 1.0, "difference": 1.0, "low": 0.5, "high": 1.5}
    found = Difference(unit="set", protocol="p", metric=metric, num_shared=9, num_only_one=0, **numbers)
    assert found.better == better
    assert found.is_sure


def test_the_command_compares_runs_of_one_store(small_run: SmallRun) -> None:
    newest = max(small_run.store.glob("runs/*"))
    command = [*FABULA, "compare", str(small_run.config), str(newest), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found = json.loads(done.stdout)
    assert {entry["unit"] for entry in found} == {"set"}
    assert {entry["difference"] for entry in found} == {0.0}
    assert "order_pairs.dtw" in {entry["protocol"] for entry in found}
    text = subprocess.run(command[:-1], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "no difference beyond chance" in text
