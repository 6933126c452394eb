"""One paragraph against one video, as the report draws it. Letters: S sentences, N windows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentExample:
    """One paragraph against one video.

    Attributes:
        title: What is compared.
        note: What to see in it.
        texts: S sentences.
        similarity: (S, N) float64 cosines.
        path: (sentence, window) cells of the hard DTW path in order.
        told: (S, N) bool, the windows that the transcript names; all False for another video.
        spans: (N, 2) float64 seconds.
        score: Of the path: minus its total cost over its cells.
        video_id: Of the manifest: whose thumbnails are shown.
    """

    title: str
    note: str
    texts: tuple[str, ...]
    similarity: NDArray[np.float64]
    path: tuple[tuple[int, int], ...]
    told: NDArray[np.bool_]
    spans: NDArray[np.float64]
    score: float
    video_id: str
