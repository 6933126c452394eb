"""Ragged sets of sequences for the tests of the aligners."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Case = tuple[NDArray[np.float64], list[int], list[int]]


def random_similarity(rng: np.random.Generator) -> Case:
    """Similarities whose costs 1 - s have both signs, and lengths of texts and videos from 1 on."""
    texts = [1, *rng.integers(1, 7, 8).tolist()]
    videos = [1, *rng.integers(1, 11, int(rng.integers(0, 40))).tolist()]
    return rng.normal(1.0, 1.0, (sum(texts), sum(videos))), texts, videos


def each_pair(
    similarity: NDArray[np.float64], texts: list[int], videos: list[int]
) -> Iterator[tuple[int, int, NDArray[np.float64]]]:
    """Text, video, and the cost matrix of the pair."""
    columns = np.cumsum(videos)[:-1]
    for i, rows in enumerate(np.split(1.0 - similarity, np.cumsum(texts)[:-1])):
        for j, cost in enumerate(np.split(rows, columns, axis=1)):
            yield i, j, cost


def random_set(
    rng: np.random.Generator, *, num_texts: int, num_videos: int, dim: int = 24
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Embeddings of texts of 1-8 sentences and videos of 1-30 windows."""
    texts = [rng.normal(size=(n, dim)).astype(np.float32) for n in rng.integers(1, 9, num_texts)]
    videos = [rng.normal(size=(n, dim)).astype(np.float32) for n in rng.integers(1, 31, num_videos)]
    return texts, videos
