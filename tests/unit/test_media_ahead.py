"""Decoding ahead: order, attempts, quarantine, and an early end."""

import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from stages.errors import DeadlineExceeded, SampleError
from stages.media.ahead import DecodeCrew, Decoded, Decoding, Item, Job, Refused
from stages.media.attempts import AttemptLog
from stages.media.consumers import GridConsumer
from stages.media.geometry import Geometry
from stages.media.makers import ThumbnailMaker
from stages.media.passes import Passes
from stages.media.process import IsolationSettings
from stages.media.ring import RING_BYTES
from tests.media import Numbered, decode_processes, make_video

CONSUMER = GridConsumer(clip_s=1, stride_s=1, fps=8, frames_per_clip=8, tail="keep", geometry=Geometry(short_side=48))
SETTINGS = IsolationSettings(deadline_s=20, preload=("tests.broken_decoders",))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("ahead")
    names = ("a", "bad", "c")
    return [make_video(folder / name, Numbered(num_frames=20 + 30 * k)) for k, name in enumerate(names)]


def jobs(files: Sequence[Path], decoder: str = "pyav") -> list[Job]:
    common = {"decoder": decoder, "consumers": [CONSUMER.to_json()], "required": {}}
    return [Job(input_id=path.stem, arguments={"path": str(path), **common}) for path in files]


def decode(
    jobs: Sequence[Job], settings: IsolationSettings, log: AttemptLog, *, max_attempts: int, processes: int = 1
) -> list[Item]:
    """All items; what they hold is let go at once."""
    with DecodeCrew(settings, processes) as crew:
        return decode_all(crew, jobs, log, max_attempts=max_attempts)


def decode_all(crew: DecodeCrew, jobs: Sequence[Job], log: AttemptLog, *, max_attempts: int) -> list[Item]:
    items = []
    with crew.decode(jobs, log, max_attempts=max_attempts) as decoding:
        while (item := decoding.take()) is not None:
            items.append(item)
            if isinstance(item, Refused) or item.message.header["kind"] == "done":
                decoding.close_one()
            else:
                item.message.let_go()
    return items


def events(path: Path) -> list[tuple[str, str]]:
    return [(line["input"], line["event"]) for line in map(json.loads, path.read_text().splitlines())]


def test_files_come_in_order_and_every_attempt_is_noted(files: list[Path], tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    items = decode(jobs(files), SETTINGS, AttemptLog(log), max_attempts=2)
    kinds = [(item.input_id, item.message.header["kind"]) for item in items if isinstance(item, Decoded)]
    for name in ("a", "bad", "c"):
        own = [kind for input_id, kind in kinds if input_id == name]
        assert (own[0], own[-1]) == ("plan", "done")
    assert [input_id for input_id, kind in kinds if kind == "done"] == ["a", "bad", "c"]
    assert events(log) == [(name, event) for name in ("a", "bad", "c") for event in ("begun", "done")]


def test_a_file_that_kills_is_tried_again_and_then_given_up(files: list[Path], tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    items = decode(jobs(files, "dying"), SETTINGS, AttemptLog(log), max_attempts=2)
    (refused,) = [item for item in items if isinstance(item, Refused)]
    assert (refused.input_id, refused.attempts, refused.error.cause) == ("bad", 2, "decoder_crashed")
    assert Counter(events(log))["bad", "crashed"] == 2
    assert "0x55d0c8f2" in log.read_text(), "the last words are kept in full"
    assert "0x55d0c8f2" not in str(refused.error)
    done = [item.input_id for item in items if isinstance(item, Decoded) and item.message.header["kind"] == "done"]
    assert done == ["a", "c"]


def test_deaths_of_an_earlier_run_count_and_interruptions_do_not(files: list[Path], tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    first = AttemptLog(log)
    first.begin("bad")
    first.end("bad", "crashed", "bad.mp4: it died")
    first.begin("bad")  # the run is killed here
    with log.open("a") as file:
        file.write('{"input": "ba')
    again = AttemptLog(log)
    assert events(log)[-1] == ("bad", "interrupted")
    assert again.num_counted("bad") == 1
    *_, refused = decode(jobs(files[1:2], "dying"), SETTINGS, again, max_attempts=2)
    assert isinstance(refused, Refused)
    assert refused.attempts == 2
    (refused,) = decode(jobs(files[1:2], "dying"), SETTINGS, AttemptLog(log), max_attempts=2)
    assert isinstance(refused, Refused)
    assert "SIGSEGV" in str(refused.error)
    assert len([event for _, event in events(log) if event == "begun"]) == 3, "it is not opened any more"


def test_a_hang_is_named_as_such(files: list[Path], tmp_path: Path) -> None:
    settings = IsolationSettings(deadline_s=0.7, preload=SETTINGS.preload)
    *_, refused = decode(jobs(files[1:2], "hanging"), settings, AttemptLog(tmp_path / "l"), max_attempts=1)
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, DeadlineExceeded)


def test_a_refusal_is_not_tried_again(files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    log = tmp_path / "log.jsonl"
    (refused,) = decode(jobs([path]), SETTINGS, AttemptLog(log), max_attempts=3)
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, SampleError)
    assert (refused.attempts, refused.error.cause) == (0, "empty_file")
    assert events(log) == [("empty", "begun"), ("empty", "refused")]


def test_an_early_end_kills_even_a_decoder_that_hangs_and_blames_no_file(files: list[Path], tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with DecodeCrew(SETTINGS, 1) as crew:
        with crew.decode(jobs(files, "hanging"), AttemptLog(log), max_attempts=2) as decoding:
            while (item := decoding.take()) is not None:
                if isinstance(item, Decoded) and item.message.header["kind"] == "done":
                    break
            time.sleep(0.3)  # 'bad' hangs by now
            started = time.monotonic()
        assert time.monotonic() - started < 3
        done = decode_all(crew, jobs(files[2:], "hanging"), AttemptLog(log), max_attempts=2)
        assert done[-1].message.header["kind"] == "done", "the crew goes on"
    assert not decode_processes()
    assert "crashed" not in log.read_text()


def test_a_consumer_that_holds_on_to_pictures_holds_the_decoder_up_and_blames_no_file(tmp_path: Path) -> None:
    """Held for longer than the deadline, and let go just before it ends once more: the decoder has all of it again."""
    path = make_video(tmp_path / "long", Numbered(num_frames=500))
    wide = GridConsumer(clip_s=1, stride_s=1, fps=25, frames_per_clip=25, tail="keep", geometry=Geometry(width=400))
    arguments = {"path": str(path), "decoder": "pyav", "consumers": [wide.to_json()], "required": {}}
    deadline_s = 2.0
    with DecodeCrew(IsolationSettings(deadline_s=deadline_s), 1) as crew:
        job = Job(input_id="long", arguments=arguments)
        with crew.decode([job], AttemptLog(tmp_path / "l"), max_attempts=1) as decoding:
            held, silent_since = hold_all(decoding, silence_s=1.6 * deadline_s)
            assert RING_BYTES // 2 < sum(item.message.payload.nbytes for item in held) <= RING_BYTES
            (decoder,) = decode_processes()
            decoder.suspend()
            for item in held:
                item.message.let_go()
            time.sleep(silent_since + 2.2 * deadline_s - time.monotonic())
            decoder.resume()
            while (item := decoding.take()) is not None:
                assert isinstance(item, Decoded)
                item.message.let_go()
                last = item
    assert last.message.header["result"]["num_frames"] == 500


def hold_all(decoding: Decoding, silence_s: float) -> tuple[list[Decoded], float]:
    """Take without letting go until nothing has come for so long; the items, and since when nothing comes."""
    held: list[Decoded] = []
    last = time.monotonic()
    while not held or time.monotonic() < last + silence_s:
        if (item := decoding.take(wait=False)) is None:
            time.sleep(0.001)
            continue
        assert isinstance(item, Decoded)
        held.append(item)
        last = time.monotonic()
    return held, last


def test_several_processes_decode_at_once_and_each_file_comes_in_order(files: list[Path], tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    items = decode(jobs(files, "dying"), SETTINGS, AttemptLog(log), max_attempts=2, processes=3)
    for name in ("a", "c"):
        firsts = [
            item.message.header["first"]
            for item in items
            if item.input_id == name and isinstance(item, Decoded) and item.message.header["kind"] == "batch"
        ]
        assert firsts == sorted(firsts)
        assert (name, "done") in events(log)
    (refused,) = [item for item in items if isinstance(item, Refused)]
    assert (refused.input_id, refused.attempts) == ("bad", 2)


def test_a_bug_in_the_thread_reaches_the_consumer(files: list[Path], tmp_path: Path) -> None:
    settings = IsolationSettings(preload=("no_such_module",))
    with pytest.raises(RuntimeError, match="did not start"):
        decode(jobs(files), settings, AttemptLog(tmp_path / "l"), max_attempts=1)


def test_a_bug_over_one_of_many_files_stops_all_of_them(files: list[Path], tmp_path: Path) -> None:
    good, bad, _ = files
    many = [*jobs([bad], "mistaken"), *(replace(job, input_id=f"v{n}") for n, job in enumerate(jobs([good]) * 20))]

    raised: list[BaseException] = []

    def make_all() -> None:
        log = AttemptLog(tmp_path / "log.jsonl")
        try:
            with DecodeCrew(SETTINGS, 2) as crew, crew.decode(many, log, max_attempts=2) as decoding:
                maker = ThumbnailMaker(consumer=CONSUMER, about={})
                list(Passes([maker], decoding).run([job.input_id for job in many]))
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=make_all, daemon=True)
    thread.start()
    thread.join(30)
    assert ["no_such_name" in str(error) for error in raised] == [True]


def test_messages_may_hold_any_character(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "log.jsonl")
    log.begin("v")
    log.end("v", "crashed", "a\u2028b", "c\x85d")
    log.begin("w")
    again = AttemptLog(tmp_path / "log.jsonl")
    assert (again.num_counted("v"), again.last_death("v")) == (1, ("crashed", "a\u2028b"))
    (tmp_path / "torn.jsonl").write_bytes((tmp_path / "log.jsonl").read_bytes() + '{"input": "ü'.encode()[:-1])
    assert AttemptLog(tmp_path / "torn.jsonl").num_counted("v") == 1
