"""A frozen network on a card, fed with batches of one fixed size: copies overlap computing, captured graphs replay it.

There are two of everything. While the card computes one batch, the host fills the pinned memory of the other, and what
was filled crosses on a stream of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_WARM_UP = 3


class CudaBatches:
    """Two slots, each with its memory on the host and on the card, and its captured graph."""

    num_slots = 2

    def __init__(self, forward: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
        """Capture a network.

        Args:
            forward: (B, F, H, W, 3) uint8 to (B, D) float32, both on the card; nothing of it may wait for the host.
            shape: (B, F, H, W, 3).
        """
        self._copying, self._computing = torch.cuda.Stream(), torch.cuda.Stream()
        self._slots = [self._capture(forward, shape) for _ in range(self.num_slots)]

    def host(self, slot: int) -> NDArray[np.uint8]:
        """The memory that a slot's next batch is written into, (B, F, H, W, 3); free once its rows were read."""
        return self._slots[slot].frames.numpy()

    def launch(self, slot: int) -> None:
        """Begin to compute what was written; returns at once."""
        chosen = self._slots[slot]
        with torch.cuda.stream(self._copying):
            chosen.frames_on_card.copy_(chosen.frames, non_blocking=True)
        self._computing.wait_stream(self._copying)
        with torch.cuda.stream(self._computing):
            chosen.graph.replay()
            chosen.rows.copy_(chosen.rows_on_card, non_blocking=True)
            chosen.done.record()

    def rows(self, slot: int) -> NDArray[np.float32]:
        """Wait for a slot's batch and give a copy of its rows, (B, D)."""
        self._slots[slot].done.synchronize()
        return self._slots[slot].rows.numpy().copy()

    def _capture(self, forward: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> "_Slot":
        frames_on_card = torch.zeros(shape, dtype=torch.uint8, device="cuda")
        self._computing.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._computing), torch.no_grad():
            for _ in range(_WARM_UP):
                forward(frames_on_card)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._computing):
                rows_on_card = forward(frames_on_card)
        torch.cuda.current_stream().wait_stream(self._computing)
        return _Slot(
            frames=torch.zeros(shape, dtype=torch.uint8, pin_memory=True),
            frames_on_card=frames_on_card,
            rows_on_card=rows_on_card,
            rows=torch.zeros(rows_on_card.shape, dtype=torch.float32, pin_memory=True),
            graph=graph,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    """Memory on both sides, the graph between them, and when its rows are there."""

    frames: Tensor
    frames_on_card: Tensor
    rows_on_card: Tensor
    rows: Tensor
    graph: torch.cuda.CUDAGraph
    done: torch.cuda.Event = field(default_factory=torch.cuda.Event)
