"""What a decoder is: it opens a file and gives its frames forward, once, with their true presentation times."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from stages.media.geometry import Geometry, Rgb
from stages.media.sources import Source


class Frame(Protocol):
    """One decoded frame; valid until the next is asked for, unless the holder keeps a reference."""

    @property
    def time_s(self) -> float:
        """Presentation time on the browser's clock (0 is the container's start after edit lists)."""

    @property
    def duration_s(self) -> float:
        """How long it is shown if no other follows; > 0."""

    @property
    def corrupt(self) -> bool:
        """True if its content may differ from the undamaged file's."""

    @property
    def after_loss(self) -> bool:
        """True if frames may be missing between the one before and this one."""

    def rgb(self, geometry: Geometry) -> Rgb:
        """Give the picture as (H, W, 3) uint8 RGB, turned for display and brought to `geometry`."""


class OpenVideo(Protocol):
    """A file that is being decoded."""

    @property
    def num_errors(self) -> int:
        """Decode errors met so far and frames flagged as corrupt; the decoder went on after each."""

    def frames(self) -> Iterator[Frame]:
        """Give all frames in order of presentation; times ascend where no time stamp is damaged.

        Raises:
            DecodeError: the decoder cannot go on at all.
        """


class Decoder(Protocol):
    """A way to decode files."""

    def open(self, source: Source) -> AbstractContextManager[OpenVideo]:
        """Open a file, or a folder of pictures.

        Raises:
            DecodeError: it cannot be opened, with the cause.
        """
