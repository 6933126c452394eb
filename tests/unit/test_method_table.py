"""The table of methods: its arithmetic by hand, its intervals, and the command on real evaluations."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from pipeline.config import load_config, load_tables
from stages.errors import ConfigError
from stages.evaluation.bootstrap import BootstrapSettings, bootstrap, crossed_bootstrap, means
from stages.evaluation.method_table import _values
from stages.evaluation.records import Outcome
from tests.small_run import FABULA, ROOT, SmallRun, copy_run

REPRODUCE = ROOT / "configs" / "reproduce"
SEEDS = (0, 1)


def test_the_value_is_the_mean_and_equal_cells_have_no_interval() -> None:
    values = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    found = crossed_bootstrap(values, rng=np.random.default_rng(0))
    assert found.value == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    same = crossed_bootstrap(np.full((3, 4), 0.25), rng=np.random.default_rng(0))
    assert (same.low, same.value, same.high) == (0.25, 0.25, 0.25)


def test_one_seed_is_the_bootstrap_over_queries() -> None:
    values = (np.random.default_rng(0).random(200) < 0.3).astype(float)
    settings = BootstrapSettings(num_resamples=4000)
    crossed = crossed_bootstrap(values[None], rng=np.random.default_rng(1), settings=settings)
    plain = bootstrap(values, means, rng=np.random.default_rng(2), settings=settings)
    assert (crossed.low, crossed.high) == pytest.approx((plain.low, plain.high), abs=0.011)


def test_seeds_that_agree_on_every_query_are_no_more_queries() -> None:
    """Three copies of one run say as much as the run; draws of (seed, query) one by one would halve the interval."""
    one = (np.random.default_rng(0).random(100) < 0.5).astype(float)
    width = {}
    for copies in (1, 4):
        found = crossed_bootstrap(np.stack([one] * copies), rng=np.random.default_rng(1))
        width[copies] = found.high - found.low
    assert width[4] == pytest.approx(width[1], rel=0.1)


def test_seeds_that_differ_widen_the_interval() -> None:
    apart = np.stack([np.full(1000, 0.2), np.full(1000, 0.8)])
    found = crossed_bootstrap(apart, rng=np.random.default_rng(0))
    assert (found.low, found.high) == pytest.approx((0.2, 0.8))


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((0, 3)), np.array([[np.nan]])])
def test_values_that_are_none_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="seeds, queries"):
        crossed_bootstrap(values, rng=np.random.default_rng(0))


def plain_means(**changes: object) -> Outcome:
    known = {"metric": "R@1", "unit_ids": ("a", "b"), "values": np.array([0.0, 1.0]), "weights": np.ones(2)}
    return Outcome(**{**known, "gallery_size": 9, **changes})


def test_values_stand_in_the_order_of_the_queries() -> None:
    turned = plain_means(unit_ids=("b", "a"), groups=("", ""))
    np.testing.assert_array_equal(_values("m", [plain_means(), turned], plain_means()), [[0.0, 1.0], [1.0, 0.0]])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": np.array([1.0, 2.0])}, "m: R@1 is a weighted mean, or one over groups"),
        ({"groups": ("one", "other")}, "m: R@1 is a weighted mean, or one over groups"),
        ({"gallery_size": 8}, "m: R@1 was measured among 8 items, elsewhere among 9"),
        ({"unit_ids": ("a", "c")}, "m: R@1 was measured on other queries"),
    ],
)
def test_what_is_no_plain_mean_over_the_same_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        _values("m", [plain_means(), plain_means(**changes)], plain_means())


@pytest.fixture(scope="module")
def trained(small_run: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """Two methods with two seeds each, in one store: ten steps, and two."""
    run = copy_run(small_run, tmp_path_factory.mktemp("methods"))
    for method, steps in (("ten", 10), ("four", 4)):
        for seed in SEEDS:
            changes = (f"name={method}-seed{seed}", f"train.seed={seed}", f"train.optimisation.steps={steps}")
            run.fabula("run", *(part for change in changes for part in ("--set", change)))
    return run


def table_file(run: SmallRun, **changes: object) -> Path:
    table = {
        "title": "Steps",
        "methods": [{"label": "Four", "name": "four"}, {"label": "Ten", "name": "ten", "baseline": "four"}],
        "columns": [
            {"label": "sentences", "protocols": ["text_to_window.fused", "text_to_window"], "metric": "R@10"},
            {"label": "pairs", "protocols": ["order_pairs.dtw"], "metric": "accuracy"},
        ],
        **changes,
    }
    path = run.folder / "tables.toml"
    path.write_text(tomli_w.dumps({"root": str(run.store), "seeds": list(SEEDS), "tables": [table]}))
    return path


def test_the_command_sets_methods_side_by_side(trained: SmallRun) -> None:
    page = trained.folder / "new" / "table.md"
    command = [*FABULA, "table", str(table_file(trained))]
    done = subprocess.run([*command, "--json", "--to", str(page)], capture_output=True, text=True, check=True, cwd=ROOT)
    ((four, ten),) = (table["rows"] for table in json.loads(done.stdout))
    pooled = [*FABULA, "pool", "--config", str(trained.config), "--name", "ten-seed0", "--name", "ten-seed1", "--json"]
    scores = json.loads(subprocess.run(pooled, capture_output=True, text=True, check=True, cwd=ROOT).stdout)
    for cell, key in zip(ten["cells"], (("text_to_window", "R@10"), ("order_pairs.dtw", "accuracy")), strict=True):
        (same,) = (score for score in scores if (score["protocol"], score["name"]) == key)
        assert cell["protocol"] == key[0]
        assert cell["per_seed"] == pytest.approx(same["per_seed"])
        assert cell["score"]["value"] == pytest.approx(same["value"])
        assert cell["num_queries"] == same["num_units"]
    for cell, base in zip(ten["cells"], four["cells"], strict=True):
        assert base["above"] is None
        assert cell["above"]["value"] == pytest.approx(cell["score"]["value"] - base["score"]["value"])
        assert cell["above"]["low"] <= cell["above"]["value"] <= cell["above"]["high"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "Ten, against Four" in text
    rows = [line for line in page.read_text().splitlines() if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["Four", "Ten"]
    assert {row.count("|") for row in rows} == {4}


@pytest.mark.parametrize(
    ("changes", "said", "code"),
    [
        (
            {"columns": [{"label": "x", "protocols": ["no_such"], "metric": "R@1"}]},
            "has not measured R@1 of no_such",
            2,
        ),
        ({"methods": [{"label": "x", "name": "never"}]}, "never-seed0: there is no sealed evaluation", 1),
        ({"methods": [{"label": "x", "name": "ten", "baseline": "y"}]}, "baseline 'y' of 'ten' is no name", 2),
        ({"methods": [{"label": "x", "nam": "ten"}]}, "did you mean 'name'", 2),
    ],
)
def test_what_is_not_there_is_named(trained: SmallRun, changes: dict[str, object], said: str, code: int) -> None:
    command = [*FABULA, "table", str(table_file(trained, **changes))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == code
    assert said in done.stderr


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load_tables(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("root =")
    with pytest.raises(ConfigError, match="is no TOML file"):
        load_tables(tmp_path / "broken.toml")


CONFIGS = sorted(path for path in REPRODUCE.glob("*.toml") if path.stem != "tables")


def test_methods_differ_in_nothing_but_the_objective_and_the_steps() -> None:
    """What is compared has one corpus, one set of features, one way to embed and measure, one encoder, equal steps."""
    configs = {path.stem: load_config(path) for path in CONFIGS}
    assert len({config.corpus for config in configs.values()}) == 1
    assert len({config.root for config in configs.values()}) == 1
    text_video = {name: config for name, config in configs.items() if name not in ("vclr", "places")}
    assert len(text_video) == 6
    for part in ("extract", "align", "embed", "evaluate"):
        assert len({repr(getattr(config, part)) for config in text_video.values()}) == 1
    objectives = {name: config.train.objective for name, config in text_video.items()}
    assert len({repr((found.sampling, found.batch_videos)) for found in objectives.values()}) == 1
    sizes = [
        found.encoder.model_dump(exclude={"fusion_layers", "max_video_len", "max_text_len"})
        for found in objectives.values()
    ]
    assert all(size == sizes[0] for size in sizes)
    steps = {name: config.train.optimisation.steps for name, config in text_video.items()}
    assert len({count for name, count in steps.items() if name not in ("start", "taco")}) == 1
    assert steps["taco"] == steps["start"] + steps["longer"]


def test_the_table_names_what_make_runs() -> None:
    tables = load_tables(REPRODUCE / "tables.toml")
    done = subprocess.run(["make", "-n", "reproduce", "INSTALL="], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [method.name for table in tables.tables for method in table.methods]
    assert len(names) == 8
    for name in names:
        config = name.partition("-")[0] if name.startswith("places") else name
        assert (REPRODUCE / f"{config}.toml").is_file()
        assert name in done.stdout
    assert done.stdout.count("fabula table") == 1
    assert list(tables.seeds) == [0, 1, 2]
    assert "for seed in 0 1 2" in done.stdout
    assert tables.root == load_config(CONFIGS[0]).root
