"""Frames of labelled videos as a segment network takes them: drawn parts to train on, fixed parts to test on.

Letters: K segments, F test frames, P parts of a frame.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from models.actions.tsn import SegmentNetwork
from stages.evaluation.fine_tuning_config import FineTuningConfig
from stages.evaluation.fitting.fit import fit
from stages.evaluation.fitting.segments import drawn_places, middle_places, segment_task
from stages.evaluation.fitting.workspace import Workspace
from stages.evaluation.records import F32, I64
from stages.media.crops import Box, cut, fixed_boxes, multi_scale_box, random_area_box
from stages.media.geometry import Rgb
from stages.training.checkpoints import StepRecord
from stages.training.frame_entries import FrameEntry
from stages.training.loop import fixed_arithmetic

_PICTURES_AT_ONCE = 64
"""That pass through the network together in a test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameItem:
    """One video.

    Attributes:
        entry: where its frames lie.
        intact: (n,) int64 numbers of those that are not damaged, n at least 1.
        label: its class.
    """

    entry: FrameEntry = field(repr=False)
    intact: I64 = field(repr=False)
    label: int

    def pictures(self, places: I64) -> list[Rgb]:
        """Read some of the intact frames; one that comes twice is read once."""
        numbers = self.intact[places].tolist()
        read = {number: self.entry.read_picture(number) for number in dict.fromkeys(numbers)}
        return [read[number] for number in numbers]


def drawn_frames(item: FrameItem, config: FineTuningConfig, generator: np.random.Generator) -> Tensor:
    """Draw a video's segments, and one part for all of them: (K, side, side, 3) uint8."""
    pictures = item.pictures(drawn_places(len(item.intact), config.num_segments, generator))
    height, width = pictures[0].shape[:2]
    draw = random_area_box if config.crops == "random_area" else multi_scale_box
    box = draw(height, width, generator)
    mirrored = config.mirrored and bool(generator.random() < 0.5)
    box = Box(top=box.top, left=box.left, height=box.height, width=box.width, mirrored=mirrored)
    return torch.from_numpy(np.stack([cut(picture, box, config.train_side) for picture in pictures]))


def fixed_frames(item: FrameItem, config: FineTuningConfig) -> Iterator[Tensor]:
    """Cut a video's test frames: (n, side, side, 3) uint8 at a time, F * P in all."""
    parts: list[Rgb] = []
    for picture in item.pictures(middle_places(len(item.intact), config.test_frames)):
        height, width = picture.shape[:2]
        boxes = fixed_boxes(height, width, config.test_crops, config.test_side / config.test_short_side)
        parts += [cut(picture, box, config.test_side) for box in boxes]
    for first in range(0, len(parts), _PICTURES_AT_ONCE):
        yield torch.from_numpy(np.stack(parts[first : first + _PICTURES_AT_ONCE]))


def fit_network(
    network: SegmentNetwork, items: Mapping[str, FrameItem], config: FineTuningConfig, workspace: Workspace
) -> list[StepRecord]:
    """Fit backbone and head to the frames of videos, in place, and say how it went."""

    def read(name: str, generator: np.random.Generator) -> tuple[Tensor, int]:
        return drawn_frames(items[name], config, generator), items[name].label

    return fit(segment_task(network, list(items), read, config.fit), config.fit, workspace)


def video_scores(network: SegmentNetwork, items: Mapping[str, FrameItem], config: FineTuningConfig) -> F32:
    """What a fitted network says of videos, by the consensus of all parts of their test frames: (V, C) float32."""
    device = torch.device(config.fit.device)
    with fixed_arithmetic(config.fit.threads), torch.inference_mode():
        network.to(device)
        scores = []
        for item in items.values():
            rows = torch.cat([network.tower(part.to(device)) for part in fixed_frames(item, config)])
            scores.append(network.head(rows[None]).float().cpu())
    found: F32 = torch.cat(scores).numpy()
    return found
