"""Each method's configuration runs as it stands, made small by a few settings; those at full scale can be planned."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pipeline import commands
from pipeline.config import RunConfig, load_config
from stages.contract import StageConfig
from stages.training.objectives import TACoSettings, TempCLRSettings, VCLRSettings, VideoCLIPSettings
from tests.small_run import ROOT, SmallRun

SMALLER = {
    "videoclip": ("train.objective.batch_videos=4", "train.objective.retrieval.candidates=6"),
    "tempclr": ("train.objective.batch_videos=4",),
    "taco": ("train.objective.batch_videos=6", "train.objective.negatives=3"),
    "vclr": ("train.objective.batch_videos=4", "train.objective.network=tiny", "extract.frames.num_frames=9"),
}
EVERYWHERE = ("executor.kind=inline", "train.optimisation.steps=3", "train.optimisation.threads=1")
FULL_SCALE = {
    "howto100m-videoclip": VideoCLIPSettings,
    "howto100m-tempclr": TempCLRSettings,
    "howto100m-taco": TACoSettings,
    "kinetics400-vclr": VCLRSettings,
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of six or seven scenes, told: enough for sequences of four windows."""
    run = SmallRun(tmp_path_factory.mktemp("corpus")).write(
        corpus__num_train=10, corpus__num_test=2, corpus__num_train_pairs=0, corpus__num_pairs=0, corpus__min_scenes=6,
        corpus__max_scenes=6,
    )  # fmt: skip
    run.fabula("corpus")
    return run.videos


@pytest.fixture(scope="module")
def folder(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands of the configurations' comments are given."""
    folder = tmp_path_factory.mktemp("methods")
    (folder / "videos").symlink_to(videos)
    return folder


@pytest.mark.parametrize("name", SMALLER)
def test_a_method_s_configuration_runs(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of their comments: TempCLR goes on from what VideoCLIP's run exports."""
    monkeypatch.chdir(folder)
    # One store for all: what two methods have in common is made once.
    config = load_config(ROOT / "configs" / f"{name}.toml", [*EVERYWHERE, *SMALLER[name], "root=out/store"])
    outcome = commands.run(config, only=None, until=None, rehash=False)
    assert not outcome.open_units
    assert config.train.objective.kind == name
    target = {"videoclip": "out/videoclip-encoder", "vclr": "out/vclr-backbone"}.get(name, f"out/{name}")
    files = commands.export(config, "checkpoint", Path(target))
    assert {"model.safetensors", "README.md", "history.parquet"} <= set(files)
    assert ("index" in outcome.artifacts) == (name != "vclr")


def lay_out(folder: Path, videos: Path) -> None:
    """What the comments of the configurations at full scale ask for: a few videos, and files that are only hashed."""
    for name in ("howto100m/videos", "kinetics400/train"):
        (folder / "data" / name).mkdir(parents=True)
        for path in sorted(videos.glob("*.mp4"))[:5]:
            shutil.copy(path, folder / "data" / name)
    rows = "".join(f"videos/{path.name}\n" for path in sorted((folder / "data/howto100m/videos").iterdir()))
    (folder / "data" / "howto100m" / "tempclr.csv").write_text("path\n" + rows)
    (folder / "data" / "howto100m" / "captions").mkdir()
    for path in videos.glob("*.vtt"):
        shutil.copy(path, folder / "data" / "howto100m" / "captions")
    for name in (
        "s3d_howto100m.pth", "videoclip/checkpoint_best.pt", "moco_v2_200ep_pretrain.pth.tar",
        "bert-base-uncased/vocab.txt", "en_core_web_sm/meta.json",
    ):  # fmt: skip
        (folder / "weights" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "weights" / name).write_bytes(name.encode())


def plans(config: RunConfig) -> Mapping[str, object]:
    return {plan["stage"]: plan.get("after") for plan in commands.plan(config)}


@pytest.mark.parametrize("name", FULL_SCALE)
def test_a_configuration_at_full_scale_is_planned(
    name: str, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path, videos)
    monkeypatch.chdir(tmp_path)
    config = load_config(ROOT / "configs" / f"{name}.toml", ["executor.kind=inline", "train.workers.count=1"])
    commands.run(config, only=None, until="ingest", rehash=False)
    expected: dict[str, object] = {"ingest": None, "extract": None, "align": None, "train": "extract"}
    if config.train.objective.makes_encoder:
        expected |= {"embed": "extract", "index": "embed", "evaluate": "extract"}
    assert plans(config) == expected


def spelt_out(settings: StageConfig, below: str = "") -> Sequence[str]:
    """The settings, those of tables among them, that differ from their defaults."""
    found: list[str] = []
    for name, field in type(settings).model_fields.items():
        value, default = getattr(settings, name), field.get_default(call_default_factory=True)
        if isinstance(value, StageConfig) and type(value) is type(default):
            found += spelt_out(value, f"{below}{name}.") if value != default else []
        elif value != default:
            found.append(f"{below}{name}")
    return found


@pytest.mark.parametrize("name", FULL_SCALE)
def test_the_numbers_at_full_scale_are_the_published_defaults(name: str) -> None:
    """What a configuration spells out is what its objective does by default, but for what these cannot know."""
    objective = load_config(ROOT / "configs" / f"{name}.toml").train.objective
    assert type(objective) is FULL_SCALE[name]
    open_ones = {
        "howto100m-videoclip": ["bert", "standardise_features", "retrieval"],
        "howto100m-tempclr": ["standardise_features", "retrieval"],
        "howto100m-taco": ["bert", "standardise_features", "words.spacy"],
        "kinetics400-vclr": [],
    }
    differing = [found for found in spelt_out(objective) if not found.startswith("sampling.")]
    assert sorted(differing) == sorted(open_ones[name])
    published = TACoSettings().sampling if name == "howto100m-taco" else VideoCLIPSettings().sampling
    assert getattr(objective, "sampling", published) == published
