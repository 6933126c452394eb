"""Average precision of detected actions: spans with a class and a score, against annotated ones.

As the ActivityNet challenge defines it: of all detections of a class, over all videos in the order of their scores,
each takes the annotated action of its video that it overlaps most among those that nobody took; precision is made
monotone and integrated over recall. Departure: equal scores count as one step, so that no order among them is better.

Letters: P detections, G annotated actions, X overlaps that count as a hit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.proposals import TIOUS, Proposals, overlaps_of
from stages.evaluation.records import F64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hits:
    """What the detections of one class in one video hit.

    Attributes:
        scores: (P,) float64, descending.
        hits: (P, X) bool.
    """

    scores: F64 = field(repr=False)
    hits: NDArray[np.bool_] = field(repr=False)


def average_precisions(
    detected: Mapping[str, Proposals], annotated: Mapping[str, F64], tious: Sequence[float] = TIOUS
) -> F64:
    """Return the average precision of one class at each overlap.

    Args:
        detected: of this class, by video.
        annotated: (G, 2) float64 seconds of this class, by video; at least one action in all.
        tious: overlaps that count as a hit.

    Returns:
        (X,) float64 in [0, 1].

    Raises:
        ValueError: nothing is annotated.
    """
    num_actions = sum(len(actions) for actions in annotated.values())
    if not num_actions:
        raise ValueError("average precision: got no annotated action of the class, expected at least one")
    found = [_hits_of(proposals, annotated.get(name), tious) for name, proposals in sorted(detected.items())]
    if not sum(len(hits.scores) for hits in found):
        return np.zeros(len(tious))
    scores = np.concatenate([hits.scores for hits in found])
    order = np.argsort(-scores, kind="stable")
    return _integrate(scores[order], np.concatenate([hits.hits for hits in found])[order], num_actions)


def _hits_of(proposals: Proposals, actions: F64 | None, tious: Sequence[float]) -> _Hits:
    hits = np.zeros((len(proposals.scores), len(tious)), dtype=np.bool_)
    if actions is not None and len(actions):
        overlaps = overlaps_of(proposals.spans, actions)
        for column, tiou in enumerate(tious):
            free = np.ones(len(actions), dtype=np.bool_)
            for row, overlap in enumerate(overlaps):
                best = int(np.argmax(np.where(free, overlap, -1.0)))
                if free[best] and overlap[best] >= tiou - 1e-12:
                    free[best], hits[row, column] = False, True
    return _Hits(scores=proposals.scores, hits=hits)


def _integrate(scores: F64, hits: NDArray[np.bool_], num_actions: int) -> F64:
    """Area under the monotone precision-recall curve of each column."""
    last_of_equals = np.append(scores[1:] != scores[:-1], True)
    true = np.cumsum(hits, axis=0)[last_of_equals]
    recall = true / num_actions
    precision = true / (np.flatnonzero(last_of_equals) + 1)[:, None]
    best_from_here = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    gained = np.diff(recall, axis=0, prepend=0.0)
    return np.asarray((gained * best_from_here).sum(axis=0))
