"""What decoders have in common whose libraries give whole RGB pictures by number, and no word of damage."""

from dataclasses import dataclass, field

import av
import numpy as np
from numpy.typing import NDArray

from stages.errors import DecodeError
from stages.media.causes import UNSUPPORTED, decode_error, normalise_words
from stages.media.geometry import Geometry, Rgb, Scaler


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFrame:
    """A picture that is RGB already, turned for display; see `decoders.base.Frame`."""

    time_s: float
    duration_s: float
    pixels: Rgb = field(repr=False)
    scalers: dict[Geometry, Scaler] = field(repr=False)
    corrupt: bool = False
    after_loss: bool = False

    def rgb(self, geometry: Geometry) -> Rgb:
        """Give the picture brought to `geometry`."""
        picture = av.VideoFrame.from_ndarray(self.pixels, format="rgb24")
        return self.scalers.setdefault(geometry, Scaler(geometry))(picture, 0)


def same_frames(stamps: NDArray[np.float64], times_s: NDArray[np.float64]) -> bool:
    """Whether a library's time stamps, from wherever it counts, name the frames that the packets hold."""
    # Two packets with one time stamp: one of them is hidden (VP8's reference frames), which a library may take for one.
    if len(stamps) != len(times_s) or not len(stamps) or np.any(np.diff(times_s) <= 0):
        return False
    return bool(np.allclose(stamps - stamps[0], times_s - times_s[0], rtol=1e-6, atol=2e-3))


def refused(name: str, library: str, words: str) -> DecodeError:
    """Say that a library cannot decode a file, and what can."""
    return decode_error(
        UNSUPPORTED,
        f"{name}: {library} cannot decode it ({normalise_words(words)}); use the decoder 'pyav', which can",
    )
