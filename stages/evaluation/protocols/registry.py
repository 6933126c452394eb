"""Which function measures what a configuration asks for. A protocol is added here and in `protocol_choice.py`."""

from collections.abc import Callable
from typing import Any

from stages.evaluation import protocol_configs as configs
from stages.evaluation.fine_tuning_config import FineTuningConfig
from stages.evaluation.frame_protocol_configs import (
    FewShotConfig,
    FewShotStatesConfig,
    LinearProbeConfig,
    LocalisationConfig,
    VideoRetrievalConfig,
)
from stages.evaluation.material import Material
from stages.evaluation.protocols.action_localisation import action_localisation
from stages.evaluation.protocols.action_segmentation import action_segmentation
from stages.evaluation.protocols.clip_retrieval import clip_retrieval
from stages.evaluation.protocols.few_shot import few_shot, few_shot_states
from stages.evaluation.protocols.fine_tuning import fine_tuning
from stages.evaluation.protocols.full_video_retrieval import full_video_retrieval
from stages.evaluation.protocols.linear_probe import linear_probe
from stages.evaluation.protocols.moment_localisation import moment_localisation
from stages.evaluation.protocols.multiple_choice import multiple_choice
from stages.evaluation.protocols.step_localisation import step_localisation
from stages.evaluation.protocols.video_retrieval import video_retrieval
from stages.evaluation.protocols.whole_paragraph_retrieval import whole_paragraph_retrieval
from stages.evaluation.records import ProtocolResult
from stages.evaluation.scoring import ProtocolSettings

Measure = Callable[[Material, Any, ProtocolSettings], list[ProtocolResult]]

PROTOCOLS: dict[type[configs.ProtocolConfig], Measure] = {
    configs.ClipRetrievalConfig: clip_retrieval,
    configs.FullVideoConfig: full_video_retrieval,
    configs.WholeParagraphConfig: whole_paragraph_retrieval,
    configs.MultipleChoiceConfig: multiple_choice,
    configs.SegmentationConfig: action_segmentation,
    configs.StepLocalisationConfig: step_localisation,
    configs.MomentLocalisationConfig: moment_localisation,
    LinearProbeConfig: linear_probe,
    VideoRetrievalConfig: video_retrieval,
    FewShotConfig: few_shot,
    FewShotStatesConfig: few_shot_states,
    LocalisationConfig: action_localisation,
    FineTuningConfig: fine_tuning,
}
"""By the class of its settings, which is the function's second argument."""
