"""Quadruples of views and clips of three frames: what VCLR trains on, as a pure function of the batch's number.

Source: VCLR, arXiv:2108.02722, and its released code (papers.md 4.2). A video's frames are divided into three segments;
of each, one frame goes to the key clip and another to the query clip. The anchor is the first or the last query frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.losses.vclr import FrameOrders, draw_frame_orders
from stages.training.augment import random_view
from stages.training.frame_entries import FrameEntry
from stages.training.layout import EpochLayout
from stages.training.objectives.views import ViewSettings
from stages.training.sampling import sample_generator
from stages.training.source import LaidOutSource
from stages.training.team import Part

NUM_SEGMENTS = 3
LEAST_FRAMES = 2 * NUM_SEGMENTS
SHUFFLES = "/orders"
"""Name of the draw of frame orders; no video can have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameVideo:
    """One video that can be trained on.

    Attributes:
        video_id: which.
        entry: its frames.
        usable: int64 numbers of the frames that are not damaged, at least LEAST_FRAMES.
    """

    video_id: str
    entry: FrameEntry
    usable: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameBatch:
    """B videos of one process; views are (H, W, 3) uint8 RGB.

    Attributes:
        query: (B, 3, H, W, 3) in the order of time.
        key: (B, 3, H, W, 3) in the order of time.
        again: (B, H, W, 3), another view of the anchor's frame.
        anchor: (B,) int64, which query frame is the anchor: 0 or 2.
        orders: how the clips are shown.
        share: this process's part of the batch, times the number of processes.
        seed: of the division of keys among processes.
    """

    query: Tensor
    key: Tensor
    again: Tensor
    anchor: Tensor
    orders: FrameOrders
    share: float
    seed: int

    def to(self, device: torch.device) -> "FrameBatch":
        """Return the batch with its tensors on a device."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        orders = FrameOrders(query=move(self.orders.query), key=move(self.orders.key), labels=move(self.orders.labels))
        return FrameBatch(
            query=move(self.query),
            key=move(self.key),
            again=move(self.again),
            anchor=move(self.anchor),
            orders=orders,
            share=self.share,
            seed=self.seed,
        )


def frame_videos(entries: Mapping[str, FrameEntry]) -> list[FrameVideo]:
    """Return the videos with enough intact frames, by video id."""
    videos = []
    for video_id in sorted(entries):
        usable = np.flatnonzero(~entries[video_id].read_damaged())
        if len(usable) >= LEAST_FRAMES:
            videos.append(FrameVideo(video_id=video_id, entry=entries[video_id], usable=usable))
    return videos


class FrameSource(LaidOutSource[FrameBatch]):
    """Batches of VCLR."""

    def __init__(self, videos: Sequence[FrameVideo], views: ViewSettings, layout: EpochLayout, *, seed: int) -> None:
        super().__init__(layout)
        self._videos = {video.video_id: video for video in videos}
        self._views, self._seed = views, seed

    def batch(self, index: int, part: Part) -> FrameBatch:
        """See `BatchSource`."""
        video_ids = self._names(index)
        own = part.of(len(video_ids))
        draws = [self._draw(self._videos[video_id], index) for video_id in video_ids[own]]
        generator = sample_generator(self._seed, index, SHUFFLES, 0)
        seeds = generator.integers(2**63, size=2).tolist()
        orders = draw_frame_orders(len(video_ids), torch.Generator().manual_seed(seeds[0]))
        return FrameBatch(
            query=torch.stack([draw[0] for draw in draws]),
            key=torch.stack([draw[1] for draw in draws]),
            again=torch.stack([draw[2] for draw in draws]),
            anchor=torch.tensor([draw[3] for draw in draws]),
            orders=FrameOrders(query=orders.query[own], key=orders.key[own], labels=orders.labels[own]),
            share=len(draws) * part.size / len(video_ids),
            seed=seeds[1],
        )

    def _draw(self, video: FrameVideo, index: int) -> tuple[Tensor, Tensor, Tensor, int]:
        """Query clip, key clip, the anchor's frame again, and which the anchor is."""
        generator = sample_generator(self._seed, index, video.video_id, 0)
        keys, queries = draw_frames(video.usable, generator)
        anchor = 0 if generator.random() < 0.5 else NUM_SEGMENTS - 1
        views = [
            torch.from_numpy(random_view(video.entry.read_picture(int(frame)), self._views, generator))
            for frame in (*queries, *keys, queries[anchor])
        ]
        return torch.stack(views[:NUM_SEGMENTS]), torch.stack(views[NUM_SEGMENTS:-1]), views[-1], anchor


def draw_frames(
    usable: NDArray[np.int64], generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw two distinct frames of each third of a video; the last third takes what does not divide.

    Args:
        usable: at least LEAST_FRAMES frame numbers in the order of time.
        generator: source of the draws.

    Returns:
        The key clip's and the query clip's frames, (3,) each, in the order of time.
    """
    size = len(usable) // NUM_SEGMENTS
    bounds = [number * size for number in range(NUM_SEGMENTS)] + [len(usable)]
    drawn = [generator.choice(usable[start:end], 2, replace=False) for start, end in pairwise(bounds)]
    pairs = np.stack(drawn)
    return pairs[:, 0], pairs[:, 1]
