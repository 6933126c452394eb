"""Every protocol that a configuration may name, by its `name`. Knows no torch."""

from typing import Annotated

from pydantic import Field

from stages.evaluation.fine_tuning_config import FineTuningConfig
from stages.evaluation.frame_protocol_configs import (
    FewShotConfig,
    FewShotStatesConfig,
    LinearProbeConfig,
    LocalisationConfig,
    VideoRetrievalConfig,
)
from stages.evaluation.protocol_configs import TextProtocol

FrameProtocol = (
    LinearProbeConfig
    | VideoRetrievalConfig
    | FewShotConfig
    | FewShotStatesConfig
    | LocalisationConfig
    | FineTuningConfig
)
AnyProtocol = Annotated[TextProtocol | FrameProtocol, Field(discriminator="name")]
