"""Every protocol that a configuration may name, by its `name`. Knows no torch."""

from typing import Annotated

from pydantic import Field

from stages.evaluation.frame_protocol_configs import FewShotConfig, LinearProbeConfig, VideoRetrievalConfig
from stages.evaluation.protocol_configs import TextProtocol

AnyProtocol = Annotated[
    TextProtocol | LinearProbeConfig | VideoRetrievalConfig | FewShotConfig, Field(discriminator="name")
]
