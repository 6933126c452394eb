"""Which function measures what a configuration asks for. A protocol is added here and in `protocol_configs.py`."""

from collections.abc import Callable
from typing import Any

from stages.evaluation.material import Material
from stages.evaluation.protocol_configs import ClipRetrievalConfig, ProtocolConfig
from stages.evaluation.protocols.clip_retrieval import clip_retrieval
from stages.evaluation.records import ProtocolResult
from stages.evaluation.scoring import ProtocolSettings

Measure = Callable[[Material, Any, ProtocolSettings], list[ProtocolResult]]

PROTOCOLS: dict[type[ProtocolConfig], Measure] = {
    ClipRetrievalConfig: clip_retrieval,
}
"""By the class of its settings, which is the function's second argument."""
