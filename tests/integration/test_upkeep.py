"""Keeping a store: what prune may delete and when, what verify says, and two runs at once."""

import fcntl
import shutil
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from pipeline.events import EventLog, read_events
from pipeline.executors.inline import InlineExecutor
from pipeline.locks import is_taken, unused, used
from pipeline.progress import LineProgress
from pipeline.run import Outcome, RunContext, run_stages
from pipeline.runs import list_runs, start_run
from pipeline.upkeep import delete, find_garbage, newest_artifacts, verify_artifacts
from stages.artifacts.layout import DOOMED, Store
from stages.contract import Failure, Out, Stage, Unit
from stages.errors import ConfigError, TransientError
from tests.toy_stages import Count, CountConfig, CountWorker, Sum, SumConfig

LABELS = ("letters", "total")


@pytest.fixture
def words(tmp_path: Path) -> Path:
    folder = tmp_path / "words"
    folder.mkdir()
    for name in "abcdef":
        (folder / f"{name}.txt").write_text(name * 3)
    return folder


def run(root: Path, stages: Sequence[Stage], name: str = "test") -> Outcome:
    store = Store(root)
    context = RunContext(
        name=name,
        store=store,
        run=start_run(store, "cafe", b""),
        make_executor=lambda: InlineExecutor(num_retries=0),
        view=LineProgress(),
        makes=LABELS,
    )
    return run_stages(stages, context)


def run_both(root: Path, words: Path, *, factor: int = 1, **settings: object) -> Outcome:
    return run(root, [Count(CountConfig(words=words, **settings)), Sum(SumConfig(factor=factor))])


def test_a_run_that_stops_early_costs_nothing_of_what_came_later(tmp_path: Path, words: Path) -> None:
    root = tmp_path / "store"
    whole = run_both(root, words)
    run(root, [Count(CountConfig(words=words))])
    assert find_garbage(Store(root)) == []
    found = newest_artifacts(Store(root), "test")
    assert [artifact.fingerprint for artifact in found] == [whole.artifacts[label].fingerprint for label in LABELS]


def test_what_a_newer_sealed_artifact_replaces_is_garbage(tmp_path: Path, words: Path) -> None:
    root = tmp_path / "store"
    old = run_both(root, words)
    run_both(root, words, factor=2)
    assert find_garbage(Store(root)) == [old.artifacts["total"].directory.path]


def test_the_sealed_one_is_needed_until_the_newer_one_is_sealed(tmp_path: Path, words: Path) -> None:
    root = tmp_path / "store"
    old = run_both(root, words)
    (words / "a.txt").write_text("wait")
    assert run_both(root, words).open_units
    assert find_garbage(Store(root)) == []
    assert newest_artifacts(Store(root), "test")[0].fingerprint != old.artifacts["letters"].fingerprint


def test_what_a_configuration_no_longer_makes_is_garbage(tmp_path: Path, words: Path) -> None:
    root = tmp_path / "store"
    shouted = run(root, [Count(CountConfig(words=words, shout=True))], name="test")
    assert find_garbage(Store(root)) == [shouted.artifacts["capitals.shout"].directory.path]


def test_an_input_that_two_artifacts_lack_has_failed_once(tmp_path: Path, words: Path) -> None:
    (words / "b.txt").write_text("bad")
    (words / "e.txt").write_text("bad")
    outcome = run_both(tmp_path / "store", words, shout=True)
    assert sum(totals["failures"] for totals in outcome.totals.values()) == 4
    assert outcome.failed_inputs == {"b.txt", "e.txt"}


def test_folders_of_the_user_are_never_garbage(tmp_path: Path, words: Path) -> None:
    root = tmp_path / "store"
    run_both(root, words)
    (root / "videos" / "holiday").mkdir(parents=True)
    (root / "videos" / "holiday" / "beach.mp4").write_bytes(b"irreplaceable")
    assert find_garbage(Store(root)) == []


def test_a_kill_in_the_middle_of_a_deletion_leaves_no_artifact_that_looks_whole(
    tmp_path: Path, words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    run_both(root, words)
    run_both(root, words, per_unit=3)

    def die(path: Path) -> None:
        next(path.rglob("*.txt")).unlink()
        raise KeyboardInterrupt

    garbage = find_garbage(Store(root))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            delete(garbage)
    assert run_both(root, words).totals["letters"]["successes"] == 6
    (left,) = [path for path in find_garbage(Store(root)) if path.name.startswith(DOOMED)]
    delete([left])
    assert not left.exists()


def test_what_kills_leave_in_an_artifact_that_is_needed_is_garbage(tmp_path: Path, words: Path) -> None:
    root = tmp_path / "store"
    letters = run_both(root, words).artifacts["letters"].directory
    half_deleted = letters.path / f"{DOOMED}staging-0"
    for folder in (
        half_deleted,
        letters.staging_dir / "00000.x",
        letters.scratch_dir("00000"),
        letters.scratch_dir("9"),
    ):
        folder.mkdir(parents=True)
    half_copied = letters.path / f".table.txt.{'0' * 32}"
    half_copied.write_bytes(b"abc")
    garbage = find_garbage(Store(root))
    assert garbage == [half_copied, half_deleted, letters.staging_dir, letters.scratch_dir("00000")]  # unit 9 is open
    delete(garbage)
    assert find_garbage(Store(root)) == []


def test_a_log_is_marked_while_others_ask_whether_it_is(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with path.open("w") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        waiting = threading.Timer(0.2, asking.close)
        waiting.start()
        log = EventLog(path)
        waiting.join()
    assert is_taken(path)
    log.close()
    assert not is_taken(path)


def test_nothing_is_garbage_where_no_run_is_recorded(tmp_path: Path, words: Path) -> None:
    root = tmp_path / "store"
    run_both(root, words)
    shutil.rmtree(root / "runs")
    with pytest.raises(ConfigError, match="runs/ records no run"):
        find_garbage(Store(root))


def test_a_store_at_work_is_not_pruned(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with used(store), used(store), pytest.raises(TransientError, match="a run is at work"), unused(store):
        pass
    with unused(store):
        pass


def test_what_verify_says_to_delete_mends_an_adopted_file(tmp_path: Path, words: Path) -> None:
    root = tmp_path / "store"
    run_both(root, words)
    before = (words / "f.txt").read_text()
    (words / "f.txt").write_text("new")
    letters = run_both(root, words).artifacts["letters"]
    path = letters.paths("table.txt")[0]
    whole = path.read_bytes()
    path.write_bytes(b"X" + whole[1:])
    (problem,) = verify_artifacts([letters])["problems"]
    for record in problem.split("delete ")[1].split(" and run again")[0].split(" and "):
        Path(record).unlink()
    run_both(root, words)
    assert path.read_bytes() == whole
    assert verify_artifacts([letters])["problems"] == []
    (words / "f.txt").write_text(before)  # the artifact of before still has the damaged file, without a record
    again = run_both(root, words).artifacts["letters"]
    assert again.directory != letters.directory
    assert verify_artifacts([again])["problems"] == []


def test_a_unit_whose_files_are_gone_is_made_again_rather_than_adopted(tmp_path: Path, words: Path) -> None:
    root = tmp_path / "store"
    run_both(root, words).artifacts["letters"].paths("table.txt")[0].unlink()
    (words / "f.txt").write_text("new")
    assert run_both(root, words).totals["letters"]["successes"] == 6
    assert Counter(event["event"] for event in _events(root))["unit_adopted"] == 1


def test_runs_at_once_do_and_tell_of_each_unit_once(
    tmp_path: Path, words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    done: list[str] = []
    process = CountWorker.process

    def counted(worker: CountWorker, unit: Unit, out: Out) -> Iterable[Failure]:
        done.append(unit.unit_id)
        assert not list(out.scratch_dir("letters").glob("mine"))  # nobody else is in it
        (out.scratch_dir("letters") / "mine").touch()
        return process(worker, unit, out)

    monkeypatch.setattr(CountWorker, "process", counted)
    outcomes: list[Outcome] = []

    def work() -> None:
        outcomes.append(run_both(root, words, per_unit=1, pause_s=0.05))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.totals["letters"]["successes"] for outcome in outcomes] == [6, 6, 6]
    assert sorted(done) == [f"{number:05d}" for number in range(6)]
    assert find_garbage(Store(root)) == []
    run_both(root, words, per_unit=1)
    told = Counter((event["artifact"], event["unit"]) for event in _events(root) if event["event"] == "unit_committed")
    assert set(told.values()) == {1}
    assert len(told) == 7


def _events(root: Path) -> list[dict[str, str]]:
    return [event for run in list_runs(Store(root)) for event in read_events(run.events_path)]
