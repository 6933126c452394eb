"""What is settled and refused before anything is made."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline import commands, doctor
from pipeline.config import RunConfig, load_config
from pipeline.doctor import DoctorSettings
from pipeline.plan import resolve
from stages.datasets.splits import TRAIN, holdout_split
from stages.errors import ConfigError
from stages.ingest import IngestConfig
from tests.small_run import SmallRun

SPOKEN = "1\n00:00:01,000 --> 00:00:02,000\nstir it\n"


class Corpus:
    """Files that are called videos and transcripts, and a configuration that finds out what to do with them."""

    def __init__(self, folder: Path) -> None:
        self.run = SmallRun(folder).write(encoder="auto")
        lines = self.run.config.read_text().splitlines()
        self.run.config.write_text("\n".join(line for line in lines if not line.startswith("splits =")))
        self.run.videos.mkdir(parents=True)

    def add(self, *names: str) -> None:
        for name in names:
            path = self.run.videos / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(SPOKEN if name.endswith("srt") else name)

    def config(self, *overrides: str) -> RunConfig:
        return load_config(self.run.config, overrides)

    def encoder(self, *overrides: str) -> str:
        return resolve(self.config(*overrides)).encoder


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


def in_split(split: str, num: int) -> Sequence[str]:
    names = (f"v{number}" for number in range(1000))
    return [name for name in names if holdout_split(name, 0.2, 0) == split][:num]


def test_auto_trains_on_a_batch_of_narrated_videos_and_says_what_it_lacks(
    corpus: Corpus, caplog: pytest.LogCaptureFixture
) -> None:
    train = in_split(TRAIN, 4)
    for name in (*train[:3], *in_split("test", 5)):  # those of the test split do not help
        corpus.add(f"{name}.mp4", f"{name}.srt")
    assert corpus.encoder() == "s3d-text"
    assert "3 videos of the train split are narrated, and an update takes 4: nothing is trained" in caplog.text
    assert corpus.encoder("train.objective.batch_videos=3") == "train"
    corpus.add(f"{train[3]}.mp4", f"{train[3]}.srt")
    assert corpus.encoder() == "train"
    assert corpus.encoder("train.optimisation.accumulate=2") == "s3d-text"


def test_auto_counts_what_align_would_match(corpus: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    for name in in_split(TRAIN, 4):
        corpus.add(f"videos/{name}.mp4", f"videos/{name}.m4a", f"subs/{name}.srt")
    assert corpus.encoder() == "s3d-text"
    assert "no video to train on is narrated" in caplog.text
    assert corpus.encoder(f"align.captions={corpus.run.videos / 'subs'}") == "train"


def test_auto_counts_by_the_splits_file(corpus: Corpus, tmp_path: Path) -> None:
    names = [f"deep/v{number}" for number in range(4)]
    for name in names:
        corpus.add(f"{name}.mp4", f"{name}.srt")
    splits = tmp_path / "splits.csv"
    splits.write_text("video,split,pair\n" + "".join(f"{name}.mp4,train,\n" for name in names))
    assert corpus.encoder(f"train.splits={splits}") == "train"
    splits.write_text(splits.read_text().replace("train", "test", 1))
    assert corpus.encoder(f"train.splits={splits}") == "s3d-text"


def test_videos_of_one_name_are_not_all_held_out_together(corpus: Corpus) -> None:
    (name,) = in_split("test", 1)
    for number in range(12):
        corpus.add(f"{number}/{name}.mp4", f"{number}/{name}.srt")
    assert corpus.encoder() == "train"


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("align.captions=gone", r"\[align\] captions = .*gone: this is not there"),
        ("align.captions=small.toml", r"\[align\] captions = .*a file that is no \.csv"),
        ("train.splits=gone.csv", r"\[train\] splits = .*gone\.csv: there is no such file"),
        ("train.splits=corpus", r"\[train\] splits = .*corpus: there is no such file"),
        ("train.start=gone", r"\[train\] start = .*gone: there is no such file or folder"),
        ("train.tokenizer=gone", r"\[train\] tokenizer = .*gone: there is no such file or folder"),
        ("train.objective.bert=gone", r"\[train\.objective\] .*gone: there is no such folder"),
        ("evaluate.splits=gone.csv", r"\[evaluate\] splits = .*gone\.csv: there is no such file"),
        ("evaluate.split=val", r"\[evaluate\] split = 'val' needs a splits file"),
    ],
)
def test_files_that_are_not_there_are_refused_before_any_work(
    corpus: Corpus, setting: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(corpus.run.folder)
    corpus.add("a.mp4")
    config = corpus.config("encoder=train", setting)
    with pytest.raises(ConfigError, match=problem):
        commands.run(config, only=None, until=None, rehash=False)
    assert not corpus.run.store.exists()
    with pytest.raises(ConfigError, match=problem):
        commands.plan(config)
    with pytest.raises(ConfigError, match=problem):
        commands.doctor(None, config, full=False, seconds=0)


def test_the_doctor_takes_another_folder_as_the_configuration_would(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(settings: DoctorSettings, **_: object) -> None:
        told.append(settings.ingest)

    told: list[IngestConfig] = []
    monkeypatch.setattr(doctor, "diagnose", note)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    config = corpus.config("encoder=s3d-text", "ingest.frame_rate=5", "ingest.deadline_s=7")
    commands.doctor(Path("other"), config, full=False, seconds=0)
    commands.doctor(None, config, full=False, seconds=0)
    commands.doctor(Path("other"), None, full=False, seconds=0)
    other = tmp_path / "other"
    assert told == [config.ingest.model_copy(update={"media": other}), config.ingest, IngestConfig(media=other)]
    with pytest.raises(ConfigError, match="say what to examine"):
        commands.doctor(None, None, full=False, seconds=0)


def test_a_stage_that_is_not_asked_for_needs_no_file(corpus: Corpus) -> None:
    corpus.add("a.mp4")
    commands.run(corpus.config("encoder=train", "train.splits=gone"), only=None, until="ingest", rehash=False)


def test_a_folder_of_captions_without_one_is_told_of(corpus: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    corpus.add("a.mp4")
    with caplog.at_level(logging.WARNING):
        commands.plan(corpus.config(f"align.captions={corpus.run.videos}", "encoder=s3d-text"))
    assert "there is no .vtt or .srt file below this folder" in caplog.text
