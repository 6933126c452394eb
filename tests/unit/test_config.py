"""What a configuration must refuse, and how it says so."""

from pathlib import Path

import pytest

from pipeline.config import load_config
from stages.errors import ConfigError
from tests.small_run import SmallRun


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return SmallRun(tmp_path).write().config


@pytest.mark.parametrize("name", ["a b", "../x", "a/b", "line\\nbreak", ""])
def test_a_name_is_one_word(config: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name: got"):
        load_config(config, [f'name="{name}"'])


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
