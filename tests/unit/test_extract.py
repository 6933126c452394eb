"""extract on real encoded files, through the inline executor; the networks are S3D-G and a tiny CLIP."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from models.backbones.resnet import RESNETS, random_resnet
from models.backbones.resnet_features import normalise_frames
from models.backbones.weights import file_sha256
from pipeline.executors.base import Report
from pipeline.executors.inline import InlineExecutor
from pipeline.units import plan_stage
from stages.artifacts.durable import publish
from stages.artifacts.layout import Store
from stages.artifacts.sealed import Artifact
from stages.artifacts.shards import read_samples
from stages.contract import Inputs, Stage
from stages.errors import ConfigError
from stages.extract import Extract, ExtractConfig
from stages.ingest import Ingest, IngestConfig
from stages.media.backbones import open_backbone
from stages.media.frames import FrameRequest, sample_frames
from stages.media.geometry import Geometry
from stages.media.jpeg import decode_picture
from stages.media.settings import ResNetWeights, S3DConfig
from stages.training.frame_entries import frame_entries
from tests.media import Numbered, make_pictures, make_video, read_number

SMALL = {"deadline_s": 60.0}


def run_stage(stage: Stage, inputs: Inputs) -> dict[str, Artifact]:
    """Plan, run inline, seal."""
    plan = plan_stage(stage, inputs)
    for planned in plan.artifacts:
        publish(planned.directory.description_path, planned.description.to_bytes())
    for report in InlineExecutor(num_retries=0).run(plan.stage, inputs, plan.jobs()):
        assert getattr(report, "outcome", "committed") == "committed", report
    artifacts = [Artifact(planned.directory) for planned in plan.artifacts]
    for artifact in artifacts:
        artifact.seal()
    return {artifact.label: artifact for artifact in artifacts}


class Corpus:
    """A media folder with its manifest; `extract` runs the stage into a store of its own."""

    def __init__(self, root: Path, media: Path, frame_rate: float | None = None) -> None:
        self.root, self.media = root, media
        inputs = Inputs(store=Store(root / "manifests"), artifacts={})
        self.manifest = run_stage(Ingest(IngestConfig(media=media, frame_rate=frame_rate)), inputs)["manifest"]

    def extract(self, store: str, **config: Any) -> dict[str, Artifact]:
        stage = Extract(ExtractConfig(**{**SMALL, **config}), self.media)
        return run_stage(stage, Inputs(store=Store(self.root / store), artifacts={"manifest": self.manifest}))


def samples(artifact: Artifact, backbone: str = "s3d") -> dict[str, dict[str, Any]]:
    found = {}
    for record in artifact.records:
        for file in record.files:
            for key, parts in read_samples(artifact.path(file)):
                found[key] = {
                    name: json.loads(data) if name == "json" else np.load(io.BytesIO(data))
                    for name, data in parts.items()
                    if name.endswith(("json", "npy"))
                }
    return found


def file_hashes(artifact: Artifact) -> dict[str, str]:
    return {file.name: file.hash for record in artifact.records for file in record.files}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    media = tmp_path_factory.mktemp("extract") / "media"
    media.mkdir()
    make_video(media / "alpha", Numbered(num_frames=125, sound=True))
    make_video(media / "beta", Numbered(num_frames=30, size=(96, 128)))
    make_video(media / "one", Numbered(num_frames=1))
    return media


@pytest.fixture(scope="module")
def corpus(folder: Path) -> Corpus:
    return Corpus(folder.parent, folder)


@pytest.fixture(scope="module")
def made(corpus: Corpus) -> dict[str, Artifact]:
    return corpus.extract("store")


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> Path:
    """A randomly initialised CLIP in the hub's layout."""
    path = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    text = CLIPTextConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
    )
    settings = {**CLIPConfig().to_dict(), "projection_dim": 12}
    settings.update(text_config=text.to_dict(), vision_config=vision.to_dict())
    CLIPModel(CLIPConfig(**settings)).save_pretrained(path)
    for name in tokenizer.iterdir():
        shutil.copy(name, path)
    return path


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP tokenizer of letters alone."""
    path = tmp_path_factory.mktemp("tokenizer")
    letters = [chr(code) for code in range(97, 123)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (path / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (path / "merges.txt").write_text("#version: 0.2\n")
    (path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77})
    )
    return path


def test_rows_spans_mask_and_facts(made: dict[str, Artifact]) -> None:
    assert set(made) == {"features.s3d", "thumbnails"}
    found = samples(made["features.s3d"])
    assert sorted(found) == ["alpha", "beta", "one"]
    alpha = found["alpha"]
    assert alpha["s3d.npy"].shape == (3, 1024)
    assert alpha["s3d.npy"].dtype == np.float16
    np.testing.assert_allclose(np.linalg.norm(alpha["s3d.npy"].astype(np.float32), axis=1), 1, atol=1e-2)
    np.testing.assert_allclose(alpha["spans.npy"], [[0, 2], [2, 4], [4, 5]])
    assert alpha["damaged.npy"].tolist() == [False] * 3
    assert alpha["json"] == {
        "video_id": "alpha",
        "backbone": "s3d",
        "preset": "demo",
        "weights": "random:seed=0",
        "duration_s": 5.0,
        "num_clips": 3,
        "num_damaged": 0,
        "num_padded": 1,
        "num_errors": 0,
        "tail": "keep",
        "status": "ok",
        "missing_before": 0,
        "missing_after": 0,
    }
    assert found["beta"]["spans.npy"].tolist() == [[0.0, 1.2]]
    assert found["one"]["spans.npy"].tolist() == [[0.0, 0.04]]
    assert made["features.s3d"].about["weights"] == "random:seed=0"


def test_rows_tell_clips_apart(made: dict[str, Artifact]) -> None:
    rows = samples(made["features.s3d"])["alpha"]["s3d.npy"].astype(np.float32)
    assert (rows @ rows.T)[0, 1] < 0.999


def test_thumbnails_are_small_jpegs_one_a_window(made: dict[str, Artifact]) -> None:
    (record,) = made["thumbnails"].records
    parts = dict(read_samples(made["thumbnails"].path(record.files[0])))["alpha"]
    assert sorted(parts) == ["json", "w00000.jpg"]
    with Image.open(io.BytesIO(parts["w00000.jpg"])) as image:
        assert (image.format, image.size) == ("JPEG", (160, 120))
    assert record.info == {"videos": 3, "thumbnails": 3}


@pytest.mark.parametrize("threads", [1, 3])
def test_again_the_same_bytes_with_any_number_of_threads(
    corpus: Corpus, made: dict[str, Artifact], threads: int
) -> None:
    again = corpus.extract(f"again{threads}", threads=threads)
    assert {label: file_hashes(a) for label, a in again.items()} == {label: file_hashes(a) for label, a in made.items()}


def test_a_row_does_not_depend_on_its_shard(corpus: Corpus, made: dict[str, Artifact]) -> None:
    split = corpus.extract("split", videos_per_shard=1, thumbnails=False)["features.s3d"]
    assert len(split.records) == 3
    whole = samples(made["features.s3d"])
    for video_id, parts in samples(split).items():
        assert parts["s3d.npy"].tobytes() == whole[video_id]["s3d.npy"].tobytes()


def test_rows_in_whole_numbers_are_near_those_in_float(corpus: Corpus, made: dict[str, Artifact]) -> None:
    whole = corpus.extract("int8", s3d={"arithmetic": "int8"}, thumbnails=False)["features.s3d"]
    again = corpus.extract("int8-again", s3d={"arithmetic": "int8", "batch_size": 1}, threads=3, thumbnails=False)
    rows = samples(again["features.s3d"])
    for video_id, parts in samples(made["features.s3d"]).items():
        near, exact = rows[video_id]["s3d.npy"], parts["s3d.npy"]
        assert (np.sum(near * exact, axis=1) >= 0.999).all()  # they are of length 1
        assert not np.array_equal(near, exact)
        assert samples(whole)[video_id]["s3d.npy"].tobytes() == near.tobytes()


def test_together_or_alone_the_same_bytes(corpus: Corpus, made: dict[str, Artifact], tiny_clip: Path) -> None:
    clip = {"model": str(tiny_clip)}
    both = corpus.extract("both", backbones=("s3d", "clip"), clip=clip)
    alone = corpus.extract("clip", backbones=("clip",), clip=clip, thumbnails=False)
    assert file_hashes(both["features.s3d"]) == file_hashes(made["features.s3d"])
    assert file_hashes(both["thumbnails"]) == file_hashes(made["thumbnails"])
    assert file_hashes(both["features.clip"]) == file_hashes(alone["features.clip"])
    alpha = samples(alone["features.clip"])["alpha"]
    assert alpha["clip.npy"].shape == (5, 12)
    np.testing.assert_allclose(alpha["spans.npy"][:, 0], [0, 1, 2, 3, 4])
    assert alpha["json"]["weights"].startswith("sha256:")


def test_frames_together_or_alone_are_the_same_bytes(corpus: Corpus, made: dict[str, Artifact]) -> None:
    frames = {"num_frames": 10, "width": 64, "height": 48}
    together = corpus.extract("frames", frames=frames)
    alone = corpus.extract("frames_alone", backbones=(), thumbnails=False, frames=frames)
    assert set(alone) == {"frames"}
    assert file_hashes(together["frames"]) == file_hashes(alone["frames"])
    assert file_hashes(together["features.s3d"]) == file_hashes(made["features.s3d"])
    entries = frame_entries(alone["frames"])
    assert {video_id: len(entry.pictures) for video_id, entry in entries.items()} == dict(alpha=10, beta=10, one=10)
    alpha = entries["alpha"]
    # 125 frames at 25 a second: the middles of ten parts of 12.5 frames lie in every 6th, 18th, 31st, ... frame.
    numbers = [int((k + 0.5) * 12.5) for k in range(10)]
    assert [read_number(alpha.read_picture(k)) for k in range(10)] == numbers
    np.testing.assert_allclose(alpha.read_times(), np.array(numbers) / 25, atol=1e-6)
    assert alpha.read_damaged().tolist() == [False] * 10
    assert alpha.read_picture(3).shape == (48, 64, 3)
    (record,) = alone["frames"].records
    assert record.info == {"videos": 3, "frames": 30, "damaged": 0, "partial": 0}


def test_frames_at_a_rate_are_the_first_ones(corpus: Corpus) -> None:
    made = corpus.extract("rate", backbones=(), frames={"num_frames": 40, "fps": 12.5, "width": 64, "height": 48})
    entries = frame_entries(made["frames"])
    assert {video_id: len(entry.pictures) for video_id, entry in entries.items()} == dict(alpha=40, beta=15, one=1)
    np.testing.assert_allclose(entries["alpha"].read_times(), np.arange(40) * 2 / 25, atol=1e-6)


def test_damaged_frames_are_marked(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    options = {"vcodec": "libx264", "g": 25, "bf": 2}
    noise = make_video(media / "noise", Numbered(num_frames=150, noise=40, options=options))
    data = bytearray(noise.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = np.random.default_rng(0).bytes(3000)
    noise.write_bytes(data)
    frames = {"num_frames": 60, "fps": 10.0, "width": 64, "height": 48}
    made = Corpus(tmp_path, media).extract("store", backbones=(), thumbnails=False, frames=frames)["frames"]
    entry, facts = frame_entries(made)["noise"], samples(made)["noise"]["json"]
    damaged, times = entry.read_damaged(), entry.read_times()
    assert 1 <= damaged.sum() <= 25
    intact = np.flatnonzero(~damaged)
    assert [read_number(entry.read_picture(k)) for k in intact] == np.round(times[intact] * 25).astype(int).tolist()
    assert (facts["status"], facts["num_damaged"], facts["num_frames"]) == ("partial", damaged.sum(), len(times))


def test_keyframes_alone_keep_their_true_times(tmp_path: Path, tiny_clip: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    # A keyframe every 40 frames (1.6 s), 250 frames (10 s): at one frame a second each of them is wanted, once.
    options = {"vcodec": "libx264", "g": 40, "bf": 2, "sc_threshold": 0}
    make_video(media / "gop", Numbered(num_frames=250, options=options))
    settings = {
        "decode": "keyframes", "backbones": ("clip",), "clip": {"model": str(tiny_clip)}, "window_s": 4.0,
        "stride_s": 2.0, "frames": {"num_frames": 4, "width": 64, "height": 48},
    }  # fmt: skip
    corpus = Corpus(tmp_path, media)
    made = corpus.extract("keyframes", **settings)
    rows = samples(made["features.clip"])["gop"]
    times = np.arange(7) * 1.6
    np.testing.assert_allclose(rows["spans.npy"], np.stack([times, np.append(times[1:], 10.0)], axis=1), atol=1e-6)
    assert rows["clip.npy"].shape == (7, 12)
    assert (rows["json"]["status"], rows["json"]["num_clips"]) == ("ok", 7)
    frames = frame_entries(made["frames"])["gop"]
    np.testing.assert_allclose(frames.read_times(), [1.6, 3.2, 6.4, 8.0], atol=1e-6)  # nearest to 1.25, 3.75, ...
    assert [read_number(frames.read_picture(k)) for k in range(4)] == [40, 80, 160, 200]
    (record,) = made["thumbnails"].records
    shown = dict(read_samples(made["thumbnails"].path(record.files[0])))["gop"]
    middles = [2.0, 4.0, 6.0, 8.0, 9.0]
    numbers = [read_number(decode_picture(shown[f"w{window:05d}.jpg"])) for window in range(4)]
    assert numbers == [round(times[np.abs(times - middle).argmin()] * 25) for middle in middles[:4]]
    full = corpus.extract("all", **{**settings, "decode": "all"})
    assert full["features.clip"].fingerprint != made["features.clip"].fingerprint
    assert len(samples(full["features.clip"])["gop"]["spans.npy"]) == 10


def test_frame_folders_are_extracted_like_files(tmp_path: Path) -> None:
    media = tmp_path / "media"
    make_pictures(media / "kicks", 125)
    (make_pictures(media / "torn", 50) / "frame_00030.png").write_bytes(b"no picture")
    lossless = {"vcodec": "libx264rgb", "qp": 0, "pix_fmt": "rgb24"}
    make_video(media / "file", Numbered(num_frames=125, options=lossless))
    made = Corpus(tmp_path, media, frame_rate=25.0).extract("store", thumbnails=False)["features.s3d"]
    found = samples(made)
    np.testing.assert_allclose(found["kicks"]["spans.npy"], [[0, 2], [2, 4], [4, 5]])
    np.testing.assert_allclose(found["kicks"]["s3d.npy"], found["file"]["s3d.npy"], atol=2e-3)
    assert found["kicks"]["json"]["status"] == "ok"
    assert found["torn"]["json"]["status"] == "partial"
    assert found["torn"]["damaged.npy"].tolist() == [True]


def test_a_resnet_s_rows_are_those_of_the_middle_frames(corpus: Corpus) -> None:
    resnet = {"size": "tiny", "fps": 2.0, "short_side": 64, "crop": 48, "seed": 3}
    artifact = corpus.extract("resnet", backbones=("resnet",), resnet=resnet, thumbnails=False)["features.resnet"]
    alpha = samples(artifact, "resnet")["alpha"]
    np.testing.assert_allclose(alpha["spans.npy"], np.stack([np.arange(10) / 2, np.arange(1, 11) / 2], axis=1))
    request = FrameRequest(times_s=alpha["spans.npy"].mean(axis=1), geometry=Geometry(short_side=64, crop=48))
    frames = np.stack([sample.rgb for sample in sample_frames(corpus.media / "alpha.mp4", [request])])
    with torch.inference_mode():
        expected = random_resnet(RESNETS["tiny"], 3)(normalise_frames(torch.from_numpy(frames)))
    np.testing.assert_allclose(alpha["resnet.npy"].astype(np.float32), expected, rtol=2e-3, atol=2e-3)
    assert artifact.about["weights"] == "random:seed=3"
    assert artifact.about["preset"] == {"name": "resnet", "fps": 2.0, "size": "tiny", "short_side": 64, "crop": 48}
    assert alpha["json"]["preset"] == "resnet"


def test_a_resnet_s_weights_name_its_features(corpus: Corpus, tmp_path: Path) -> None:
    weights = tmp_path / "tiny.pth"
    torch.save(
        {"model": {f"module.{k}": v for k, v in random_resnet(RESNETS["tiny"], 5).state_dict().items()}}, weights
    )
    resnet = {"size": "tiny", "short_side": 64, "crop": 64}
    common = {"backbones": ("resnet",), "thumbnails": False}
    given = corpus.extract("given", **common, resnet={**resnet, "weights": weights})["features.resnet"]
    drawn = corpus.extract("drawn", **common, resnet={**resnet, "seed": 5})["features.resnet"]
    assert file_sha256(weights) in given.about["weights"]
    for video_id, parts in samples(given, "resnet").items():
        np.testing.assert_array_equal(parts["resnet.npy"], samples(drawn, "resnet")[video_id]["resnet.npy"])
    other = ExtractConfig(**common, resnet={"weights": weights, "size": "resnet50"})
    with pytest.raises(ConfigError, match=r"\[extract.resnet\].*tiny\.pth: got .* tensors, expected 318"):
        open_backbone(other, "features.resnet")


def test_bad_videos_are_failures_and_the_others_are_untouched(
    folder: Path, corpus: Corpus, made: dict[str, Artifact], tmp_path: Path
) -> None:
    media = tmp_path / "media"
    shutil.copytree(folder, media)
    make_video(media / "gone", Numbered(num_frames=60))
    make_video(media / "noise", Numbered(num_frames=150, noise=40, options={"vcodec": "libx264", "g": 25, "bf": 2}))
    broken = Corpus(tmp_path, media)
    (media / "gone.mp4").write_bytes(b"")
    data = bytearray((media / "noise.mp4").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = np.random.default_rng(0).bytes(3000)
    (media / "noise.mp4").write_bytes(data)
    artifact = broken.extract("store", thumbnails=False)["features.s3d"]
    (record,) = artifact.records
    assert [(failure.input_id, failure.cause, failure.state) for failure in record.failures] == [
        ("gone", "empty_file", "failed")
    ]
    found, whole = samples(artifact), samples(made["features.s3d"])
    for video_id in whole:
        assert found[video_id]["s3d.npy"].tobytes() == whole[video_id]["s3d.npy"].tobytes()
    noise = found["noise"]
    assert noise["json"]["status"] == "partial"
    assert 1 <= noise["damaged.npy"].sum() == noise["json"]["num_damaged"] < len(noise["damaged.npy"])
    assert record.info["partial"] == 1


def test_dropped_tails_leave_short_videos_without_a_clip(corpus: Corpus) -> None:
    artifact = corpus.extract("dropped", tail="drop")["features.s3d"]
    (record,) = artifact.records
    assert [(f.input_id, f.cause) for f in record.failures] == [("beta", "empty_timeline"), ("one", "empty_timeline")]
    assert "use tail = 'keep'" in record.failures[0].message
    assert samples(artifact)["alpha"]["spans.npy"].tolist() == [[0, 2], [2, 4]]


def test_what_decides_bytes_names_the_unit(corpus: Corpus, tmp_path: Path) -> None:
    def identities(**config: Any) -> Any:
        stage = Extract(ExtractConfig(**config), corpus.media)
        inputs = Inputs(store=Store(tmp_path), artifacts={"manifest": corpus.manifest})
        return stage.units(inputs)[0].identities["features.s3d"]

    plain = identities()
    for harmless in (
        {"deadline_s": 5.0}, {"max_attempts": 3}, {"memory_mib": 1024}, {"thumbnails": False}, {"threads": 2},
    ):  # fmt: skip
        assert identities(**harmless) == plain
    for telling in (
        {"decoder": "ffmpeg"}, {"tail": "drop"}, {"s3d": {"seed": 1}}, {"s3d": {"preset": "milnce"}},
        {"s3d": {"arithmetic": "int8"}},
    ):  # fmt: skip
        assert identities(**telling) != plain


def test_what_every_video_must_have_names_all_outputs(corpus: Corpus, tmp_path: Path) -> None:
    """A video without a row of one backbone fails in every output: beside others the same output is another one."""
    resnet = {"size": "tiny", "short_side": 64, "crop": 48}

    def prints(label: str, **config: Any) -> str:
        stage = Extract(ExtractConfig(**config, resnet=resnet), corpus.media)
        plan = plan_stage(stage, Inputs(store=Store(tmp_path), artifacts={"manifest": corpus.manifest}))
        return next(a.description.fingerprint for a in plan.artifacts if a.description.label == label)

    assert prints("thumbnails") != prints("thumbnails", tail="drop")
    assert prints("thumbnails") != prints("thumbnails", s3d={"preset": "milnce"})
    assert prints("thumbnails") == prints("thumbnails", s3d={"seed": 1})
    alone, beside = {"backbones": ("resnet",), "tail": "drop"}, {"backbones": ("s3d", "resnet"), "tail": "drop"}
    assert prints("features.resnet", **alone) != prints("features.resnet", **beside)


def test_a_media_folder_that_is_gone_leaves_the_unit_open(tmp_path: Path) -> None:
    """As when a disk is unmounted: its videos are no failures, even if the place where it was is still there."""
    media = tmp_path / "media"
    media.mkdir()
    path = make_video(media / "one", Numbered(num_frames=1))
    corpus = Corpus(tmp_path, media)
    path.unlink()
    stage = Extract(ExtractConfig(**SMALL, backbones=(), frames={}), media)
    inputs = Inputs(store=Store(tmp_path / "store"), artifacts={"manifest": corpus.manifest})
    plan = plan_stage(stage, inputs)

    def outcomes() -> list[str]:
        reports = InlineExecutor(num_retries=0).run(plan.stage, inputs, plan.jobs())
        return [report.outcome for report in reports if isinstance(report, Report)]

    assert outcomes() == ["open"]
    media.rmdir()
    assert outcomes() == ["open"]
    media.mkdir()
    (media / "other.mp4").touch()
    assert outcomes() == ["committed"], "that one file is gone is its failure"


def test_weights_of_another_checksum_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    weights = tmp_path / "s3d.pth"
    weights.write_bytes(b"no weights")
    config = ExtractConfig(s3d={"weights": weights, "sha256": "0" * 64})
    with pytest.raises(ConfigError, match="expected 0000"):
        open_backbone(config, "features.s3d")
    with pytest.raises(ConfigError, match="there is no file"):
        corpus.extract("weights", s3d={"weights": tmp_path / "nowhere.pth"})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"s3d": {"preset": "kinetics"}}, "expected one of demo, milnce, videoclip"),
        ({"backbones": ()}, "none only with"),
        ({"frames": {"num_frames": 0}}, "greater than or equal to 1"),
        ({"backbones": ("clip",)}, r"\[extract.clip\] is missing"),
        ({"s3d": {"sha256": "0" * 64}}, "sha256 is given without weights"),
        ({"resnet": {"sha256": "0" * 64}}, "sha256 is given without weights"),
        ({"resnet": {"short_side": 200}}, "crop is 224, but short_side is 200"),
        ({"resnet": {"size": "resnet18"}}, "size"),
        ({"decoder": "opencv"}, "decoder"),
        ({"decode": "keyframes"}, "leave 's3d' out here"),
        ({"decode": "keyframes", "backbones": (), "frames": {}, "decoder": "decord"}, "by the decoder 'pyav'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ExtractConfig(**config)


def test_settings_know_the_sizes_that_there_are() -> None:
    assert set(get_args(ResNetWeights.model_fields["size"].annotation)) == set(RESNETS)


def test_settings_import_nothing_heavy() -> None:
    assert S3DConfig().preset == "demo"
    code = "import sys, stages.extract; print(sorted({'torch', 'av', 'ray', 'transformers', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
