"""Few-shot episodes: which videos are shown, which are asked, and which class a video is given.

Letters: E episodes, W classes of an episode (ways), S videos shown of each (shots), Q asked of each, V videos.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeShape:
    """How episodes look; the defaults are the field's 5-way 1-shot.

    Attributes:
        ways: W.
        shots: S.
        queries: Q.
        num_episodes: E.
    """

    ways: int = 5
    shots: int = 1
    queries: int = 1
    num_episodes: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Episodes:
    """Drawn episodes, as positions of videos.

    Attributes:
        support: (E, W, S) int64.
        query: (E, W, Q) int64; `query[e, w]` are of the class of `support[e, w]`.
    """

    support: I64 = field(repr=False)
    query: I64 = field(repr=False)


def draw_episodes(labels: I64, shape: EpisodeShape, rng: np.random.Generator) -> Episodes:
    """Draw episodes: W classes without repeat, then S + Q different videos of each, all equally likely.

    Args:
        labels: (V,) int64 class of each video.
        shape: what is drawn; classes with fewer than S + Q videos never are.
        rng: source of the draws; the caller owns the seed.

    Raises:
        ValueError: fewer than W classes have enough videos.
    """
    needed = shape.shots + shape.queries
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    usable = [videos for videos in members if len(videos) >= needed]
    if len(usable) < shape.ways:
        raise ValueError(
            f"{len(usable)} of {len(members)} classes have at least {needed} videos; {shape.ways} ways need as many"
        )
    drawn = np.empty((shape.num_episodes, shape.ways, needed), dtype=np.int64)
    for episode in drawn:
        for row, place in enumerate(rng.permutation(len(usable))[: shape.ways].tolist()):
            episode[row] = rng.choice(usable[place], needed, replace=False)
    return Episodes(support=drawn[:, :, : shape.shots], query=drawn[:, :, shape.shots :])


def class_scores(pair_scores: F64, episodes: Episodes) -> F64:
    """Score each asked video with each class of its episode: the mean over the videos that are shown of it.

    Args:
        pair_scores: (V, V) float64 [asked, shown], greater is better.
        episodes: positions in it.

    Returns:
        (E, W, Q, W) float64.
    """
    asked, shown = episodes.query[:, :, :, None, None], episodes.support[:, None, None]
    return np.asarray(pair_scores[asked, shown].mean(axis=4))
