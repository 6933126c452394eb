"""Benchmarks as units of the evaluation: joined, counted, measured with the run's encoder, each redone alone."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load_config
from pipeline.plan import resolve
from stages.errors import ConfigError
from tests.benchmark_samples import (
    BACKGROUND,
    CorpusConfig,
    SmallBenchmarks,
    metrics_of,
    ranks_of,
    scores_of,
    write_json,
)
from tests.training_samples import STEPS

VIDEOS = {f"v{i}": tuple([i] * 5 + [(i + 1) % 6] * 5) for i in range(6)}


def youcook2(path: Path, videos: dict[str, list[tuple[float, float, str]]]) -> str:
    """An annotation file in YouCook2's layout."""
    database = {
        name: {
            "duration": 10.0,
            "subset": "validation",
            "recipe_type": "101",
            "video_url": "",
            "annotations": [
                {"segment": [start, end], "id": number, "sentence": sentence}
                for number, (start, end, sentence) in enumerate(clips)
            ],
        }
        for name, clips in videos.items()
    }
    return write_json(path, {"database": database})


def clip_benchmark(annotations: str, name: str = "cooking", **protocol: Any) -> dict[str, Any]:
    return {
        "name": name,
        "split": "val",
        "dataset": {"name": "youcook2", "annotations": annotations},
        "protocol": {"name": "clip_retrieval", **protocol},
    }


@pytest.fixture
def small(tmp_path: Path, step_encoder: Path) -> SmallBenchmarks:
    return SmallBenchmarks(root=tmp_path / "store", encoder=step_encoder, corpus=CorpusConfig(videos=VIDEOS))


@pytest.fixture
def annotations(tmp_path: Path) -> str:
    """The first scene of each video: every step once."""
    return youcook2(tmp_path / "youcook.json", {f"v{i}": [(0, 5, STEPS[i])] for i in range(6)})


def test_a_sentence_finds_the_clip_that_shows_it(small: SmallBenchmarks, annotations: str) -> None:
    metrics = small.measure(clip_benchmark(annotations))
    for protocol in ("text_to_clip", "clip_to_text"):
        assert scores_of(metrics, protocol)["R@1"] == 1.0
        assert metrics["protocols"][protocol]["scores"]["R@1"]["chance"] == pytest.approx(1 / 6, abs=1e-6)
        assert metrics["protocols"][protocol]["scores"]["R@1"]["legacy"] == 1.0
    assert metrics["split"]["num_videos"] == metrics["split"]["num_measured"] == 6
    assert metrics["encoder"]["features"] == "s3d preset test, weights random:seed=0"
    assert "R@1" in metrics["protocols"]["text_to_clip"]["scores"]


def test_only_the_first_rows_of_a_clip_count(small: SmallBenchmarks, tmp_path: Path) -> None:
    whole = youcook2(tmp_path / "a.json", {f"v{i}": [(0, 10, STEPS[i])] for i in range(6)})
    second = youcook2(tmp_path / "b.json", {f"v{i}": [(0, 10, STEPS[(i + 1) % 6])] for i in range(6)})
    assert scores_of(small.measure(clip_benchmark(whole, max_rows=5)), "text_to_clip")["R@1"] == 1.0
    assert scores_of(small.measure(clip_benchmark(second, max_rows=5)), "text_to_clip")["R@1"] == 0.0


def test_equal_clips_tie_by_our_rule_and_by_the_published_one(small: SmallBenchmarks, tmp_path: Path) -> None:
    twins = youcook2(tmp_path / "twins.json", {"v0": [(0, 5, STEPS[0])], "v1": [(0, 4, STEPS[1]), (0, 4, STEPS[1])]})
    corpus = CorpusConfig(videos={"v0": VIDEOS["v0"], "v1": VIDEOS["v1"]})
    metrics = replace(small, corpus=corpus).measure(clip_benchmark(twins))
    found = metrics["protocols"]["text_to_clip"]
    assert (found["num_queries"], found["gallery_size"]) == (3, 2)  # two sentences about one clip share it
    assert found["scores"]["R@1"]["value"] == 1.0
    # The other way the two sentences are right answers together, which the published rule does not know.
    assert metrics["protocols"]["clip_to_text"]["scores"]["R@1"]["legacy"] is None


def test_what_is_missing_is_counted_and_explained(small: SmallBenchmarks, tmp_path: Path) -> None:
    videos = {**VIDEOS, "v6": (0,) * 5, "v7": (BACKGROUND,) * 4}
    corpus = CorpusConfig(videos=videos, damaged={"v6": tuple(range(5)), "v1": (0, 1)}, failed=("v7",))
    listed = {f"v{i}": [(0, 5, STEPS[i % 6])] for i in range(8)} | {"gone": [(0, 5, STEPS[0])]}
    outcome = replace(small, corpus=corpus).run(clip_benchmark(youcook2(tmp_path / "y.json", listed)))
    metrics = metrics_of(outcome, "cooking")
    assert metrics["split"]["missing"] == {
        "absent": {"count": 1, "first": ["gone"]},
        "without_features": {"count": 1, "first": ["v7"]},
        "damaged": {"count": 1, "first": ["v6"]},
    }
    assert (metrics["split"]["num_videos"], metrics["split"]["num_measured"]) == (9, 6)
    assert metrics["split"]["source"].startswith("6 of 9 videos are scored; 1 are absent (gone)")
    assert metrics["protocols"]["text_to_clip"]["num_queries"] == 6
    page = outcome.artifacts["evaluation"].path_in("cooking", "report.html").read_text()
    assert "1 × decode_error" in page
    assert "v7.mp4: damaged" in page


def test_a_clip_whose_rows_are_all_damaged_is_left_out(small: SmallBenchmarks, annotations: str) -> None:
    corpus = CorpusConfig(videos=VIDEOS, damaged={"v2": tuple(range(5))})
    metrics = replace(small, corpus=corpus).measure(clip_benchmark(annotations))
    found = metrics["protocols"]["text_to_clip"]
    assert (found["num_queries"], found["missing"]) == (5, {"clips_without_intact_row": 1})
    assert found["scores"]["R@1"]["value"] == 1.0


def test_too_little_to_measure_is_said(small: SmallBenchmarks, tmp_path: Path) -> None:
    one = youcook2(tmp_path / "one.json", {"v0": [(0, 5, STEPS[0])], "gone": [(0, 5, STEPS[1])]})
    metrics = small.measure(clip_benchmark(one))
    assert "1 annotated clips can be measured" in metrics["protocols"]["text_to_clip"]["not_evaluated"]


def made(outcome: Any) -> dict[str, str]:
    """Fingerprint of each unit."""
    artifact = outcome.artifacts["evaluation"]
    return {unit_id: unit.fingerprint for unit_id, unit in artifact.description.units.items()}


def test_a_benchmark_more_or_a_video_more_redoes_no_other(
    small: SmallBenchmarks, annotations: str, tmp_path: Path
) -> None:
    first = made(small.run(clip_benchmark(annotations)))
    second = made(small.run(clip_benchmark(annotations), clip_benchmark(annotations, "five", max_rows=5)))
    assert {unit for unit in second if second[unit] != first.get(unit)} == {"five"}
    more = replace(small, corpus=CorpusConfig(videos={**VIDEOS, "v9": (1, 2)}))
    third = made(more.run(clip_benchmark(annotations)))
    assert {unit for unit in third if third[unit] != first[unit]} == {"set"}
    named = {f"v{i}": [(0, 5, STEPS[i % 6])] for i in (*range(6), 9)}
    fourth = made(more.run(clip_benchmark(youcook2(tmp_path / "y.json", named))))
    assert fourth["cooking"] != first["cooking"]


def test_same_inputs_same_bytes_wherever_the_files_lie(
    small: SmallBenchmarks, annotations: str, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere" / "youcook.json"
    moved.parent.mkdir()
    moved.write_bytes(Path(annotations).read_bytes())
    records = []
    for folder, path in (("a", annotations), ("b", str(moved))):
        outcome = replace(small, root=tmp_path / folder).run(clip_benchmark(path))
        records.append(outcome.artifacts["evaluation"].record("cooking"))
        page = outcome.artifacts["evaluation"].path_in("cooking", "report.html").read_text()
        assert str(tmp_path) not in page
    assert records[0].to_bytes() == records[1].to_bytes()
    assert ranks_of(outcome, "cooking", "text_to_clip")["v0/c0000"] == 1.0


BAD = [
    ({"dataset": {"name": "youcook2", "annotationz": "x"}}, r"annotationz: there is no such key; did you mean 'annot"),
    ({"protocol": {"name": "clip_retrieval", "max_row": 3}}, r"max_row: there is no such key; did you mean 'max_rows'"),
    ({"dataset": {"name": "youcook3", "annotations": "x"}}, r"dataset: got .*'youcook2'"),
    ({"name": "set"}, r"own set of narrations; choose another name"),
]


def config_with(folder: Path, benchmark: dict[str, Any]) -> Path:
    import tomli_w

    path = folder / "run.toml"
    settings = {"root": "store", "ingest": {"media": "videos"}, "evaluate": {"benchmarks": [benchmark]}}
    path.write_text(tomli_w.dumps(settings))
    return path


@pytest.mark.parametrize(("change", "message"), BAD)
def test_a_wrong_key_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(config_with(tmp_path, clip_benchmark("x.json") | change))


def test_a_file_that_is_not_there_is_named_before_any_work(tmp_path: Path) -> None:
    config = load_config(config_with(tmp_path, clip_benchmark("none.json")))
    with pytest.raises(ConfigError, match=r"\[\[evaluate.benchmarks\]\] cooking: dataset.annotations = .*none.json"):
        resolve(config)


def test_two_benchmarks_of_one_name_are_refused(small: SmallBenchmarks, annotations: str) -> None:
    with pytest.raises(ValueError, match="'cooking' stands twice"):
        small.run(clip_benchmark(annotations), clip_benchmark(annotations))


def test_a_configuration_with_benchmarks_writes_itself(tmp_path: Path) -> None:
    config = load_config(config_with(tmp_path, clip_benchmark("x.json")))
    again = tmp_path / "again.toml"
    again.write_bytes(config.to_toml())
    assert load_config(again).evaluate == config.evaluate


def test_joining_a_data_set_imports_neither_torch_nor_numba() -> None:
    code = (
        "import sys; import stages.evaluate, stages.datasets.catalogue, stages.datasets.pickled;"
        "print([m for m in ('torch', 'ray', 'faiss', 'numba', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
