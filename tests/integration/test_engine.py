"""The run loop on small real stages: commit, resume, adoption, failures, retries; inline and Ray alike."""

import dataclasses
import errno
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.events import read_events
from pipeline.executors.base import Executor, Report
from pipeline.executors.inline import InlineExecutor
from pipeline.progress import LineProgress
from pipeline.run import Outcome, RunContext, UnitCrashed, run_stages
from pipeline.runs import list_runs, start_run
from pipeline.units import Generations, base_fingerprint, plan_stage, waves
from stages.artifacts import hashing
from stages.artifacts.durable import publish
from stages.artifacts.layout import Store
from stages.artifacts.sealed import Artifact
from stages.contract import Inputs, Stage
from stages.errors import FabulaError
from tests.toy_stages import Count, CountConfig, CountWorker, Relay, RelayConfig, Sum, SumConfig


@pytest.fixture
def words(tmp_path: Path) -> Path:
    folder = tmp_path / "words"
    folder.mkdir()
    for name, text in {"a": "one", "b": "three", "c": "bad", "d": "seven", "e": "ten"}.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def run(store: Path, words: Path, *, executor: Executor | None = None, factor: int = 1, **settings: object) -> Outcome:
    return run_all([Count(CountConfig(words=words, **settings)), Sum(SumConfig(factor=factor))], store, executor)


def run_all(stages: Sequence[Stage], store: Path, executor: Executor | None = None) -> Outcome:
    root = Store(store)
    context = RunContext(
        name="test",
        store=root,
        run=start_run(root, "cafe", b""),
        make_executor=lambda: executor or InlineExecutor(num_retries=0),
        view=LineProgress(),
    )
    return run_stages(stages, context)


def committed_bytes(store: Path) -> dict[str, str]:
    """Hash of every file that is part of an artifact."""
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.relative_to(store).parts[0] != "runs"
    }


def events(store: Path, kind: str) -> list[dict[str, str]]:
    return [e for r in list_runs(Store(store)) for e in read_events(r.events_path) if e["event"] == kind]


def total(outcome: Outcome) -> str:
    return outcome.artifacts["total"].paths("total.txt")[0].read_text()


def test_counts_add_up_and_failures_are_named(tmp_path: Path, words: Path) -> None:
    outcome = run(tmp_path / "store", words)
    assert outcome.totals["letters"] == {
        "units": 3, "inputs": 5, "successes": 4, "failures": 1, "causes": {"bad_word": 1},
    }  # fmt: skip
    assert total(outcome) == "16"


def test_rerun_does_nothing_and_keeps_the_bytes(tmp_path: Path, words: Path) -> None:
    store = tmp_path / "store"
    run(store, words)
    before = committed_bytes(store)

    class NoExecutor(InlineExecutor):
        def run(self, *arguments: object) -> Iterator[object]:  # type: ignore[override]
            raise AssertionError("a rerun without changes dispatched work")

    run(store, words, executor=NoExecutor())
    assert committed_bytes(store) == before
    assert len(events(store, "unit_committed")) == 4


def test_one_changed_file_redoes_one_unit_and_adopts_the_rest(tmp_path: Path, words: Path) -> None:
    store = tmp_path / "store"
    first = run(store, words)
    (words / "e.txt").write_text("eleven")
    second = run(store, words)
    assert total(second) == "19"
    assert len(events(store, "unit_adopted")) == 2
    kept = [
        a.path(r.file("table.txt"))
        for a in (first.artifacts["letters"], second.artifacts["letters"])
        for r in a.records[:2]
    ]
    assert kept[0].samefile(kept[2])
    assert kept[1].samefile(kept[3])


def test_plan_says_why(tmp_path: Path, words: Path) -> None:
    store = tmp_path / "store"
    first = run(store, words)
    stage = Sum(SumConfig(factor=2))
    inputs = Inputs(store=Store(store), artifacts=first.artifacts, previous={"total": [first.artifacts["total"]]})
    assert dict(plan_stage(stage, inputs).artifacts[0].reasons) == {"sum": "changed: config"}


def test_a_second_output_does_not_redo_the_first(tmp_path: Path, words: Path) -> None:
    store = tmp_path / "store"
    run(store, words)
    outcome = run(store, words, shout=True)
    assert len([e for e in events(store, "unit_committed") if e["label"] == "letters"]) == 3
    assert outcome.artifacts["capitals.shout"].paths("table.txt")[0].read_text() == "A.TXT 3\nB.TXT 5\n"


def test_a_bug_stops_the_run_and_keeps_what_is_committed(tmp_path: Path, words: Path) -> None:
    store = tmp_path / "store"
    (words / "z.txt").write_text("boom")
    (words / "y.txt").write_text("fine")
    with pytest.raises(UnitCrashed, match="a bug"):
        run(store, words, per_unit=1)
    assert len(list((store / "letters").glob("*/commits/*.json"))) == 6
    (words / "z.txt").write_text("mended")
    assert run(store, words, per_unit=1).totals["letters"]["successes"] == 6


@pytest.mark.parametrize("kind", ["inline", "ray"])
def test_a_full_disk_is_no_bug(tmp_path: Path, words: Path, kind: str) -> None:
    from pipeline.executors.ray import RayExecutor

    (words / "a.txt").write_text("full")
    executor = RayExecutor(num_workers=1, num_retries=0) if kind == "ray" else None
    with pytest.raises(FabulaError, match="No space left on device; make room"):
        run(tmp_path / "store", words, executor=executor)
    (words / "a.txt").write_text("one")
    assert run(tmp_path / "store", words).totals["letters"]["successes"] == 4


def test_a_worker_that_cannot_be_closed_stops_nothing(
    tmp_path: Path, words: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def close(_: CountWorker) -> None:
        raise RuntimeError("it will not end")

    monkeypatch.setattr(CountWorker, "close", close)
    results: list[Outcome] = []
    thread = threading.Thread(target=lambda: results.append(run(tmp_path / "store", words)), daemon=True)
    thread.start()
    thread.join(20)
    assert [outcome.totals["letters"]["successes"] for outcome in results] == [4]
    assert "it will not end" in caplog.text


def test_a_transient_error_leaves_the_unit_open_and_nothing_sealed(tmp_path: Path, words: Path) -> None:
    store = tmp_path / "store"
    (words / "a.txt").write_text("wait")
    outcome = run(store, words)
    assert list(outcome.open_units) == ["count/00000"]
    assert "letters" not in outcome.artifacts
    (words / "ready").touch()
    assert run(store, words).totals["letters"]["successes"] == 4


def test_retry_reopens_a_unit_and_adopts_the_others(tmp_path: Path, words: Path) -> None:
    store = tmp_path / "store"
    first = run(store, words)
    stage = Count(CountConfig(words=words))
    unit = stage.units(Inputs(store=Store(store), artifacts={}))[1]
    Generations(Store(store)).raise_all([base_fingerprint(stage, stage.outputs()[0], unit)])
    second = run(store, words)
    assert second.artifacts["letters"].fingerprint != first.artifacts["letters"].fingerprint
    assert len(events(store, "unit_adopted")) == 2


def test_a_flipped_byte_is_found(tmp_path: Path, words: Path) -> None:
    store = tmp_path / "store"
    artifact = run(store, words).artifacts["letters"]
    assert artifact.damaged_files() == []
    path = artifact.paths("table.txt")[0]
    path.write_bytes(b"X" + path.read_bytes()[1:])
    (problem,) = artifact.damaged_files()
    assert str(path) in problem


def test_files_that_cannot_be_read_are_found_one_by_one(
    tmp_path: Path, words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = run(tmp_path / "store", words).artifacts["letters"]
    lost, broken, *_ = artifact.paths("table.txt")
    lost.unlink()

    def hash_file(path: Path) -> str:
        if path == broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return hashing.hash_file(path)

    monkeypatch.setattr("stages.artifacts.sealed.hash_file", hash_file)
    first, second = artifact.damaged_files()
    assert f"{lost}: missing" in first
    assert f"{broken}: cannot be read (Input/output error" in second


def test_missing_events_are_written_by_the_next_run(tmp_path: Path, words: Path) -> None:
    store = tmp_path / "store"
    run(store, words)
    (first,) = list_runs(Store(store))
    lines = first.events_path.read_text().splitlines(keepends=True)
    first.events_path.write_text("".join(lines[:1]) + lines[1][:20])  # as a kill leaves it
    run(store, words)
    told = [(e["artifact"], e["unit"]) for e in events(store, "unit_committed")]
    assert len(told) == len(set(told)) == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_ray_makes_the_same_bytes_as_inline(tmp_path: Path, words: Path, workers: int) -> None:
    from pipeline.executors.ray import RayExecutor

    run(tmp_path / "inline", words)
    run(tmp_path / "ray", words, executor=RayExecutor(num_workers=workers, num_retries=0))
    assert committed_bytes(tmp_path / "ray") == committed_bytes(tmp_path / "inline")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("wanted", [{"num_cpus": 4096.0}, {"num_gpus": 64.0}], ids=["cores", "cards"])
def test_a_worker_that_wants_more_than_this_machine_has_starts_all_the_same(
    tmp_path: Path, words: Path, wanted: dict[str, float]
) -> None:
    """Threads are a setting that decides bytes, so that a small machine must do them, too; a card its worker misses."""
    from pipeline.executors.ray import RayExecutor

    outcome = run(tmp_path / "store", words, executor=RayExecutor(num_workers=2, num_retries=0), **wanted)
    assert outcome.totals["letters"]["successes"] == 4


def test_a_killed_worker_is_replaced(tmp_path: Path, words: Path) -> None:
    from pipeline.executors.ray import RayExecutor

    (words / "b.txt").write_text("die")
    outcome = run(tmp_path / "store", words, executor=RayExecutor(num_workers=1, num_retries=1))
    assert outcome.totals["letters"]["inputs"] == 5


def test_workers_have_the_priority_of_the_run_and_keep_freed_memory(
    tmp_path: Path, words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's default would let any other busy process starve them, and the C library's map all pages anew."""
    from pipeline.executors.ray import RayExecutor

    for name in ("MALLOC_ARENA_MAX", "RAY_worker_niceness"):
        monkeypatch.setenv(name, "")  # so that what the executor sets is taken back
        monkeypatch.delenv(name)
    (words / "b.txt").write_text("nice")
    run(tmp_path / "store", words, executor=RayExecutor(num_workers=1, num_retries=0))
    told = json.loads((words / "worker.json").read_text())
    assert (told["niceness"], told["arenas"]) == (os.nice(0), "1")


def test_a_worker_goes_on_to_a_stage_that_wants_no_more_than_it_has(tmp_path: Path, words: Path) -> None:
    from pipeline.executors.ray import RayExecutor

    (words / "b.txt").write_text("nice")
    executor = RayExecutor(num_workers=2, num_retries=0)

    def pid_of_worker(store: Store, num_cpus: float, per_unit: int) -> int:
        stage = Count(CountConfig(words=words, num_cpus=num_cpus, per_unit=per_unit))
        inputs = Inputs(store=store, artifacts={})
        plan = plan_stage(stage, inputs)
        (artifact,) = plan.artifacts
        publish(artifact.directory.description_path, artifact.description.to_bytes())
        reports = [message for message in executor.run(stage, inputs, plan.jobs()) if isinstance(message, Report)]
        assert {report.outcome for report in reports} == {"committed"}
        return int(json.loads((words / "worker.json").read_text())["pid"])

    pids = []
    try:
        for number, (num_cpus, per_unit) in enumerate([(2, 9), (1, 9), (2, 9), (1, 1), (2, 9)]):
            pids.append(pid_of_worker(Store(tmp_path / f"store{number}"), num_cpus, per_unit))
    finally:
        executor.close()
    assert pids[0] == pids[1] == pids[2]  # also where it has more than is wanted
    assert len({pids[2], pids[3], pids[4]}) == 3  # two small ones have no place beside it, nor a large one beside them


def test_seal_refuses_a_record_that_was_not_planned(tmp_path: Path, words: Path) -> None:
    from stages.errors import Corrupt

    artifact = run(tmp_path / "store", words).artifacts["letters"]
    commit = artifact.directory.commit_path("00000")
    record = json.loads(commit.read_text())
    record["fingerprint"] = "0" * 32
    commit.write_text(json.dumps(record))
    with pytest.raises(Corrupt, match="planned were"):
        Artifact(artifact.directory).seal()


def baton(store: Path, unit_id: str) -> str:
    return next(path.read_text() for path in store.glob(f"baton/*/baton-{unit_id}-*.txt"))


@pytest.mark.parametrize("kind", ["inline", "ray"])
def test_a_unit_reads_what_the_units_before_it_made(tmp_path: Path, kind: str) -> None:
    from pipeline.executors.ray import RayExecutor

    executor = RayExecutor(num_workers=2, num_retries=0) if kind == "ray" else None
    outcome = run_all([Relay(RelayConfig())], tmp_path, executor)
    assert outcome.totals["baton"]["successes"] == 3
    assert baton(tmp_path, "r2") == "r0r1r2"


def test_what_comes_after_an_open_unit_waits_for_the_next_run(tmp_path: Path) -> None:
    stage = Relay(RelayConfig(stumbles=tmp_path / "steady"))
    assert list(run_all([stage], tmp_path / "store").open_units) == ["relay/r1"]
    assert not list((tmp_path / "store").glob("baton/*/commits/r2.json"))
    (tmp_path / "steady").touch()
    run_all([stage], tmp_path / "store")
    assert baton(tmp_path / "store", "r2") == "r0r1r2"


def test_units_that_wait_for_each_other_are_a_bug(tmp_path: Path) -> None:
    stage = Relay(RelayConfig())
    jobs = plan_stage(stage, Inputs(store=Store(tmp_path), artifacts={})).jobs()
    assert [[job.unit.unit_id for job in wave] for wave in waves(jobs)] == [["r0"], ["r1"], ["r2"]]
    circle = [dataclasses.replace(job, unit=dataclasses.replace(job.unit, after=("r0", "r2"))) for job in jobs]
    with pytest.raises(ValueError, match="wait for each other"):
        waves(circle)


def test_a_unit_that_is_taken_over_is_adopted_whatever_its_identity_says(tmp_path: Path) -> None:
    first = run_all([Relay(RelayConfig(runners=3))], tmp_path).artifacts["baton"]
    taken = first.description.units["r0"].fingerprint
    second = run_all([Relay(RelayConfig(runners=4), first_is=taken)], tmp_path).artifacts["baton"]
    assert [event["unit"] for event in events(tmp_path, "unit_adopted")] == ["r0", "r1", "r2"]
    assert second.description.units["r0"].fingerprint == taken
    assert first.paths("baton.txt")[0].samefile(second.paths("baton.txt")[0])
