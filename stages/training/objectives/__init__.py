"""The objectives that a run can choose by `train.objective.kind`: settings only, so that planning is cheap."""

from typing import Annotated

from pydantic import Field

from stages.training.objectives.base import ObjectiveSettings
from stages.training.objectives.captions import CaptionsSettings
from stages.training.objectives.episodes import EpisodesSettings
from stages.training.objectives.step_labels import StepLabelsSettings
from stages.training.objectives.step_sequences import StepSequencesSettings
from stages.training.objectives.taco import TACoSettings
from stages.training.objectives.tempclr import TempCLRSettings
from stages.training.objectives.vclr import VCLRSettings
from stages.training.objectives.videoclip import VideoCLIPSettings

__all__ = [
    "CaptionsSettings",
    "EpisodesSettings",
    "Objective",
    "ObjectiveSettings",
    "StepLabelsSettings",
    "StepSequencesSettings",
    "TACoSettings",
    "TempCLRSettings",
    "VCLRSettings",
    "VideoCLIPSettings",
]

Objective = Annotated[
    VideoCLIPSettings
    | TempCLRSettings
    | TACoSettings
    | VCLRSettings
    | CaptionsSettings
    | StepLabelsSettings
    | StepSequencesSettings
    | EpisodesSettings,
    Field(discriminator="kind"),
]
