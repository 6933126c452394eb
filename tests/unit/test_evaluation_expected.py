"""Published tables: the file is whole, and a run that names a row is told ours, theirs, and whether they agree."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from pipeline.config import load_config
from stages.datasets.catalogue import AnyDataset
from stages.errors import ConfigError
from stages.evaluation.expected import PublishedConfig, compare_with_published, read_tables
from stages.evaluation.numbers import RANKS, in_per_cent
from stages.evaluation.summary import published_line, summary_lines
from tests.benchmark_samples import CorpusConfig, SmallBenchmarks, metrics_of
from tests.training_samples import STEPS
from tests.unit.test_evaluation_benchmarks import VIDEOS, clip_benchmark, youcook2

ROOT = Path(__file__).parents[2]
EXPECTED = ROOT / "configs" / "expected.toml"
TOML = """
[clips]
dataset = "a test"
protocol = "text_to_clip"
metrics = ["R@1", "median_rank"]
source = "table 1"
[clips.methods]
"ours" = { values = [100.0, 1.0] }
"better" = { values = [22.7, 9.0], source = "table 2" }
[none]
dataset = "a test"
protocol = "full_video.dtw"
metrics = ["R@1"]
scorer = "clean"
source = "table 3"
[none.methods]
"ours" = { values = [50.0] }
"""


def test_the_shipped_file_is_whole() -> None:
    tables = read_tables(EXPECTED)
    assert len(tables) >= 25
    for name, table in tables.items():
        assert table.source, name
        for row in table.methods.values():
            for metric, value in zip(table.metrics, row.values, strict=True):
                assert (value >= 1) if metric in RANKS else (in_per_cent(metric) and 0 < value < 100), (name, row)
    assert tables["full-video-removed-otam"].methods["VideoCLIP, third-party run"].values == (78.67, 97.48, 98.62)
    assert tables["youcook2-clips-zero-shot"].methods["VideoCLIP"].values == (22.7, 50.4, 63.1)
    vclr = {table.protocol: table for table in tables.values() if "VCLR" in table.methods}
    assert {protocol: vclr[protocol].metrics for protocol in vclr} == {
        "linear_probe": ("top-1",), "video_to_video": ("R@1",), "fine_tuning": ("top-1",),
        "action_proposals": ("AR@100", "AUC"),
    }  # fmt: skip
    assert vclr["action_proposals"].methods["VCLR"].values == (73.8, 65.5)


def metrics(value: float, *, legacy: float | None = None) -> dict[str, object]:
    score = {"value": value, "low": value, "high": value, "chance": None, "legacy": legacy, "baselines": {}}
    return {"text_to_clip": {"scores": {"R@1": score, "median_rank": {**score, "value": 9.0, "legacy": None}}}}


def test_ours_theirs_difference_and_verdict(tmp_path: Path) -> None:
    path = tmp_path / "expected.toml"
    path.write_text(TOML)
    tables, better = read_tables(path), PublishedConfig(table="clips", method="better", tolerance=0.5)
    recall, rank = compare_with_published(metrics(0.224), [better], tables, "a test")
    assert (recall.ours, recall.theirs, recall.passed) == (pytest.approx(22.4), 22.7, True)
    assert recall.difference == pytest.approx(-0.3)
    assert (rank.ours, rank.passed, rank.source) == (9.0, True, "table 2")
    (low, _) = compare_with_published(metrics(0.224, legacy=0.21), [better], tables, "a test")
    assert (low.ours, low.passed) == (pytest.approx(21.0), False)  # the published scorer's number is compared
    assert "ours 21.0, better 22.7, difference -1.7: FAIL (within 0.5)" in published_line(low.to_json())
    (absent,) = compare_with_published(metrics(0.5), [PublishedConfig(table="none", method="ours")], tables, "a test")
    assert (absent.ours, absent.difference, absent.passed) == (None, None, False)
    assert "ours not measured" in published_line(absent.to_json())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[clips]", "[clips"), "is no TOML file"),
        (("22.7, 9.0", "22.7"), r"clips: Value error, better: got 1 values, expected 2"),
        (('source = "table 1"', "sauce = 1"), r"clips.sauce: Extra inputs"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "expected.toml"
    path.write_text(TOML.replace(*change))
    with pytest.raises(ConfigError, match=message):
        read_tables(path)


def test_rows_that_do_not_exist_are_named(tmp_path: Path) -> None:
    path = tmp_path / "expected.toml"
    path.write_text(TOML)
    tables = read_tables(path)
    for row, message in (
        ({"table": "clip", "method": "x"}, "clips, none"),
        ({"table": "clips", "method": "x"}, "ours"),
    ):
        with pytest.raises(ConfigError, match=message):
            compare_with_published({}, [PublishedConfig(**row)], tables, "[evaluate]")


def test_a_benchmark_says_whether_it_agrees(tmp_path: Path, step_encoder: Path) -> None:
    path = tmp_path / "expected.toml"
    path.write_text(TOML)
    told = youcook2(tmp_path / "y.json", {f"v{i}": [(0, 5, STEPS[i])] for i in range(6)})
    small = SmallBenchmarks(root=tmp_path / "store", encoder=step_encoder, corpus=CorpusConfig(videos=VIDEOS))
    rows = [{"table": "clips", "method": name} for name in ("ours", "better")]
    outcome = small.run(clip_benchmark(told) | {"published": rows}, expected=path)
    found = metrics_of(outcome, "cooking")
    verdicts = {(verdict["method"], verdict["metric"]): verdict["passed"] for verdict in found["published"]}
    assert verdicts == {
        ("ours", "R@1"): True,
        ("ours", "median_rank"): True,
        ("better", "R@1"): False,
        ("better", "median_rank"): False,
    }
    assert sum(line.startswith("published: ") for line in summary_lines(found)) == 4
    page = outcome.artifacts["evaluation"].path_in("cooking", "report.html").read_text()
    assert "Against published results" in page
    changed = replace(small, root=small.root).run(clip_benchmark(told), expected=path)
    assert metrics_of(changed, "cooking")["published"] == []


def test_the_demo_names_rows_that_exist() -> None:
    config = load_config(ROOT / "configs" / "demo.toml").evaluate
    tables = read_tables(ROOT / config.expected if config.expected else EXPECTED)
    assert [tables[row.table].methods[row.method] for _, row in config.compared()]


def test_every_data_set_of_a_table_can_be_configured() -> None:
    names = [get_args(kind.model_fields["name"].annotation)[0] for kind in get_args(get_args(AnyDataset)[0])]
    assert {"youcook2", "youcook2-milnce", "msrvtt-1ka", "msrvtt", "msrvtt-qa", "coin", "crosstask"} <= set(names)
    assert {"didemo", "activitynet", "ucf101", "hmdb51", "kinetics", "fewshot"} <= set(names)
