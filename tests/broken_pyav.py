"""A decode process that preloads this has a decoder `pyav` that misbehaves for files of certain names."""

from stages.media.decoders import DECODERS
from tests.broken_decoders import ByName

DECODERS["pyav"] = ByName
