"""Which class a video is: annotations to labels, and scores of classes to top-1 and top-5 with all that judges them.

Letters: V videos, C classes.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stages.datasets.records import Annotations
from stages.evaluation.records import I64, ProtocolResult, RankedQueries, Score
from stages.evaluation.retrieval import Definition
from stages.evaluation.scoring import ProtocolSettings, rank_queries, retrieval_scores

_TOP = (1, 5)
_MOST_COMMON, _TOO_OFTEN = 0.5, 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledVideos:
    """Videos with one class each.

    Attributes:
        source_ids: V of them.
        labels: (V,) int64 in [0, C).
        num_ambiguous: videos that were left out, as the data set gives them several classes.
    """

    source_ids: tuple[str, ...]
    labels: I64 = field(repr=False)
    num_ambiguous: int = 0

    def __len__(self) -> int:
        return len(self.source_ids)

    def only(self, source_ids: Collection[str]) -> "LabelledVideos":
        """Those among `source_ids` (best a set)."""
        kept = np.array([source_id in source_ids for source_id in self.source_ids], dtype=np.bool_)
        names = tuple(name for name, is_kept in zip(self.source_ids, kept, strict=True) if is_kept)
        return replace(self, source_ids=names, labels=self.labels[kept])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """What a classifier says.

    Attributes:
        videos: that were asked.
        scores: (V, C) float, greater is better.
        class_names: C.
        train_labels: (n,) int64 classes of the videos that it was fitted to.
    """

    videos: LabelledVideos
    scores: NDArray[np.floating] = field(repr=False)
    class_names: Sequence[str]
    train_labels: I64 = field(repr=False)


def labelled_videos(annotations: Annotations) -> LabelledVideos:
    """The videos of a part of a data set that have one class."""
    classes: dict[str, set[int]] = {video.source_id: set() for video in annotations.videos}
    for item in annotations.labelled:
        classes[item.source_id].add(item.label_index)
    single = {source_id: found for source_id, found in classes.items() if len(found) == 1}
    return LabelledVideos(
        source_ids=tuple(single),
        labels=np.array([min(found) for found in single.values()], dtype=np.int64),
        num_ambiguous=sum(len(found) > 1 for found in classes.values()),
    )


def class_names(annotations: Annotations) -> tuple[str, ...]:
    """Names of the classes by number; a number that the data set leaves out is its own name."""
    named = {label.index: label.name for label in annotations.classes}
    return tuple(named.get(index, str(index)) for index in range(max(named, default=-1) + 1))


def why_not_classifiable(train: LabelledVideos, test: LabelledVideos) -> str:
    """Why nothing can be classified, or an empty string."""
    if not len(test):
        return "no video of the measured split has a class and can be measured"
    if np.unique(train.labels).size < 2:
        return (
            f"the train split has {len(train)} usable videos of {np.unique(train.labels).size} classes; a classifier "
            "needs videos of at least 2"
        )
    return ""


def classification_result(
    definition: Definition, found: ClassScores, settings: ProtocolSettings, *, missing: Mapping[str, int]
) -> ProtocolResult:
    """Top-1 and top-5: an unresolved tie is a miss, as everywhere.

    Args:
        definition: what the protocol is called.
        found: at least one video.
        settings: bootstrap.
        missing: what could not take part.

    Returns:
        Chance is that of guessing among all classes; the baseline always answers with the commonest train classes.

    Raises:
        ValueError: a score is NaN.
    """
    names = [f"{index} {name}" for index, name in enumerate(found.class_names)]
    ranked = rank_queries(
        lambda rows: found.scores[rows],
        query_ids=found.videos.source_ids,
        gallery_ids=names,
        relevant=[np.array([label]) for label in found.videos.labels],
    )
    scores = retrieval_scores(ranked, settings=replace(settings, ks=_TOP), rng=settings.generator(definition.name))
    absent = ~np.isin(found.videos.labels, found.train_labels)
    return definition.result(
        scores=tuple(_top(score, found) for score in scores if score.name.startswith("R@")),
        ranked=ranked,
        unit="video",
        num_units=len(ranked),
        missing={**missing, "videos_of_a_class_without_training": int(absent.sum())},
        warnings=_one_class_warning(ranked),
        texts=dict(zip(names, found.class_names, strict=True)),
    )


def _top(score: Score, found: ClassScores) -> Score:
    k = int(score.name.removeprefix("R@"))
    counts = np.bincount(found.train_labels, minlength=len(found.class_names))
    commonest = np.argsort(-counts, kind="stable")[:k]
    always = float(np.isin(found.videos.labels, commonest).mean())
    name = "majority class" if k == 1 else f"{k} commonest classes"
    return replace(score, name=f"top-{k}", baselines={name: always})


def _one_class_warning(ranked: RankedQueries) -> tuple[str, ...]:
    """Say if one class is the answer to half of the videos or more, and to many more than are of it."""
    answer, count = Counter(ranked.answer_ids).most_common(1)[0]
    told, true = count / len(ranked), ranked.target_ids.count(answer) / len(ranked)
    if told < _MOST_COMMON or told < true + _TOO_OFTEN:
        return ()
    return (f"{answer} is the answer to {told:.0%} of the videos, {true:.0%} are of it: the classifier hardly looks",)
