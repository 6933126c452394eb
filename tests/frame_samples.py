"""Labelled videos as rows whose classes are known: what they show, and in which order they show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from stages.datasets.action_classes import numbered
from stages.datasets.records import Annotations, DatasetVideo, Labelled, Segment
from stages.evaluation.material import Material
from stages.training.dataset import FeatureRows

DIM = 16


@dataclass(frozen=True)
class RowsByName:
    """Rows in memory, read as a `FeatureSource` is."""

    found: Mapping[str, FeatureRows] = field(repr=False)

    def rows(self, source_id: str) -> FeatureRows:
        return self.found[source_id]

    def rows_at(self, source_id: str, numbers: np.ndarray) -> np.ndarray:
        return self.found[source_id].features[numbers]


def rows_of(features: np.ndarray, damaged: tuple[int, ...] = ()) -> FeatureRows:
    """One row a second."""
    starts = np.arange(len(features), dtype=np.float64)
    mask = np.zeros(len(features), dtype=np.bool_)
    mask[list(damaged)] = True
    return FeatureRows(features=features.astype(np.float32), spans=np.stack([starts, starts + 1], axis=1), damaged=mask)


def material(annotations: Annotations, rows: Mapping[str, FeatureRows], split: str = "test") -> Material:
    """What a protocol is given of them."""
    return Material(
        dataset=annotations,
        usable=annotations.only(set(rows)),
        split=split,
        video_ids={source_id: source_id for source_id in rows},
        feature_source=RowsByName(rows),  # type: ignore[arg-type]
        encoder=None,
        artifacts={},
    )


def labelled_set(
    *, num_classes: int = 4, train: int = 6, test: int = 5, noise: float = 0.5, seed: int = 0
) -> tuple[Annotations, dict[str, FeatureRows]]:
    """Videos of 5 to 40 rows around a direction of their class, far from 0 as features behind a ReLU are."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((num_classes, DIM))
    videos, labelled, rows = [], [], {}
    for split, count in (("train", train), ("test", test)):
        for label in range(num_classes):
            for number in range(count):
                name = f"{split}{label}x{number}"
                videos.append(DatasetVideo(source_id=name, split=split, group=f"class{label}"))
                labelled.append(Labelled(source_id=name, label_index=label))
                shape = (int(rng.integers(5, 41)), DIM)
                rows[name] = rows_of(3 + directions[label] + noise * rng.standard_normal(shape))
    names = numbered(f"class{label}" for label in range(num_classes))
    return Annotations(name="made", videos=tuple(videos), labelled=tuple(labelled), classes=names), rows


def ordered_set(
    *, num_classes: int = 6, test: int = 6, noise: float = 0.2, seed: int = 0
) -> tuple[Annotations, dict[str, FeatureRows]]:
    """Classes that show the same eight things, each in its own order and each video at its own pace."""
    rng = np.random.default_rng(seed)
    things = rng.standard_normal((8, DIM))
    videos, labelled, rows = [], [], {}
    orders = [rng.permutation(8) for _ in range(num_classes)]
    for label, order in enumerate(orders):
        for number in range(test):
            name = f"order{label}x{number}"
            shown = np.repeat(order, 8)
            videos.append(DatasetVideo(source_id=name, split="test", group=f"class{label}"))
            labelled.append(Labelled(source_id=name, label_index=label))
            rows[name] = rows_of(things[shown] + noise * rng.standard_normal((len(shown), DIM)))
    names = numbered(f"class{label}" for label in range(num_classes))
    return Annotations(name="ordered", videos=tuple(videos), labelled=tuple(labelled), classes=names), rows


def action_set(
    *, num_classes: int = 3, train: int = 20, test: int = 8, seed: int = 0
) -> tuple[Annotations, dict[str, FeatureRows]]:
    """Videos of 60 rows in which one or two actions of the video's class stand out of a common background."""
    rng = np.random.default_rng(seed)
    directions, background = 3 * rng.standard_normal((num_classes, DIM)), 3 * rng.standard_normal(DIM)
    videos, segments, rows = [], [], {}
    for split, count in (("train", train), ("val", test)):
        for label in range(num_classes):
            for number in range(count):
                name = f"{split}{label}x{number}"
                shown = np.tile(background, (60, 1)) + 0.5 * rng.standard_normal((60, DIM))
                starts = [rng.integers(3, 12), rng.integers(33, 42)][: 1 + number % 2]
                for index, start in enumerate(starts):
                    end = start + rng.integers(8, 16)
                    shown[start:end] += directions[label] - background
                    segments.append(
                        Segment(
                            source_id=name,
                            index=index,
                            label_index=label,
                            label=f"action{label}",
                            start_s=float(start),
                            end_s=float(end),
                        )
                    )
                videos.append(DatasetVideo(source_id=name, split=split, duration_s=60.0))
                rows[name] = rows_of(shown)
    steps = numbered(f"action{label}" for label in range(num_classes))
    return Annotations(name="actions", videos=tuple(videos), segments=tuple(segments), steps=steps), rows
