"""Every case of bad input: one clear message or one Failure row, no traceback, nothing lost."""

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from tests.media import Numbered, make_sound, make_video
from tests.small_run import SmallRun


@pytest.fixture
def frozen(tmp_path: Path) -> SmallRun:
    """A configuration that needs no training, over an empty media folder."""
    run = SmallRun(tmp_path).write(encoder="s3d-text")
    text = "\n".join(line for line in run.config.read_text().splitlines() if not line.startswith("splits ="))
    run.config.write_text(text)
    run.videos.mkdir(parents=True)
    return run


def message(run: SmallRun, *arguments: str, code: int = 2) -> str:
    return run.fabula(*arguments, code=code).stderr


def test_missing_and_empty_folder(frozen: SmallRun) -> None:
    assert "no file in it that could be a video" in message(frozen, "run")
    frozen.videos.rmdir()
    assert "not there" in message(frozen, "run")


def test_every_broken_file_is_a_failure_row_and_nothing_is_lost(frozen: SmallRun) -> None:
    make_video(frozen.videos / "good.mp4")
    content = (frozen.videos / "good.mp4").read_bytes()
    (frozen.videos / "text.mp4").write_text("no video at all\n" * 50)
    (frozen.videos / "zero.mp4").touch()
    (frozen.videos / "cut.mp4").write_bytes(content[: len(content) // 2])
    make_sound(frozen.videos / "sound.mp4")
    (frozen.videos / os.fsdecode(b"bad\xff.mp4")).write_bytes(b"x")
    (frozen.videos / "good.vtt").write_text("this is no transcript")
    frozen.fabula("run")
    found = {artifact["label"]: artifact for artifact in frozen.json("status")["artifacts"]}
    manifest = found["manifest"]
    assert (manifest["inputs"], manifest["successes"]) == (6, 1)
    causes = {failure["input"]: failure["cause"] for failure in manifest["failures"]}
    assert set(causes) == {"text.mp4", "zero.mp4", "cut.mp4", "sound.mp4", "bad\\xff.mp4"}
    assert len(set(causes.values())) >= 4
    assert [failure["cause"] for failure in found["paragraphs"]["failures"]] == ["bad_transcript"]
    assert frozen.json("query", "--like", "good", code=0)["random_weights"] is True


def test_unreadable_file(frozen: SmallRun) -> None:
    make_video(frozen.videos / "good.mp4")
    shutil.copy(frozen.videos / "good.mp4", frozen.videos / "locked.mp4")
    with (frozen.videos / "locked.mp4").open("ab") as file:
        file.write(b"other bytes")
    (frozen.videos / "locked.mp4").chmod(0)
    (frozen.videos / "nowhere.mp4").symlink_to("gone.mp4")
    frozen.fabula("run", "--until", "ingest")
    failures = {f["input"]: f["cause"] for f in frozen.json("status")["artifacts"][0]["failures"]}
    readable = os.access(frozen.videos / "locked.mp4", os.R_OK)  # root reads everything
    assert failures == {name: "unreadable" for name in ["nowhere.mp4"] + ([] if readable else ["locked.mp4"])}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("extract.videos_per_shart=3", "did you mean 'videos_per_shard'?"),
        ("extrakt.threads=3", "did you mean 'extract'?"),
        ("extract.threads=many", "extract.threads: got 'many'"),
        ("embed.window_s=-1", "embed.window_s: got -1"),
        ("extract.s3d.preset=big", "expected one of"),
        ("executor.kind=slurm", "executor.kind: got 'slurm'"),
        ("nonsense", "expected section.key=value"),
    ],
)
def test_wrong_settings_name_the_key_and_the_nearest_valid_one(frozen: SmallRun, setting: str, expected: str) -> None:
    text = message(frozen, "plan", "--set", setting)
    assert expected in text
    assert len(text.splitlines()) <= 3


def test_a_config_that_is_not_there_or_no_toml(frozen: SmallRun) -> None:
    frozen.config.write_text("= nonsense")
    assert "is no TOML file" in message(frozen, "plan")
    frozen.config.unlink()
    assert "there is no such file" in message(frozen, "plan")


def test_query_before_there_is_an_index(frozen: SmallRun) -> None:
    make_video(frozen.videos / "good.mp4")
    assert "no sealed index" in message(frozen, "query", "a sentence", code=1)


def test_a_corpus_without_one_usable_video(frozen: SmallRun) -> None:
    (frozen.videos / "text.mp4").write_text("no video\n" * 50)
    assert "none of its files is a usable video" in message(frozen, "run")
    assert len(frozen.json("status")["artifacts"][0]["failures"]) == 1


def test_query_to_an_empty_index(frozen: SmallRun) -> None:
    make_video(frozen.videos / "short.mp4", Numbered(num_frames=10))
    frozen.fabula("run", "--set", "extract.tail=drop")
    (failure,) = frozen.json("status")["artifacts"][1]["failures"]
    assert failure["cause"] == "empty_timeline"
    text = message(frozen, "query", "a sentence", code=1)
    assert "empty" in text
    assert len(text.splitlines()) == 1


def test_index_of_another_encoder(frozen: SmallRun) -> None:
    make_video(frozen.videos / "good.mp4")
    frozen.fabula("run")
    (bundle,) = (frozen.store / "index").iterdir()
    record = next(bundle.glob("bundle-*.json"))
    record.write_text(record.read_text().replace("seed 0", "seed 7"))
    text = message(frozen, "query", "a sentence", code=1)
    assert "differs" in text or "hash" in text


def test_weights_of_the_wrong_checksum_or_shape(frozen: SmallRun) -> None:
    make_video(frozen.videos / "good.mp4")
    weights = frozen.folder / "s3d.pth"
    torch.save({"fc.weight": torch.zeros(3, 3)}, weights)
    override = ["--set", f"extract.s3d.weights={weights}"]
    text = message(frozen, "run", "--until", "extract", *override, "--set", f"extract.s3d.sha256={'0' * 64}")
    assert "0" * 64 in text
    text = message(frozen, "run", "--until", "extract", *override)
    assert "s3d.pth" in text


def test_a_checkpoint_whose_pickle_would_act(frozen: SmallRun) -> None:
    make_video(frozen.videos / "good.mp4")
    touched = frozen.folder / "touched"

    class Act:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {touched}",)

    evil = frozen.folder / "evil.pt"
    with evil.open("wb") as file:
        pickle.dump({"model": Act()}, file)
    torch.save({"model": {"fc.weight": torch.zeros(1)}, "cfg": Act()}, frozen.folder / "evil2.pt")
    for name in ("evil.pt", "evil2.pt"):
        frozen.fabula("run", "--set", f"encoder={frozen.folder / name}", code=[1, 2])
        frozen.fabula("run", "--until", "extract", "--set", f"extract.s3d.weights={frozen.folder / name}", code=[1, 2])
    assert not touched.exists()


def test_two_stages_asked_for(frozen: SmallRun) -> None:
    assert "give one of them" in message(frozen, "run", "--only", "align", "--until", "align")
    make_video(frozen.videos / "good.mp4")
    assert "there is no stage 'dance'" in message(frozen, "run", "--only", "dance")
