"""Signs that a prediction is degenerate, whatever its score: one answer to everything, or hubs.

Hubness: the skewness of the k-occurrence, how often each item is among the first k answers (Radovanovic et al.,
"Hubs in Space", JMLR 11, 2010, section 2; k = 10). A fairseq user found by such a check that a published accuracy of
0.589 was that of predicting nothing but background (fairseq#4940).
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from stages.evaluation.records import I64, RankedQueries

OCCURRENCE_K = 10

_HUB_SKEWNESS = 1.4
"""Above it, "high hubness" in the words of that literature; what chance gives is added."""
_MOST_COMMON = 0.5
_MIN_QUERIES = 10
_MIN_GALLERY = 3


def occurrence_skewness(occurrences: I64) -> float:
    """Skewness of how often items are among the first k; 0 if all are equally often.

    Args:
        occurrences: (G,) int64, G >= 1.
    """
    deviation = occurrences - occurrences.mean()
    variance = float(np.mean(deviation**2))
    return float(np.mean(deviation**3)) / variance**1.5 if variance > 0 else 0.0


def retrieval_warnings(ranked: RankedQueries) -> tuple[str, ...]:
    """Say what is degenerate about a retrieval.

    Args:
        ranked: its outcome.

    Returns:
        Sentences; none for fewer than ten queries or three items, where nothing can be told.
    """
    if len(ranked) < _MIN_QUERIES or ranked.gallery_size < _MIN_GALLERY:
        return ()
    return (*one_answer_warning(ranked.answer_ids), *_hub_warning(ranked))


def one_answer_warning(answers: Sequence[str]) -> tuple[str, ...]:
    """Say if one answer comes first for half of the queries or more."""
    answer, count = Counter(answers).most_common(1)[0]
    if count < _MOST_COMMON * len(answers):
        return ()
    return (f"{answer} comes first for {count / len(answers):.0%} of the queries: the ranking hardly looks at them",)


def _hub_warning(ranked: RankedQueries) -> tuple[str, ...]:
    if ranked.gallery_size <= OCCURRENCE_K or not ranked.occurrences.size:
        return ()
    share = OCCURRENCE_K / ranked.gallery_size
    by_chance = (1 - 2 * share) / np.sqrt(len(ranked) * share * (1 - share))  # of a binomial
    skewness = occurrence_skewness(ranked.occurrences)
    if skewness <= _HUB_SKEWNESS + max(0.0, by_chance):
        return ()
    never = int((ranked.occurrences == 0).sum())
    return (
        f"hubs: the skewness of the {OCCURRENCE_K}-occurrence is {skewness:.1f} (chance {by_chance:.1f}); one item is "
        f"among the first {OCCURRENCE_K} of {int(ranked.occurrences.max())} queries, {never} of "
        f"{ranked.gallery_size} items of none",
    )
