"""Each objective in small: settings that learn in seconds on the store of `training_samples`."""

from dataclasses import replace
from pathlib import Path
from types import MethodType
from typing import Any

from torch import nn

from stages.contract import Inputs
from stages.train import Train, TrainConfig
from stages.training.loop import LoopSettings, train
from stages.training.objectives import ObjectiveSettings, TACoSettings, TempCLRSettings, VCLRSettings, VideoCLIPSettings
from stages.training.objectives.base import Opening
from stages.training.objectives.retrieval import RetrievalSettings
from stages.training.objectives.taco import TACoSizes
from stages.training.objectives.tempclr import AlignmentSettings, SequenceSettings
from stages.training.objectives.text_video import TextVideoSettings
from stages.training.objectives.views import ViewSettings
from stages.training.optimisation import Optimisation
from stages.training.sampling import OverlapSampling
from stages.training.sizes import EncoderSizes
from stages.training.team import Team
from tests.training_samples import make_frames, make_inputs

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


def config_of(name: str, **changes: Any) -> TrainConfig:
    """The settings of a run of an objective: 30 steps, a checkpoint after each fourth."""
    steps = Optimisation(steps=30, learning_rate=2e-3, warmup_steps=4, decay_steps=40, threads=1)
    return TrainConfig(
        objective=OBJECTIVES[name], optimisation=steps, holdout_fraction=0.1, checkpoint_every=4
    ).model_copy(update=changes)


def inputs_of(name: str, root: Path) -> Inputs:
    """What an objective reads, sealed."""
    inputs = make_inputs(root, 20, scenes=6)
    if "frames" in OBJECTIVES[name].reads:
        return replace(inputs, artifacts={**inputs.artifacts, "frames": make_frames(inputs.store, 20)})
    return inputs


def losses_of(name: str, inputs: Inputs) -> list[float]:
    """The losses of six steps without dropout and batch norm's batches, of this process's team if it has one."""
    objective = OBJECTIVES[name]
    if isinstance(objective, TextVideoSettings):
        sizes = objective.encoder.model_copy(update={"dropout": 0.0})
        objective = objective.model_copy(update={"encoder": sizes})
    config = config_of(name, objective=objective)
    stage = Train(config)
    (unit,) = stage.units(inputs)
    team = Team.of_this_process()
    opening = Opening(
        artifacts={label: inputs[label] for label in objective.reads},
        video_ids=unit.payload["video_ids"],
        payload=unit.payload["material"],
        start=None, tokenizer=None, seed=0, accumulate=1, team=team, sharers=team,
    )  # fmt: skip
    steps = config.optimisation.model_copy(update={"steps": 6})
    task = objective.open(opening)
    for layer in task.module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval().train = MethodType(lambda self, mode=True: self, layer)
    history = train(task, LoopSettings(optimisation=steps, seed=0, team=team))
    return [record.loss for record in history]
