import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.executors.inline import InlineExecutor
from pipeline.units import StagePlan, plan_stage
from stages.align import Align, AlignConfig
from stages.artifacts.commit import StagedOutput
from stages.artifacts.durable import publish
from stages.artifacts.layout import Store
from stages.artifacts.manifest import (
    MEMBERS,
    MEMBERS_SCHEMA,
    VIDEOS,
    VIDEOS_SCHEMA,
    Video,
)
from stages.artifacts.sealed import Artifact, Description, PlannedUnit
from stages.artifacts.tables import rows_table, write_table
from stages.contract import Inputs
from stages.errors import ConfigError, TransientError
from stages.text import artifact as tables

VTT = "WEBVTT\n\n00:01.000 --> 00:02.000\nCut the onion.\n\n00:02.500 --> 00:04.000\nStir it. Then wait\n"


def video(video_id: str, position: int, *paths: str, duration_s: float = 10.0) -> Video:
    return Video(
        video_id=video_id,
        position=position,
        paths=paths or (f"{video_id}.mp4",),
        source_ids=(),
        content_hash=f"{position:032x}",
        size_bytes=1,
        duration_s=duration_s,
        frame_rate=30.0,
        width=320,
        height=240,
        rotation=0,
        container="mp4",
        video_codec="h264",
        audio_codec="",
        has_audio=False,
        status="ok",
    )


def make_manifest(store: Store, videos: Sequence[Video]) -> Artifact:
    """A sealed manifest of these videos, in one unit."""
    directory = store.artifact("manifest", f"{len(store.artifacts('manifest')):032x}")
    unit = PlannedUnit(fingerprint="0" * 32, parts={}, num_inputs=len(videos))
    description = Description(
        label="manifest",
        stage="ingest",
        version=1,
        schema=1,
        fingerprint=directory.name,
        about={},
        units={"00000": unit},
    )
    publish(directory.description_path, description.to_bytes())
    out = StagedOutput("00000", {"manifest": directory})
    write_table(out.create("manifest", VIDEOS), rows_table(VIDEOS_SCHEMA, (row.to_json() for row in videos)))
    write_table(out.create("manifest", MEMBERS), rows_table(MEMBERS_SCHEMA, ()))
    out.commit({"manifest": "0" * 32}, [row.video_id for row in videos], ())
    Artifact(directory).seal()
    return Artifact(directory)


class Corpus:
    """A store, a media folder and the videos of a manifest; `align` runs the stage through the inline executor."""

    def __init__(self, root: Path, videos: Sequence[Video]) -> None:
        self.store = Store(root / "store")
        self.media = root / "media"
        self.media.mkdir(parents=True)
        self.captions = root / "captions.csv"
        self.inputs = Inputs(store=self.store, artifacts={"manifest": make_manifest(self.store, videos)})

    def plan(self, **config: Any) -> StagePlan:
        return plan_stage(Align(AlignConfig(**config), self.media), self.inputs)

    def align(self, **config: Any) -> Artifact:
        plan = self.plan(**config)
        (planned,) = plan.artifacts
        publish(planned.directory.description_path, planned.description.to_bytes())
        for report in InlineExecutor(num_retries=0).run(plan.stage, self.inputs, plan.jobs()):
            assert getattr(report, "outcome", "committed") == "committed", report
        Artifact(planned.directory).seal()
        return Artifact(planned.directory)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path, [video("a", 0), video("b", 1), video("c", 2)])


def rows(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tables.read_paragraph_table(artifact, name).to_pylist()
    return found


def test_planning_again_reads_only_transcripts_that_changed(corpus: Corpus) -> None:
    (corpus.media / "a.vtt").write_text(VTT)
    (corpus.media / "b.vtt").write_text(VTT)
    read = [0]
    corpus.inputs = dataclasses.replace(corpus.inputs, on_planning=lambda done, total: read.append(total))
    fingerprint = corpus.plan().artifacts[0].description.fingerprint
    assert read.pop() == 2 * len(VTT.encode())
    read.clear()
    assert corpus.plan().artifacts[0].description.fingerprint == fingerprint
    assert read == []
    (corpus.media / "b.vtt").write_text(f"{VTT}\n")
    assert corpus.plan().artifacts[0].description.fingerprint != fingerprint
    assert read == [len(VTT.encode()) + 1]


def test_a_transcript_becomes_narrations_and_paragraphs(corpus: Corpus) -> None:
    (corpus.media / "a.vtt").write_text(VTT)
    artifact = corpus.align(max_gap_s=0.4)
    assert [(r["video_id"], r["transcript"], r["num_narrations"]) for r in rows(artifact, tables.VIDEOS)] == [
        ("a", "a.vtt", 3),
        ("b", "", 0),
        ("c", "", 0),
    ]
    narrations = rows(artifact, tables.NARRATIONS)
    assert [(r["narration_id"], r["index"], r["paragraph_index"], r["text"]) for r in narrations] == [
        ("a/n0000", 0, 0, "Cut the onion."),
        ("a/n0001", 1, 1, "Stir it."),
        ("a/n0002", 2, 1, "Then wait"),
    ]
    assert (narrations[0]["start_s"], narrations[0]["end_s"], narrations[2]["end_s"]) == (1.0, 2.0, 4.0)
    assert [
        (r["paragraph_id"], r["index"], r["start_s"], r["end_s"], r["first_narration"], r["num_narrations"])
        for r in rows(artifact, tables.PARAGRAPHS)
    ] == [("a/p000", 0, 1.0, 2.0, 0, 1), ("a/p001", 1, 2.5, 4.0, 1, 2)]
    (record,) = artifact.records
    assert (record.num_inputs, record.num_successes) == (3, 3)
    assert record.info == {
        "videos": 3,
        "with_transcript": 1,
        "without_transcript": 2,
        "narrations": 3,
        "paragraphs": 2,
        "words": 7,
        "repeated_words_dropped": 0,
        "narrations_clamped": 0,
        "narrations_outside": 0,
        "bad_cues": 0,
        "coverage": round(2.5 / 30, 6),
    }


def test_the_table_is_taken_as_it_is(corpus: Corpus) -> None:
    corpus.captions.write_text(
        "video,start_s,end_s,text\na.mp4,,,Two. Sentences.\nb,4,12,late\nb,1,2,late\nb,11,12,outside\n"
    )
    artifact = corpus.align(captions=corpus.captions)
    columns = ("start_s", "end_s", "source_end_s", "text")
    assert [tuple(row[name] for name in columns) for row in rows(artifact, tables.NARRATIONS)] == [
        (0.0, 10.0, 10.0, "Two. Sentences."),
        (1.0, 2.0, 2.0, "late"),
        (4.0, 10.0, 12.0, "late"),
    ]
    info = artifact.records[0].info
    assert (info["narrations_clamped"], info["narrations_outside"], info["repeated_words_dropped"]) == (1, 1, 0)


def test_what_is_no_transcript_is_a_failure_of_its_video_alone(corpus: Corpus) -> None:
    (corpus.media / "a.vtt").write_text(VTT)
    (corpus.media / "b.srt").write_bytes(b"\x00\x01\x02not one")
    corpus.captions.write_text("video,start_s,end_s,text\nc,soon,,a\n")
    artifact = corpus.align(captions=corpus.captions)
    assert [row["video_id"] for row in rows(artifact, tables.VIDEOS)] == ["a"]
    (record,) = artifact.records
    assert [(failure.input_id, failure.cause) for failure in record.failures] == [
        ("b", "bad_transcript"),
        ("c", "bad_transcript"),
    ]
    assert record.failures[0].message.startswith("b.srt:1: got a NUL character")
    assert record.failures[1].message.startswith("captions.csv:2: column start_s: got 'soon'")


def test_a_transcript_that_cannot_be_read_is_a_failure(corpus: Corpus) -> None:
    (corpus.media / "a.vtt").mkdir()
    (failure,) = corpus.align().records[0].failures
    assert (failure.input_id, failure.cause) == ("a", "bad_transcript")
    assert failure.message.startswith("a.vtt: cannot be read")


def test_no_video_and_no_transcript(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, [video("a", 0)])
    artifact = corpus.align()
    assert rows(artifact, tables.NARRATIONS) == rows(artifact, tables.PARAGRAPHS) == []
    assert artifact.records[0].info["coverage"] == 0.0
    assert Corpus(tmp_path / "none", []).plan().units == []


def test_one_edited_caption_file_redoes_one_unit(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, [video(f"v{position}", position) for position in range(8)])
    for position in range(8):
        (corpus.media / f"v{position}.vtt").write_text(VTT)
    first = corpus.align(videos_per_unit=2)
    (corpus.media / "v3.vtt").write_text(VTT.replace("onion", "leek"))
    (planned,) = corpus.plan(videos_per_unit=2).artifacts
    assert list(planned.reasons) == ["00001"]
    assert planned.adoptable == {unit_id: first.directory for unit_id in ("00000", "00002", "00003")}


def test_positions_decide_the_unit(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, [video("a", 0), video("b", 5), video("c", 2)])
    assert [(unit.unit_id, unit.inputs) for unit in corpus.plan(videos_per_unit=2).units] == [
        ("00000", ("a",)),
        ("00001", ("c",)),
        ("00002", ("b",)),
    ]


def identity(corpus: Corpus, **config: Any) -> Mapping[str, Any]:
    return corpus.plan(**config).units[0].identities["paragraphs"]


def test_what_decides_the_bytes_is_the_identity_and_nothing_else(corpus: Corpus, tmp_path: Path) -> None:
    (corpus.media / "a.vtt").write_text(VTT)
    before = identity(corpus)
    assert str(tmp_path) not in repr(before)
    assert identity(corpus, language="de") == before
    (corpus.media / "a.vtt").touch()
    (corpus.media / "nobody.vtt").write_text(VTT)
    assert identity(corpus) == before
    assert identity(corpus, max_words=9) != before
    (corpus.media / "b.srt").write_text("1\n00:01,0 --> 00:02,0\na\n")
    assert identity(corpus) != before


def test_a_row_of_another_video_changes_no_unit(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, [video("a", 0), video("b", 1)])
    corpus.captions.write_text("video,start_s,end_s,text\na,,,one\nb,,,two\n")
    units = corpus.plan(captions=corpus.captions, videos_per_unit=1).units
    corpus.captions.write_text("video,start_s,end_s,text\nx,,,new\nb,,,three\na,,,one\n")
    again = corpus.plan(captions=corpus.captions, videos_per_unit=1).units
    assert units[0] == again[0]
    assert units[1] != again[1]


def test_a_file_that_changes_after_planning_leaves_the_unit_open(corpus: Corpus) -> None:
    (corpus.media / "a.vtt").write_text(VTT)
    plan = corpus.plan()
    (corpus.media / "a.vtt").write_text(VTT + "\n")
    worker = plan.stage.open(corpus.inputs)
    with pytest.raises(TransientError, match=r"a\.vtt was changed after this run was planned"):
        worker.process(plan.units[0], StagedOutput("00000", {"paragraphs": plan.artifacts[0].directory}))
    worker.close()


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    found = []
    for root in (tmp_path / "one", tmp_path / "two"):
        corpus = Corpus(root, [video("a", 0), video("b", 1)])
        (corpus.media / "a.vtt").write_text(VTT)
        found.append(corpus.align().records)
    assert found[0] == found[1]


def test_a_table_of_paths_stands_for_its_folder(corpus: Corpus) -> None:
    (corpus.media / "a.vtt").write_text(VTT)
    (corpus.media / "paths.csv").write_text("path\na.mp4\n")
    folder = plan_stage(Align(AlignConfig(), corpus.media), corpus.inputs)
    table = plan_stage(Align(AlignConfig(), corpus.media / "paths.csv"), corpus.inputs)
    assert table.units == folder.units


def test_captions_that_are_not_there(corpus: Corpus) -> None:
    with pytest.raises(ConfigError, match=r"\[align\] captions = .*none: this is not there"):
        corpus.plan(captions=corpus.media / "none")


@pytest.mark.parametrize("config", [{"captoins": "x"}, {"max_words": 1}, {"max_gap_s": 0}, {"videos_per_unit": 0}])
def test_settings_are_strict(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AlignConfig(**config)


def test_planning_imports_nothing_heavy() -> None:
    code = "import sys, stages.align; sys.exit(sum(name in sys.modules for name in ('torch', 'ray', 'faiss', 'av')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.shared
def test_real_pairs_of_video_and_transcript(shared_dir: Path, tmp_path: Path) -> None:
    captions = shared_dir / "data/captions"
    corpus = Corpus(
        tmp_path,
        [video("friday", 0, "speech/friday.mp4", duration_s=6.0), video("yt", 1, "8n_tpLn6Xbo.mp4", duration_s=832.1)],
    )
    (corpus.media / "speech").mkdir()
    for name in ("mdn/friday.vtt", "youtube_auto/8n_tpLn6Xbo.en.vtt"):
        (tmp_path / "second").mkdir(exist_ok=True)
        shutil.copy(captions / name, tmp_path / "second")
    artifact = corpus.align(captions=tmp_path / "second")
    friday, automatic = rows(artifact, tables.VIDEOS)
    assert (friday["transcript"], friday["num_narrations"]) == ("friday.vtt", 4)
    assert automatic["transcript"] == "8n_tpLn6Xbo.en.vtt"
    assert 2120 / 24 < automatic["num_narrations"] < 2120 / 6
    info = artifact.records[0].info
    assert (info["words"], info["repeated_words_dropped"]) == (27 + 2120, 4228)
    assert 0.5 < info["coverage"] <= 1.0


@pytest.mark.shared
def test_the_shared_table_gives_every_video_its_sentence(shared_dir: Path, tmp_path: Path) -> None:
    media = shared_dir / "data/videos"
    paths = sorted(str(path.relative_to(media)) for path in media.rglob("*.*") if path.is_file())
    corpus = Corpus(tmp_path, [video(f"v{position}", position, path) for position, path in enumerate(paths)])
    plan = plan_stage(Align(AlignConfig(captions=shared_dir / "data/captions.csv"), media), corpus.inputs)
    members = [member for unit in plan.units for member in unit.payload["members"]]
    assert [len(member["rows"]) for member in members] == [1] * 94
