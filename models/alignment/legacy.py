"""Full-video retrieval scores as published, with their defects: for comparison with published tables only.

Everything stands on raw dot products m, not on cosines; a cost is (1 - m) times a factor of the two lengths. What is
wrong, and kept (papers.md, 7.3): the block behind the matrix that is set to zero begins with the *last valid row*; for
a video of maximal length its column slice `-0:` takes in all columns, so that the last sentence is lost; OTAM
*subtracts* the minimum in its first real column; with background the transposed block is padded to the shape of the
block that is not, and a negative padding crops. Scores follow from float32 sums, as published.

Source: TempCLR `tempclr/evaluators/metric.py`, `tempclr/utils/metrics.py`; clean forms: `dtw.py`, `otam.py`.
Letters: V videos, C captions or clips of all videos, one video's after the other's.
"""

from collections.abc import Callable, Iterator, Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from models.alignment.sequences import F32

_KEPT_PER_CAPTION = 1.3
_Cost = Callable[[F32], float]


def legacy_caption_average(similarity: F32, text_lengths: Sequence[int], video_lengths: Sequence[int]) -> F32:
    """The mean over a video's captions of the best clip.

    Args:
        similarity: (sum of text_lengths, sum of video_lengths) dot products.
        text_lengths: Captions of each video, at least 1.
        video_lengths: Clips (or windows, with background) of each video, at least 1.

    Returns:
        (V, V) float32, rows = texts.

    Raises:
        ValueError: the lengths do not sum to the matrix.
    """
    blocks = _blocks(similarity, text_lengths, video_lengths)
    scores = [block.max(axis=1).mean() for _, _, block in blocks]
    return np.array(scores, np.float32).reshape(len(text_lengths), len(video_lengths))


def legacy_dtw(similarity: F32, lengths: Sequence[int]) -> F32:
    """DTW between the captions and the clips of all videos, without background.

    Args:
        similarity: (C, C) dot products of captions and clips.
        lengths: Clips, and so captions, of each video.

    Returns:
        (V, V) float32, greater is better.

    Raises:
        ValueError: the lengths do not sum to the matrix.
    """
    longest = max(lengths)
    return _score(similarity, lengths, lambda cost: _dtw(_padded(cost, longest, longest)))


def legacy_otam(similarity: F32, lengths: Sequence[int]) -> F32:
    """OTAM in both orientations between the captions and the clips of all videos, without background.

    Args:
        similarity: (C, C) dot products of captions and clips.
        lengths: Clips, and so captions, of each video.

    Returns:
        (V, V) float32, greater is better.

    Raises:
        ValueError: the lengths do not sum to the matrix.
    """
    longest = max(lengths)
    return _score(similarity, lengths, lambda cost: _otam_both(cost, longest, longest))


def legacy_dtw_background(similarity: F32, text_lengths: Sequence[int], video_lengths: Sequence[int]) -> F32:
    """DTW between captions and the windows of whole videos, of which each pair keeps the nearest.

    Args:
        similarity: (sum of text_lengths, sum of video_lengths) dot products.
        text_lengths: Captions of each video.
        video_lengths: Windows of each video.

    Returns:
        (V, V) float32, greater is better.

    Raises:
        ValueError: the lengths do not sum to the matrix.
    """
    shape = max(text_lengths), max(video_lengths)
    return _score_nearest(similarity, text_lengths, video_lengths, lambda cost: _dtw(_padded(cost, *shape)))


def legacy_otam_background(similarity: F32, text_lengths: Sequence[int], video_lengths: Sequence[int]) -> F32:
    """OTAM in both orientations between captions and the nearest windows of whole videos.

    Args:
        similarity: (sum of text_lengths, sum of video_lengths) dot products.
        text_lengths: Captions of each video.
        video_lengths: Windows of each video.

    Returns:
        (V, V) float32, greater is better.

    Raises:
        ValueError: the lengths do not sum to the matrix.
    """
    shape = max(text_lengths), max(video_lengths)
    return _score_nearest(similarity, text_lengths, video_lengths, lambda cost: _otam_both(cost, *shape))


def legacy_recall(scores: NDArray[np.floating], *, ks: tuple[int, ...] = (1, 5, 10)) -> dict[int, float]:
    """Share of rows whose diagonal is among the last k of the row's argsort; ties fall as the sort leaves them.

    Args:
        scores: (V, V), rows = texts.
        ks: Cut-offs.

    Returns:
        k -> recall.
    """
    order = np.argsort(scores, axis=1)
    own = np.arange(len(scores))[:, None]
    return {k: float((order[:, -k:] == own).any(axis=1).mean()) for k in ks}


def _blocks(
    similarity: F32, text_lengths: Sequence[int], video_lengths: Sequence[int]
) -> Iterator[tuple[int, int, F32]]:
    """Number of captions, number of clips and dot products of every pair, row by row."""
    if similarity.shape != (sum(text_lengths), sum(video_lengths)):
        raise ValueError(
            f"similarity: got shape {similarity.shape}, expected {(sum(text_lengths), sum(video_lengths))}"
        )
    columns = np.cumsum(video_lengths)[:-1]
    for rows in np.split(similarity.astype(np.float32), np.cumsum(text_lengths)[:-1]):
        for block in np.split(rows, columns, axis=1):
            yield (*block.shape, block)


def _score(similarity: F32, lengths: Sequence[int], cost_of: _Cost) -> F32:
    longest = max(lengths)
    blocks = _blocks(similarity, lengths, lengths)
    costs = [cost_of((np.float32(1) - block) * np.float32(longest**2 / (n * m))) for n, m, block in blocks]
    return -np.array(costs, np.float32).reshape(len(lengths), len(lengths))


def _score_nearest(similarity: F32, text_lengths: Sequence[int], video_lengths: Sequence[int], cost_of: _Cost) -> F32:
    area, costs = max(text_lengths) * max(video_lengths), []
    for num_captions, _, block in _blocks(similarity, text_lengths, video_lengths):
        distance = np.float32(1) - block
        nearest = np.argsort(distance.min(axis=0), kind="stable")[: int(_KEPT_PER_CAPTION * num_captions)]
        kept = distance[:, np.sort(nearest)]
        costs.append(cost_of(kept * np.float32(area / kept.size)))
    return -np.array(costs, np.float32).reshape(len(text_lengths), len(video_lengths))


def _padded(cost: F32, num_rows: int, num_columns: int) -> F32:
    """Pad with infinity (or crop, where there is too much) and zero the block behind, with the published slices."""
    below, behind = num_rows - len(cost), num_columns - cost.shape[1]
    padded = np.full((num_rows, num_columns), np.inf, np.float32)
    kept = cost[: min(0, below) or None, : min(0, behind) or None]
    padded[: kept.shape[0], : kept.shape[1]] = kept
    padded[-below - 1 :, -behind:] = 0.0  # -0 is 0: all columns
    return padded


def _otam_both(cost: F32, num_rows: int, num_columns: int) -> float:
    both = (np.pad(oriented, ((0, 0), (1, 1))) for oriented in (cost, cost.T))
    return float(sum(_otam(_padded(oriented, num_rows, num_columns + 2)) for oriented in both))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _dtw(cost: F32) -> float:
    total = cost.copy()
    for i in range(cost.shape[0]):
        for j in range(cost.shape[1]):
            if i and j:
                total[i, j] += min(total[i - 1, j - 1], total[i, j - 1], total[i - 1, j])
            elif j:
                total[i, j] += total[i, j - 1]
            elif i:
                total[i, j] += total[i - 1, j]
    return float(total[-1, -1])


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _otam(cost: F32) -> float:
    """The recurrence of `otam.py` on a padded block, but the first real column subtracts the minimum."""
    total, last = np.zeros_like(cost), cost.shape[1] - 1
    for j in range(1, last + 1):
        total[0, j] = cost[0, j] + total[0, j - 1]
    for i in range(1, cost.shape[0]):
        total[i, 1] = cost[i, 1] - min(total[i - 1, 0], total[i - 1, 1], total[i, 0])
        for j in range(2, last):
            total[i, j] = cost[i, j] + min(total[i - 1, j - 1], total[i, j - 1])
        total[i, last] = cost[i, last] + min(total[i - 1, last - 1], total[i - 1, last], total[i, last - 1])
    return float(total[-1, -1])
