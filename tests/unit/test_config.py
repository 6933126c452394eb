"""What a configuration must refuse, and how it says so."""

import codecs
import shutil
from pathlib import Path

import pytest

from pipeline import commands
from pipeline.config import load_config
from pipeline.runs import list_runs, start_run
from stages.artifacts.layout import Store
from stages.errors import ConfigError
from stages.training.objectives import VideoCLIPSettings
from tests.small_run import SmallRun


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return SmallRun(tmp_path).write().config


@pytest.mark.parametrize("name", ["a b", "../x", "a/b", "line\nbreak", ""])
def test_a_name_is_one_word(config: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name: got"):
        load_config(config, [f"name={name}"])


@pytest.mark.parametrize("name", ["../../x", "a/b", "A", "a b"])
def test_the_name_of_a_benchmark_is_a_file_name(config: Path, name: str) -> None:
    dataset, protocol = '{name="youcook2", annotations="x.json"}', '{name="clip_retrieval"}'
    benchmark = f'evaluate.benchmarks=[{{name="{name}", dataset={dataset}, protocol={protocol}}}]'
    with pytest.raises(ConfigError, match=r"evaluate\.benchmarks\.0\.name: got"):
        load_config(config, [benchmark])


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("=3", "expected section.key=value"),
        ("ingest.media.x=3", "'media' is a value, not a section"),
        ("ingest.medai=x", "did you mean 'media'"),
        ("root=x\udcff", "no UTF-8"),
    ],
)
def test_an_override_that_cannot_be_is_explained(config: Path, override: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_config(config, [override])


@pytest.mark.parametrize("text", ["2024-05-01", "2024", "true", "'x'", '"x"', "[a]", "1e3", " x", "a=b", "a # b"])
def test_a_path_or_a_text_is_taken_as_it_stands(config: Path, text: str) -> None:
    paths = ("ingest.media", "root", "align.captions", "train.start", "train.objective.bert")
    found = load_config(config, [f"{key}={text}" for key in (*paths, "encoder")])
    objective = found.train.objective
    assert isinstance(objective, VideoCLIPSettings)
    assert {found.ingest.media, found.root, found.align.captions, found.train.start, objective.bert} == {Path(text)}
    assert found.encoder == text


def test_any_other_value_is_in_toml_s_spelling(config: Path) -> None:
    settings = ["name=0", "executor.kind=ray", 'executor.kind="ray"', "train.seed=7", 'index.without=["a.mp4"]']
    found = load_config(config, settings)
    assert (found.name, found.executor.kind, found.train.seed, found.index.without) == ("0", "ray", 7, ("a.mp4",))


def test_a_byte_order_mark_is_no_part_of_the_file(config: Path) -> None:
    plain = load_config(config)
    config.write_bytes(codecs.BOM_UTF8 + config.read_bytes())
    assert load_config(config) == plain


def store_with_garbage(root: Path, config: Path) -> None:
    """Runs of one configuration, and what a kill left."""
    settings = load_config(config, [f"root={root}"])
    for name in ("small", "other"):
        run = start_run(Store(root), "cafe", settings.model_copy(update={"name": name}).to_toml())
        run.write_plan(name, [], [])
    (root / "manifest" / "0123456789ab").mkdir(parents=True)
    (root / "manifest" / "0123456789ab" / "artifact.json").write_text("{}")


def test_a_folder_of_a_store_or_run_means_the_store_that_it_lies_in(config: Path, tmp_path: Path) -> None:
    store_with_garbage(tmp_path / "first", config)
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    (tmp_path / "link").symlink_to("copy")
    newest, oldest = (run.path.name for run in list_runs(Store(tmp_path / "copy")))
    for path, name in (("copy", "other"), ("link", "other"), (f"copy/runs/{oldest}", "small")):
        found = load_config(tmp_path / path)
        assert (found.root, found.name) == (tmp_path / "copy", name)
    assert load_config(tmp_path / "copy" / "runs" / newest, ["root=else"]).root == Path("else")
    (tmp_path / "first").rename(tmp_path / "moved")
    assert load_config(tmp_path / "moved").root == tmp_path / "moved"
    assert commands.prune(load_config(tmp_path / "copy"), delete=True)["paths"] == ["manifest/0123456789ab"]
    assert (tmp_path / "moved" / "manifest" / "0123456789ab").is_dir()


def test_a_folder_that_is_no_store_has_the_root_that_its_file_names(config: Path, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    config.rename(tmp_path / "project" / "config.toml")
    assert load_config(tmp_path / "project").root == tmp_path / "store"
    with pytest.raises(ConfigError, match="there is no such file"):
        load_config(tmp_path)
