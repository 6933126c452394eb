"""A small corpus through every stage by the real command line: what is redone, what is adopted, who opens it."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import faiss
import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from safetensors.numpy import load_file

from tests.small_run import FABULA, ROOT, SmallRun, copy_run


def sealed(run: SmallRun) -> dict[str, dict[str, object]]:
    return {artifact["label"]: artifact for artifact in run.json("status")["artifacts"]}


def to_do(run: SmallRun, *arguments: str) -> dict[str, dict[str, int]]:
    plans = run.json("plan", *arguments)
    return {a["label"]: a for stage in plans for a in stage.get("artifacts", ())}


def test_every_stage_is_sealed_and_the_counts_add_up(small_run: SmallRun) -> None:
    found = sealed(small_run)
    assert list(found) == [
        "manifest", "features.s3d", "thumbnails", "paragraphs", "checkpoint", "embeddings", "index", "evaluation",
    ]  # fmt: skip
    assert all(artifact["sealed"] for artifact in found.values())
    assert found["manifest"]["inputs"] == found["features.s3d"]["successes"] == 20
    assert found["features.s3d"]["about"]["weights"] == "random:seed=0"


def test_vanilla_libraries_open_what_it_made(small_run: SmallRun) -> None:
    store = small_run.store
    for tar in store.glob("features/*/shards/*.tar"):
        samples = list(webdataset.WebDataset(str(tar), shardshuffle=False))
        assert samples
        for sample in samples:
            features = np.load(io.BytesIO(sample["s3d.npy"]))
            spans = np.load(io.BytesIO(sample["spans.npy"]))
            assert features.dtype == np.float16
            assert features.shape == (len(spans), 1024)
            assert json.loads(sample["json"])["weights"] == "random:seed=0"
        with tarfile.open(tar) as archive:
            assert [member.name for member in archive] == [m.name for m in archive.getmembers()]
    (index,) = store.glob("index/*/clips-*.faiss")
    (clips,) = store.glob("index/*/clips-*.parquet")
    assert faiss.read_index(str(index)).ntotal == pq.read_table(clips).num_rows > 0
    (weights,) = store.glob("checkpoint/*/model-*.safetensors")
    assert all(np.isfinite(tensor).all() for tensor in load_file(str(weights)).values())
    for table in store.glob("*/*/*.parquet"):
        pq.read_table(table)
    assert not [path for path in store.rglob("*") if path.suffix in {".pkl", ".pickle", ".pt", ".pth"}]


def test_nothing_that_is_committed_names_this_machine(small_run: SmallRun) -> None:
    for name, content in small_run.committed().items():
        assert str(small_run.folder).encode() not in content, name


def test_a_rerun_imports_neither_torch_nor_ray_and_makes_nothing(small_run: SmallRun) -> None:
    before = small_run.committed()
    code = (
        "import sys; from pipeline.cli import main\n"
        "sys.argv[1:] = ['run', '--config', sys.argv[1], '--executor', 'ray']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('imported', [m for m in ('torch', 'ray', 'faiss', 'av', 'numba') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(small_run.config)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "imported []" in done.stdout
    assert small_run.committed() == before


@pytest.mark.parametrize(
    ("change", "redone"),
    [
        ({"index__seed": 1}, {"index"}),
        ({"evaluate__num_resamples": 150}, {"evaluation"}),
        ({"embed__stride_s": 4.0}, {"embeddings"}),
        ({"train__seed": 1}, {"checkpoint"}),
        ({"align__max_sentences": 3}, {"paragraphs"}),
        ({"extract__s3d": {"seed": 1}}, {"features.s3d"}),
        ({"executor": {"kind": "ray", "workers": 2}}, set()),
    ],
)
def test_a_changed_setting_redoes_its_stage_and_says_so(
    small_run: SmallRun, tmp_path: Path, change: dict[str, object], redone: set[str]
) -> None:
    run = SmallRun(tmp_path).write(
        root=str(small_run.store),
        ingest__media=str(small_run.videos),
        train__splits=str(small_run.folder / "corpus" / "splits.csv"),
    )
    base = {"root": str(small_run.store), "ingest__media": str(small_run.videos)}
    splits = str(small_run.folder / "corpus" / "splits.csv")
    run.write(**base, train__splits=splits, **{"evaluate__splits": splits, **change})
    plans = to_do(run)
    assert {label for label, artifact in plans.items() if artifact["run"]} == redone
    for label in redone:
        (reason,) = plans[label]["why"]
        assert reason.startswith("changed: ")


def test_one_more_video_and_one_edited_transcript(small_run: SmallRun, tmp_path: Path) -> None:
    run = copy_run(small_run, tmp_path)
    shutil.copy(run.videos / "demo-0000.mp4", run.videos / "zz-new.mp4")
    with (run.videos / "zz-new.mp4").open("ab") as file:
        file.write(b"\0\0\0\x08free")  # another content, the same film
    edited = run.videos / "demo-0003.vtt"
    edited.write_text(edited.read_text().replace("\n\n", "\n\n", 1) + "\n00:01:00.000 --> 00:01:02.000\nand the end\n")
    run.fabula("run", "--until", "extract")
    plans = to_do(run)
    features = sealed(run)["features.s3d"]
    assert (features["units"], features["inputs"]) == (5, 21)
    adopted = [e for e in run.events("unit_adopted") if e["label"] == "features.s3d"]
    made = [e for e in run.events("unit_committed") if e["artifact"] == features["artifact"]]
    assert (len(adopted), len(made)) == (4, 1)
    assert plans["paragraphs"]["run"] == 2  # the edited one's unit, and the unit that got the new video
    shards = sorted((run.store / str(features["artifact"])).glob("shards/*.tar"))
    assert sorted(path.stat().st_nlink for path in shards) == [1, 2, 2, 2, 2]


@pytest.mark.parametrize("workers", [1, 2])
def test_ray_makes_the_same_bytes(small_run: SmallRun, tmp_path: Path, workers: int) -> None:
    splits = str(small_run.folder / "corpus" / "splits.csv")
    run = SmallRun(tmp_path).write(
        executor={"kind": "ray", "workers": workers},
        ingest__media=str(small_run.videos),
        train__splits=splits,
        evaluate__splits=splits,
    )
    run.fabula("run")
    assert run.committed() == small_run.committed()


def test_query_answers_in_text_and_json(small_run: SmallRun) -> None:
    text = small_run.fabula("query", "the red square spins").stdout
    assert "random:seed=0" in text
    answer = small_run.json("query", "the red square spins", "-k", "3")
    assert len(answer["hits"]) == 3
    assert {"video_id", "path", "start_s", "end_s", "score", "text"} == set(answer["hits"][0])
    paragraph = small_run.fabula("query", "--paragraph", "-", "--json", stdin="it spins\nthen it hops\n").stdout
    (first, *_) = json.loads(paragraph)["hits"]
    assert [sentence["text"] for sentence in first["sentences"]] == ["it spins", "then it hops"]
    like = small_run.json("query", "--like", "demo-0001.mp4")
    assert like["hits"]
    assert all(hit["video_id"] != "demo-0001" for hit in like["hits"])
    assert "one question" in small_run.fabula("query", "a", "--like", "b", code=2).stderr


def test_a_moved_bundle_answers_alone(small_run: SmallRun, tmp_path: Path) -> None:
    (bundle,) = (small_run.store / "index").iterdir()
    shutil.copytree(bundle, tmp_path / "moved")
    command = [*FABULA, "query", "--bundle", str(tmp_path / "moved"), "it"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "1. demo-" in done.stdout


def test_an_exported_checkpoint_embeds_another_corpus(small_run: SmallRun, tmp_path: Path) -> None:
    small_run.fabula("export", "--to", str(tmp_path / "encoder"))
    run = frozen(small_run, tmp_path / "run", str(tmp_path / "encoder"))
    run.fabula("run")
    assert run.json("query", "a red square")["encoder"] == small_run.json("query", "a red square")["encoder"]
    for taken in (tmp_path / "encoder", run.config):
        assert "not empty" in small_run.fabula("export", "--to", str(taken), code=2).stderr


def test_verify_finds_a_flipped_byte(small_run: SmallRun, tmp_path: Path) -> None:
    assert small_run.json("verify")["problems"] == []
    run = copy_run(small_run, tmp_path)
    tar = next(run.store.glob("features/*/shards/*.tar"))
    content = bytearray(tar.read_bytes())
    content[len(content) // 2] ^= 1
    tar.write_bytes(content)
    (problem,) = run.json("verify", code=1)["problems"]
    assert tar.name in problem
    Path(problem.split("delete ")[1].split(" and run again")[0]).unlink()
    run.fabula("run")
    assert run.json("verify")["problems"] == []
    assert run.committed() == small_run.committed()


def test_prune_is_dry_unless_told(small_run: SmallRun, tmp_path: Path) -> None:
    run = copy_run(small_run, tmp_path)
    run.write(index__seed=1)
    run.fabula("run")
    found = run.json("prune")
    assert len(found["paths"]) >= 1
    assert all((run.store / path).exists() for path in found["paths"])
    run.fabula("prune", "--yes")
    assert not any((run.store / path).exists() for path in found["paths"])
    assert run.json("verify")["problems"] == []


def test_only_needs_what_is_before_it(small_run: SmallRun, tmp_path: Path) -> None:
    small_run.fabula("run", "--only", "index")
    splits = str(small_run.folder / "corpus" / "splits.csv")
    run = SmallRun(tmp_path).write(ingest__media=str(small_run.videos), train__splits=splits, evaluate__splits=splits)
    assert "not sealed" in run.fabula("run", "--only", "index", code=2).stderr


def test_retry_redoes_the_units_with_failures(small_run: SmallRun, tmp_path: Path) -> None:
    run = copy_run(small_run, tmp_path)
    assert run.json("retry") == []
    (run.videos / "zz-text.mp4").write_text("no video\n" * 99)
    run.fabula("run", "--until", "ingest")
    assert run.json("retry") == ["ingest/00002"]
    run.fabula("run", "--until", "ingest")
    assert run.json("retry") == ["ingest/00002"]


def frozen(small_run: SmallRun, tmp_path: Path, encoder: str) -> SmallRun:
    """The same corpus with an encoder that is not trained here, without transcripts and splits."""
    run = SmallRun(tmp_path).write(encoder=encoder)
    kept = [line for line in run.config.read_text().splitlines() if not line.startswith("splits =")]
    run.config.write_text("\n".join(kept))
    run.videos.mkdir(parents=True)
    for video in sorted(small_run.videos.glob("*.mp4"))[:6]:
        shutil.copy(video, run.videos)
    return run


def test_without_captions_and_weights_it_says_random_and_answers_like(small_run: SmallRun, tmp_path: Path) -> None:
    run = frozen(small_run, tmp_path, "auto")
    run.fabula("run")
    answer = run.json("query", "--like", "demo-0000")
    assert answer["random_weights"] is True
    assert answer["hits"]
    assert "random weights" in run.fabula("query", "anything").stdout


def test_imported_features_take_the_place_of_extracted_ones(small_run: SmallRun, tmp_path: Path) -> None:
    run = frozen(small_run, tmp_path / "run", "s3d-text")
    others = tmp_path / "others"
    others.mkdir()
    for tar in small_run.store.glob("features/*/shards/s3d-*.tar"):
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False):
            np.save(others / f"{sample['__key__']}.npy", np.load(io.BytesIO(sample["s3d.npy"])))
    run.fabula("import features", str(others), "--rate", "0.5")
    run.fabula("run", config=run.store)  # the newest run of the store knows of them
    assert "thumbnails" not in sealed(run)
    assert "imported:" in run.fabula("query", "--like", "demo-0000", "--json", config=run.store).stdout
    features = next(run.store.glob("features/*"))
    extracted = next(small_run.store.glob("features/*"))
    comparison = json.loads(run.fabula("verify", "--compare", str(features), str(extracted), "--json").stdout)
    assert comparison


def test_a_clip_model_without_training(small_run: SmallRun, tmp_path: Path) -> None:
    from tests.clip_factory import save_random_clip

    model = save_random_clip(tmp_path / "clip")
    run = frozen(small_run, tmp_path / "run", f"clip:{model}")
    run.fabula("run")
    assert "features.clip" in sealed(run)
    assert run.json("query", "a red square")["hits"]
