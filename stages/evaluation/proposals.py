"""From a proposal network's maps to ranked spans of a video, and how well ranked spans cover what is annotated.

Source: Lin et al., BMN, arXiv:1907.09702, sections 4.3 and 5.1 (proposals, soft-NMS); recall and its area as the
ActivityNet challenge defines them. Letters: T steps of a map, P proposals, G annotated actions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from stages.evaluation.chance import survival
from stages.evaluation.records import F64, I64

TIOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Temporal overlaps (intersection over union) at which a proposal covers an action: 0.5, 0.55, ..., 0.95."""
MOST_PROPOSALS = 100
"""A video. The area under the recall curve is taken from 1 to so many, and divided by it: 0.99 is perfect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """Spans of one video, best first.

    Attributes:
        spans: (P, 2) float64 seconds, half-open.
        scores: (P,) float64, descending.
    """

    spans: F64 = field(repr=False)
    scores: F64 = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftNms:
    """How proposals that overlap a better one lose score; the defaults are BMN's for ActivityNet.

    Attributes:
        alpha: width of the Gaussian: a score is multiplied by exp(-overlap^2 / alpha).
        low: overlap above which it is, for the shortest better proposal.
        high: likewise for one that is as long as the video.
    """

    alpha: float = 0.4
    low: float = 0.5
    high: float = 0.9


def overlaps_of(first: F64, second: F64) -> F64:
    """Intersection over union of every span of one list with every span of another: (P, 2), (G, 2) to (P, G)."""
    start = np.maximum(first[:, None, 0], second[None, :, 0])
    end = np.minimum(first[:, None, 1], second[None, :, 1])
    shared = np.maximum(end - start, 0.0)
    union = np.diff(first, axis=1) + np.diff(second, axis=1).T - shared
    found: F64 = shared / np.maximum(union, np.finfo(np.float64).tiny)
    return found


def boundary_peaks(probabilities: F64) -> I64:
    """Steps that may be a boundary: local maxima, and all above half of the largest: (T,) to (n,) int64."""
    padded = np.pad(probabilities, 1, constant_values=-np.inf)
    peaks = (padded[1:-1] > padded[:-2]) & (padded[1:-1] > padded[2:])
    return np.flatnonzero(peaks | (probabilities > 0.5 * probabilities.max()))


def candidate_pairs(starts: F64, ends: F64, confidence: F64) -> tuple[F64, F64]:
    """Pair each possible start with each possible end behind it; a video may start or end within an action.

    Args:
        starts: (T,) probabilities.
        ends: (T,) probabilities.
        confidence: (T, T) [length - 1, start] of each pair.

    Returns:
        (P, 2) float64 spans as shares of the video, from a pair's first step to its last one, and (P,) scores: start x
        end x confidence. P is at least 1.
    """
    num_steps = len(starts)
    possible = np.union1d(boundary_peaks(starts), [0]), np.union1d(boundary_peaks(ends), [num_steps - 1])
    first, last = (grid.ravel() for grid in np.meshgrid(*possible, indexing="ij"))
    first, last = first[last >= first], last[last >= first]
    scores = starts[first] * ends[last] * confidence[last - first, first]
    return np.stack([first, last + 1], axis=1) / num_steps, scores


def soft_nms(spans: F64, scores: F64, settings: SoftNms, most: int = MOST_PROPOSALS) -> Proposals:
    """Choose the best proposal, lower those that overlap it, and go on.

    Args:
        spans: (P, 2) float64 shares of the video.
        scores: (P,) float64, not negative.
        settings: of the lowering.
        most: proposals that are kept.

    Returns:
        Spans as they came, best first; of equal ones the one that came first.
    """
    left, chosen, kept = scores.astype(np.float64), [], []
    for _ in range(min(most, len(scores))):
        best = int(np.argmax(left))
        chosen.append(best)
        kept.append(left[best])
        overlaps = overlaps_of(spans[best : best + 1], spans)[0]
        limit = settings.low + (settings.high - settings.low) * float(spans[best, 1] - spans[best, 0])
        left = np.where(overlaps > limit, left * np.exp(-np.square(overlaps) / settings.alpha), left)
        left[chosen] = -np.inf
    order = np.argsort(-np.array(kept), kind="stable")
    return Proposals(spans=spans[chosen][order], scores=np.array(kept)[order])


def covering_ranks(proposals: F64, actions: F64, tious: Sequence[float] = TIOUS) -> F64:
    """Rank of the first proposal that covers each action.

    Args:
        proposals: (P, 2) float64 seconds, best first, P at least 1.
        actions: (G, 2) float64 seconds.
        tious: overlaps that count as covering, X of them.

    Returns:
        (G, X) float64 from 1; infinity where none does.
    """
    covers = overlaps_of(proposals, actions)[..., None] >= np.asarray(tious) - 1e-12
    found = covers.any(axis=0)
    return np.where(found, 1.0 + covers.argmax(axis=0), np.inf)


def recall_curve(ranks: F64, most: int = MOST_PROPOSALS) -> F64:
    """Recall of each action with 1 to `most` proposals, averaged over overlaps: (G, X) ranks to (G, most)."""
    return np.asarray((ranks[:, None, :] <= np.arange(1, most + 1)[:, None]).mean(axis=2))


def area_under(curve: F64) -> F64:
    """Area under each recall curve as the challenge takes it: (G, most) to (G,), at most 1 - 1 / most."""
    return np.asarray((curve[:, 1:] + curve[:, :-1]).sum(axis=1) / (2 * curve.shape[1]))


def chance_curve(actions: F64, duration_s: float, num_steps: int, most: int = MOST_PROPOSALS) -> F64:
    """What proposals drawn without a look at the video recall: an exact expectation.

    Args:
        actions: (G, 2) float64 seconds.
        duration_s: of the video.
        num_steps: T; a proposal is any run of whole steps, each as likely as another.
        most: proposals.

    Returns:
        (G, most) float64, as `recall_curve`.
    """
    first, last = np.triu_indices(num_steps)
    spans: F64 = np.stack([first, last + 1], axis=1) * np.float64(duration_s / num_steps)
    covering = (overlaps_of(spans, actions)[..., None] >= np.asarray(TIOUS) - 1e-12).sum(axis=0)
    drawn = np.minimum(np.arange(1, most + 1), len(spans))
    curves = {count: 1.0 - survival(len(spans), count)[drawn] for count in np.unique(covering).tolist() if count}
    nothing = np.zeros(most)
    return np.stack([np.mean([curves.get(count, nothing) for count in row], axis=0) for row in covering.tolist()])
