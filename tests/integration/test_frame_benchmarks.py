"""Protocols of frame backbones through every stage: encoded videos, extract, evaluate; CLIP and ResNet, both random."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from models.backbones.resnet import RESNETS, random_resnet
from models.backbones.resnet_weights import load_resnet
from pipeline.config import RunConfig
from pipeline.executors.inline import InlineExecutor
from pipeline.plan import build_stages, resolve
from pipeline.progress import LineProgress
from pipeline.run import Outcome, RunContext, run_stages
from pipeline.runs import start_run
from stages.artifacts.layout import Store
from stages.errors import ConfigError
from tests.action_media import ActionSet
from tests.clip_factory import save_random_clip


@pytest.fixture(scope="module")
def actions(tmp_path_factory: pytest.TempPathFactory) -> ActionSet:
    return ActionSet(tmp_path_factory.mktemp("actions")).make()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_clip(tmp_path_factory.mktemp("clip"))


def configuration(actions: ActionSet, clip: Path, benchmarks: list[dict[str, Any]], **changes: Any) -> RunConfig:
    extract = {
        "backbones": ["clip", "resnet"],
        "clip": {"model": str(clip), "fps": 4.0},
        "resnet": {"size": "tiny", "fps": 4.0, "short_side": 64, "crop": 64},
        "frames": {"num_frames": 16, "width": 64, "height": 64},
        "thumbnails": False,
        "videos_per_shard": 8,
    }
    settings = {
        "name": "actions",
        "root": str(actions.root / "store"),
        "encoder": "none",
        "executor": {"kind": "inline"},
        "ingest": {"media": str(actions.media)},
        "extract": extract,
        "evaluate": {"num_resamples": 100, "benchmarks": benchmarks},
    }
    return resolve(RunConfig.model_validate(settings | changes))


def run(config: RunConfig) -> Outcome:
    store = Store(config.root)
    context = RunContext(
        name=config.name,
        store=store,
        run=start_run(store, config.fingerprint(), config.to_toml()),
        make_executor=lambda: InlineExecutor(num_retries=0),
        view=LineProgress(io.StringIO()),
    )
    return run_stages(build_stages(config), context)


def metrics_of(outcome: Outcome, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(outcome.artifacts["evaluation"].path_in(name, "metrics.json").read_bytes())
    return found


LOCALISATION = {
    "name": "action_localisation",
    "num_segments": 3,
    "dropout": 0.2,
    "classifier": {"epochs": 20, "learning_rate": 0.05, "drops": []},
    "num_steps": 16,
    "sizes": {"hidden": 16, "pair_hidden": 16, "map_hidden": 8, "num_samples": 8},
    "proposals": {"epochs": 30, "batch_size": 5, "learning_rate": 5e-3, "drops": [25]},
    "classes_per_proposal": 1,
}


TUNING = {
    "name": "fine_tuning",
    "num_segments": 3,
    "dropout": 0.2,
    "mirrored": True,
    "train_side": 48,
    "fit": {"epochs": 12, "batch_size": 5, "learning_rate": 0.02, "drops": [9], "clip_norm": 40.0},
    "test_frames": 6,
    "test_side": 48,
    "test_short_side": 64,
}


def tuned(backbone: dict[str, Any], name: str, actions: ActionSet, **changes: Any) -> dict[str, Any]:
    return {"name": name, "dataset": actions.ucf101(), "protocol": {**TUNING, **backbone, **changes}}


def of_backbone(backbone: str, actions: ActionSet) -> list[dict[str, Any]]:
    protocols = {
        "localisation": ("activitynet", LOCALISATION),
        "probe": ("ucf101", {"name": "linear_probe"}),
        "retrieval": ("ucf101", {"name": "video_retrieval", "ks": [1, 5]}),
        "fewshot": ("fewshot", {"name": "few_shot", "shots": [1, 2], "num_episodes": 200}),
    }
    return [
        {
            "name": f"{backbone}-{name}",
            "dataset": getattr(actions, dataset)(),
            "split": "val" if dataset == "activitynet" else "test",
            "protocol": {**protocol, "backbone": backbone},
        }
        for name, (dataset, protocol) in protocols.items()
    ]


@pytest.fixture(scope="module")
def measured(actions: ActionSet, clip: Path) -> Outcome:
    benchmarks = [
        *of_backbone("clip", actions),
        *of_backbone("resnet", actions),
        tuned({"clip": str(clip)}, "clip-tuned", actions),
        tuned({"resnet": {"size": "tiny"}}, "resnet-tuned", actions, keep_weights=True, test_crops="ten"),
    ]
    return run(configuration(actions, clip, benchmarks))


@pytest.mark.parametrize(("backbone", "least"), [("clip", 0.5), ("resnet", 0.9)])
def test_what_is_seen_is_known(measured: Outcome, backbone: str, least: float) -> None:
    probe = metrics_of(measured, f"{backbone}-probe")
    top = probe["protocols"]["linear_probe"]["scores"]["top-1"]
    assert top["value"] >= least
    assert top["chance"] == pytest.approx(0.2)
    assert top["baselines"] == {"majority class": pytest.approx(0.2)}
    assert (probe["split"]["num_videos"], probe["split"]["num_measured"]) == (15, 15)
    found = metrics_of(measured, f"{backbone}-retrieval")["protocols"]["video_to_video"]
    assert found["scores"]["R@1"]["value"] >= least
    assert (found["num_queries"], found["gallery_size"]) == (15, 15)
    fewshot = metrics_of(measured, f"{backbone}-fewshot")["protocols"]
    for name, protocol in fewshot.items():
        assert protocol["scores"]["accuracy"]["chance"] == pytest.approx(0.2)
        assert protocol["scores"]["accuracy"]["low"] > 2 * 0.2, name
    assert len(fewshot) == 6


@pytest.mark.parametrize("backbone", ["clip", "resnet"])
def test_where_it_is_seen_is_known(measured: Outcome, backbone: str) -> None:
    protocols = metrics_of(measured, f"{backbone}-localisation")["protocols"]
    found = protocols["action_proposals"]["scores"]
    assert found["AR@5"]["low"] > found["AR@5"]["chance"] + 0.1
    assert found["AR@5"]["value"] > found["AR@5"]["baselines"]["whole video"] + 0.1
    precision = protocols["action_detection"]["scores"]["mAP@0.5"]
    assert precision["value"] > precision["baselines"]["whole video"]


@pytest.mark.parametrize(("backbone", "least"), [("clip", 0.5), ("resnet", 0.8)])
def test_what_is_trained_on_is_known_better(measured: Outcome, backbone: str, least: float) -> None:
    metrics = metrics_of(measured, f"{backbone}-tuned")
    found = metrics["protocols"]["fine_tuning"]
    assert found["scores"]["top-1"]["value"] >= least
    assert found["scores"]["top-1"]["chance"] == pytest.approx(0.2)
    assert found["missing"]["videos_without_intact_frame"] == 0
    assert metrics["encoder"]["random_weights"] is (backbone == "resnet")
    assert "fine-tuned here from" in metrics["encoder"]["description"]
    page = measured.artifacts["evaluation"].path_in(f"{backbone}-tuned", "report.html").read_text()
    assert "The fit" in page
    assert "fit.learning_rate 0.02" in page


def test_fitted_weights_are_weights_of_the_backbone(measured: Outcome) -> None:
    path = measured.artifacts["evaluation"].path_in("resnet-tuned", "weights.safetensors")
    fitted, start = load_resnet(path, RESNETS["tiny"]), random_resnet(RESNETS["tiny"], 0)
    assert fitted.bn1.num_batches_tracked == 12 * 3
    assert not torch.equal(fitted.layer4[0].conv3.weight, start.layer4[0].conv3.weight)


def test_the_page_names_the_backbone_and_its_random_weights(measured: Outcome) -> None:
    metrics = metrics_of(measured, "resnet-probe")
    assert metrics["encoder"]["random_weights"] is True
    assert metrics["encoder"]["features"] == "resnet preset resnet, weights random:seed=0"
    assert metrics["protocols"]["linear_probe"]["trained_on_these_videos"] == "no"
    trained = metrics_of(measured, "clip-probe")["protocols"]["linear_probe"]
    assert trained["trained_on_these_videos"] == "unknown"  # nobody says what frozen weights have seen
    page = measured.artifacts["evaluation"].path_in("resnet-probe", "report.html").read_text()
    assert "majority class" in page
    assert "random" in page


def test_another_number_redoes_one_benchmark(measured: Outcome, actions: ActionSet, clip: Path) -> None:
    benchmarks = of_backbone("clip", actions)
    benchmarks[1]["protocol"]["cost"] = 2.0
    before = measured.artifacts["evaluation"].description.units
    after = run(configuration(actions, clip, benchmarks)).artifacts["evaluation"].description.units
    assert {name for name in after if after[name].fingerprint != before[name].fingerprint} == {"clip-probe"}


def test_videos_that_are_not_there_are_counted(actions: ActionSet, clip: Path, tmp_path: Path) -> None:
    dataset = actions.ucf101()
    longer = tmp_path / "testlist01.txt"
    longer.write_text(Path(dataset["test"]).read_text() + "Blue/v_Blue_g99_c01.avi\n")
    benchmark = of_backbone("resnet", actions)[1] | {"dataset": {**dataset, "test": str(longer)}}
    metrics = metrics_of(run(configuration(actions, clip, [benchmark])), "resnet-probe")
    assert metrics["split"]["missing"]["absent"] == {"count": 1, "first": ["v_Blue_g99_c01"]}
    assert metrics["split"]["source"].startswith("15 of 16 videos are scored")


def test_a_backbone_that_the_run_does_not_extract_is_refused_when_planning(actions: ActionSet, clip: Path) -> None:
    benchmarks = of_backbone("resnet", actions)
    with pytest.raises(ConfigError, match=r"resnet-localisation: protocol .* reads features\.resnet, which"):
        configuration(actions, clip, benchmarks, extract={"backbones": ["clip"], "clip": {"model": str(clip)}})


def test_a_run_without_an_encoder_embeds_nothing(measured: Outcome) -> None:
    assert not {"embeddings", "index", "checkpoint"} & set(measured.artifacts)


def test_a_text_protocol_without_an_encoder_is_refused(actions: ActionSet, clip: Path) -> None:
    benchmark = {"name": "clips", "dataset": actions.ucf101(), "protocol": {"name": "clip_retrieval"}}
    with pytest.raises(ConfigError, match=r"compares videos with texts, but encoder = 'none'"):
        configuration(actions, clip, [benchmark])
