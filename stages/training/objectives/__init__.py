"""The objectives that a run can choose by `train.objective.kind`: settings only, so that planning is cheap."""

from typing import Annotated

from pydantic import Field

from stages.training.objectives.base import ObjectiveSettings
from stages.training.objectives.taco import TACoSettings
from stages.training.objectives.tempclr import TempCLRSettings
from stages.training.objectives.vclr import VCLRSettings
from stages.training.objectives.videoclip import VideoCLIPSettings

__all__ = ["Objective", "ObjectiveSettings", "TACoSettings", "TempCLRSettings", "VCLRSettings", "VideoCLIPSettings"]

Objective = Annotated[VideoCLIPSettings | TempCLRSettings | TACoSettings | VCLRSettings, Field(discriminator="kind")]
