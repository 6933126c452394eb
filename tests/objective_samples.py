"""Each objective in small: settings that learn in seconds on the store of `training_samples`."""

import json
from dataclasses import replace
from pathlib import Path
from types import MethodType
from typing import Any

from pydantic import TypeAdapter
from torch import nn

from models.encoders.build import random_encoder
from models.encoders.checkpoint import DualCheckpoint, save_dual
from models.encoders.tokenizer import CaptionTokenizer
from stages.contract import Inputs
from stages.train import Train, TrainConfig
from stages.training.loop import LoopSettings, train
from stages.training.objectives import (
    Objective,
    ObjectiveSettings,
    TACoSettings,
    TempCLRSettings,
    VCLRSettings,
    VideoCLIPSettings,
)
from stages.training.objectives.base import Opening
from stages.training.objectives.retrieval import RetrievalSettings
from stages.training.objectives.taco import TACoSizes
from stages.training.objectives.tempclr import AlignmentSettings, SequenceSettings
from stages.training.objectives.text_video import TextVideoSettings
from stages.training.objectives.views import ViewSettings
from stages.training.optimisation import Optimisation
from stages.training.sampling import OverlapSampling
from stages.training.sizes import EncoderSizes
from stages.training.task import Task
from stages.training.team import ALONE, Team
from tests import annotation_samples as files
from tests.training_samples import DIM, ROW_S, ROWS_A_SCENE, STEPS, make_frames, make_inputs, rows_of

SIZES = EncoderSizes(
    hidden_size=32, num_heads=2, intermediate_size=64, video_layers=1, text_layers=1, vocab_size=200,
    max_positions=64, max_video_len=8, max_text_len=32,
)  # fmt: skip
SAMPLING = OverlapSampling(
    draws_per_video=2, min_text_tokens=1, max_text_tokens=4, kept_text_tokens=32, min_rows=1, max_rows=3
)
PAIRS: dict[str, Any] = {"encoder": SIZES, "sampling": SAMPLING, "batch_videos": 4}
NARROW = SAMPLING.model_copy(update={"draws_per_video": 10, "max_text_tokens": 1, "max_rows": 1})
SEQUENCES: dict[str, Any] = {**PAIRS, "sampling": NARROW, "layer_norms_only": False}

OBJECTIVES: dict[str, ObjectiveSettings] = {
    "videoclip": VideoCLIPSettings(**PAIRS),
    "videoclip-similar": VideoCLIPSettings(
        **PAIRS, retrieval=RetrievalSettings(lists=1, candidates=6, draws_per_video=2, batch_pairs=8)
    ),
    "tempclr-dtw": TempCLRSettings(**SEQUENCES, sequence=SequenceSettings(windows=3, negatives=5)),
    "tempclr-otam": TempCLRSettings(
        **SEQUENCES,
        sequence=SequenceSettings(windows=3, negatives=4, shuffled="both", alignment=AlignmentSettings(method="otam")),
    ),
}

OBJECTIVES["taco"] = TACoSettings(
    encoder=TACoSizes(**SIZES.model_dump(), fusion_layers=1),
    sampling=SAMPLING,
    batch_videos=6,
    negatives=3,
    same_caption_negatives=False,
)
OBJECTIVES["vclr"] = VCLRSettings(
    network="tiny", batch_videos=6, head_width=16, queue=12, momentum=0.9, views=ViewSettings(crop=32, least_area=0.5)
)


STEPS_OF_A_RUN = 30
"""That `config_of` asks for."""

FINE_TUNING: dict[str, dict[str, Any]] = {
    "captions": {"kind": "captions", "dataset": "youcook2", "batch_examples": 8, "max_rows": 4},
    "step-labels": {"kind": "step_labels", "dataset": "coin", "windows": {"rows": 8, "stride": 4}},
    "step-sequences": {"kind": "step_sequences", "dataset": "crosstask", "windows": {"rows": 8, "stride": 4}},
    "episodes": {
        "kind": "episodes", "dataset": "fewshot", "ways": 2, "negatives": 7, "windows": {"rows": 8, "stride": 8}
    },
}  # fmt: skip
"""Those that go on from a checkpoint, on the annotations of a data set, whose files `inputs_of` writes."""

NAMES = (*OBJECTIVES, *FINE_TUNING)


def _write_annotations(folder: Path) -> None:
    """Annotation files of the first 14 videos of `make_inputs`, and in which of them a data set lies."""
    folder.mkdir()
    scene_s = ROWS_A_SCENE * ROW_S
    steps = {f"v{i:02d}": rows_of(i, 6)[1] for i in range(14)}
    scenes = {
        name: [(place * scene_s, (place + 1) * scene_s, step) for place, step in enumerate(shown)]
        for name, shown in steps.items()
    }
    texts = {name: [STEPS[step] for step in shown] for name, shown in steps.items()}
    classes = {name: f"class{shown[0]}" for name, shown in steps.items()}
    datasets = {
        "coin": files.coin(folder, scenes, {}),
        "youcook2": files.youcook2(folder, scenes, {}, texts),
        "crosstask": files.crosstask(folder, {"1": range(6)}, {"1": scenes}, num_train=12),
        "fewshot": files.fewshot(folder, classes, {"v19": "other"}),
    }
    (folder / "datasets.json").write_text(json.dumps(datasets))


def _write_start(folder: Path) -> None:
    """An encoder with random weights, as if it had been trained."""
    tokenizer = CaptionTokenizer.train(STEPS, vocab_size=SIZES.vocab_size, max_len=SIZES.max_text_len)
    config = SIZES.to_config(
        vocab_size=tokenizer.vocab_size, feature_dim=DIM, backbone="s3d", cls_id=tokenizer.cls_id,
        sep_id=tokenizer.sep_id,
    )  # fmt: skip
    encoder = random_encoder(replace(config, dropout=0.0), 0)
    save_dual(DualCheckpoint(encoder=encoder, tokenizer=tokenizer, start_weights="random:seed=0", trained=True), folder)


def objective_of(name: str, root: Path) -> ObjectiveSettings:
    """The settings of an objective whose inputs lie in `root`."""
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    facts = FINE_TUNING[name]
    found: ObjectiveSettings = TypeAdapter(Objective).validate_python(
        {**facts, "dataset": json.loads((root / "annotations" / "datasets.json").read_text())[facts["dataset"]]}
    )
    return found


def config_of(name: str, root: Path | None = None, **changes: Any) -> TrainConfig:
    """The settings of a run of an objective: STEPS_OF_A_RUN steps, a checkpoint after each fourth.

    Args:
        name: of the objective.
        root: where `inputs_of` put what it reads; only fine-tuning asks for it.
        changes: of the settings.
    """
    steps = Optimisation(steps=STEPS_OF_A_RUN, learning_rate=2e-3, warmup_steps=4, decay_steps=40, threads=1)
    if name in FINE_TUNING:
        assert root is not None
        changes = {"start": root / "start", **changes}
    return TrainConfig(
        objective=OBJECTIVES["videoclip"], optimisation=steps, holdout_fraction=0.1, checkpoint_every=4
    ).model_copy(update={"objective": objective_of(name, root or Path()), **changes})


def inputs_of(name: str, root: Path) -> Inputs:
    """What an objective reads, sealed."""
    inputs = make_inputs(root, 20, scenes=6)
    if name in FINE_TUNING:
        _write_start(root / "start")
        _write_annotations(root / "annotations")
    elif "frames" in OBJECTIVES[name].reads:
        return replace(inputs, artifacts={**inputs.artifacts, "frames": make_frames(inputs.store, 20)})
    return inputs


def open_task(
    name: str, inputs: Inputs, *, objective: ObjectiveSettings | None = None, accumulate: int = 1, team: Team = ALONE
) -> Task[Any]:
    """Open an objective on what `inputs_of` made, its first epoch not yet laid out.

    Args:
        name: of the objective.
        inputs: what it reads.
        objective: other settings than `objective_of` has.
        accumulate: batches an update.
        team: the processes that train together; they share every batch that can be shared.
    """
    root = inputs.store.root
    objective = objective or objective_of(name, root)
    config = config_of(name, root, objective=objective)
    (unit,) = Train(config).units(inputs)
    opening = Opening(
        artifacts={label: inputs[label] for label in objective.reads},
        video_ids=unit.payload["video_ids"],
        payload=unit.payload["material"],
        start=config.start, tokenizer=None, seed=0, accumulate=accumulate, team=team,
        sharers=team if objective.shares_batches else ALONE,
    )  # fmt: skip
    return objective.open(opening)


def losses_of(name: str, inputs: Inputs) -> list[float]:
    """The losses of six steps without dropout and batch norm's batches, of this process's team if it has one.

    What the processes of a team divide is each batch, or the two batches of an update where a batch stays whole.
    """
    root = inputs.store.root
    objective = objective_of(name, root)
    if isinstance(objective, TextVideoSettings):
        sizes = objective.encoder.model_copy(update={"dropout": 0.0})
        objective = objective.model_copy(update={"encoder": sizes})
    team = Team.of_this_process()
    split, accumulate = ("pairs", 1) if objective.shares_batches else ("batches", 2)
    task = open_task(name, inputs, objective=objective, accumulate=accumulate, team=team)
    for layer in task.module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval().train = MethodType(lambda self, mode=True: self, layer)
    steps = config_of(name, root).optimisation.model_copy(update={"steps": 6, "accumulate": accumulate})
    history = train(task, LoopSettings(optimisation=steps, seed=0, team=team, split=split))
    return [record.loss for record in history]
