"""Caption average: the mean over sentences of the best window, wherever it lies. It knows nothing of order.

Source: the baseline of TempCLR, arXiv:2212.13738; `clean` form: cosine similarity.
"""

from collections.abc import Sequence

import numpy as np

from models.alignment.dtw import F32, F64, unit_rows


def caption_average_matrix(texts: Sequence[F32], videos: Sequence[F32]) -> F64:
    """Score every text against every video.

    Args:
        texts: P arrays (S_p, E), S_p at least 1.
        videos: V arrays (N_v, E), N_v at least 1.

    Returns:
        (P, V) float64 mean best cosine, greater is better.

    Raises:
        ValueError: an array is empty or has another width, or holds a NaN.
    """
    text_rows = [unit_rows(text) for text in texts]
    if not texts or not videos:
        return np.zeros((len(texts), len(videos)))
    windows = np.concatenate([unit_rows(video) for video in videos])
    starts = np.cumsum([0, *(len(video) for video in videos[:-1])])
    return np.stack([np.maximum.reduceat(text @ windows.T, starts, axis=1).mean(axis=0) for text in text_rows])
