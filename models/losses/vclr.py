"""VCLR's four losses on embeddings, its queue of keys, and the draw of its order task.

Source: Kuang et al., "Video Contrastive Learning with Global Context", ICCVW 2021 (arXiv:2108.02722), after its
released code (papers.md 4.2, 4.3). Temperature 0.1 in all contrastive terms, all four weights 1.

Letters: B videos, D head width (128), K slots of a queue, F = 3 frames (segments) of a clip.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.losses.precision import full_precision

TEMPERATURE = 0.1
QUEUE_SIZE = 131_072


@dataclass(frozen=True, slots=True, kw_only=True)
class VCLREmbeddings:
    """What the online network (with gradient) and its moving average (without) make of a batch.

    Attributes:
        inter_query: (B, D) unit vectors of the anchor frames, inter head.
        inter_keys: (3, B, D) unit vectors of x1 (the anchor's frame), x2, x3 by the moving average.
        intra_query: (B, D) unit vectors of the anchor frames, intra head.
        intra_keys: (3, B, D), as `inter_keys`, intra head.
        segment_query: (B, D) unit vectors of the query clips.
        segment_key: (B, D) unit vectors of the key clips by the moving average.
        order_logits: (B, 4) of the order classifier.
        order_labels: (B,) int64 in 0..3.
    """

    inter_query: Tensor
    inter_keys: Tensor
    intra_query: Tensor
    intra_keys: Tensor
    segment_query: Tensor
    segment_key: Tensor
    order_logits: Tensor
    order_labels: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class VCLRTerms:
    """The total and its four parts, () each, unweighted."""

    total: Tensor
    inter: Tensor
    intra: Tensor
    segment: Tensor
    order: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameOrders:
    """A draw of the order task.

    Attributes:
        query: (B, 3) int64 positions of the query clip's frames.
        key: (B, 3) int64 positions of the key clip's frames.
        labels: (B,) int64: 0 none is shuffled, 1 the query, 2 the key, 3 both.
    """

    query: Tensor
    key: Tensor
    labels: Tensor


class MomentumQueue(nn.Module):
    """A ring of past keys, the negatives of a contrastive loss; the place to write next is saved with it.

    The published code keeps that place outside its state, so that a resumed run starts again at slot 0.

    Args:
        size: K slots; need not be a multiple of what is enqueued.
        width: D.
        generator: Draws the first keys, uniform in +-1 / sqrt(D / 3) and not of unit length, as published.
    """

    memory: Tensor
    pointer: Tensor

    def __init__(self, size: int = QUEUE_SIZE, width: int = 128, *, generator: torch.Generator) -> None:
        super().__init__()
        if size < 1 or width < 1:
            raise ValueError(f"queue: got size {size} and width {width}, expected both at least 1")
        bound = 1.0 / math.sqrt(width / 3)
        self.register_buffer("memory", (torch.rand(size, width, generator=generator) * 2 - 1) * bound)
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Write keys over the oldest ones, wrapping around.

        Call it after the step's backward pass: the losses use the queue as it was before, and autograd still reads it.
        Across workers the rows are x1 of all ranks, x2 of all ranks, x3 of all ranks.

        Args:
            keys: (M, D); of more than K the last K stay.

        Raises:
            ValueError: The width differs.
        """
        size, width = self.memory.shape
        if keys.ndim != 2 or keys.shape[1] != width:
            raise ValueError(f"queue: got keys {tuple(keys.shape)}, expected (M, {width})")
        places = (self.pointer + torch.arange(len(keys), device=self.memory.device)) % size
        self.memory[places[-size:]] = keys[-size:].to(self.memory)
        self.pointer.copy_((self.pointer + len(keys)) % size)


def queue_logits(query: Tensor, key: Tensor, memory: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """[q . k ; q . M^T] / temperature: (B, D), (B, D), (K, D) -> (B, 1 + K) float32, the positive in column 0."""
    query = query.float()
    positive = (query * key.detach()).sum(dim=1, keepdim=True)
    with full_precision(query):
        return torch.cat((positive, query @ memory.float().T), dim=1) / temperature


def inter_logits(query: Tensor, keys: Tensor, memory: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """An anchor against each of its video's three frames and the queue: (B, D), (3, B, D), (K, D) -> (3 B, 1 + K)."""
    return queue_logits(query.repeat(len(keys), 1), keys.flatten(0, 1), memory, temperature)


def intra_logits(query: Tensor, keys: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """An anchor's own frame against the two other frames of its video: (B, D) and (3, B, D) -> (2 B, 2)."""
    similarity = (query * keys.detach()).sum(dim=-1) / temperature
    return torch.stack((similarity[:1].expand(2, -1), similarity[1:]), dim=-1).flatten(0, 1)


def order_features(features: Tensor, norm_dim: int = 1) -> Tensor:
    """Normalise the order head's output and lay the frames side by side.

    Args:
        features: (B, 3, D) of the order head.
        norm_dim: 1, the published code: each feature across the three frames, likely unintended; -1: each frame.

    Returns:
        (B, 3 D).

    Raises:
        ValueError: The axis is no frame or feature axis.
    """
    if norm_dim not in (1, 2, -1, -2):
        raise ValueError(f"norm_dim: got {norm_dim}, expected 1 (across frames, published) or -1 (within a frame)")
    return F.normalize(features, dim=norm_dim).flatten(1)


def draw_frame_orders(num: int, generator: torch.Generator, num_frames: int = 3) -> FrameOrders:
    """Shuffle query and key clips with probability one half each, never to the forward or the reversed order.

    Args:
        num: B.
        generator: Of the draw, on the CPU.
        num_frames: Frames of a clip, at least 3: two have no other order.

    Raises:
        ValueError: There are too few frames.
    """
    if num_frames < 3:
        raise ValueError(f"frame orders: got {num_frames} frames, expected at least 3 to shuffle")
    shuffled = torch.rand(2, num, generator=generator) < 0.5
    orders = [[_frame_order(bool(flag), num_frames, generator) for flag in flags] for flags in shuffled]
    query, key = (torch.stack(drawn) if drawn else torch.zeros(0, num_frames, dtype=torch.int64) for drawn in orders)
    return FrameOrders(query=query, key=key, labels=shuffled[0].long() + 2 * shuffled[1].long())


class VCLRLoss(nn.Module):
    """Inter, intra, segment and order loss, added with weights.

    Args:
        temperature: Of the three contrastive terms.
        inter_weight: Of the frame against all videos.
        intra_weight: Of the frame against its own video's other frames.
        segment_weight: Of the clip against all videos.
        order_weight: Of the order task.
    """

    def __init__(
        self,
        *,
        temperature: float = TEMPERATURE,
        inter_weight: float = 1.0,
        intra_weight: float = 1.0,
        segment_weight: float = 1.0,
        order_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature: got {temperature}, expected > 0")
        self.temperature = temperature
        self.weights = (inter_weight, intra_weight, segment_weight, order_weight)

    def forward(self, batch: VCLREmbeddings, inter_memory: Tensor, segment_memory: Tensor) -> VCLRTerms:
        """Return the loss and its parts.

        Args:
            batch: Embeddings and order logits.
            inter_memory: (K, D) `MomentumQueue.memory` of frames, before this step's keys.
            segment_memory: (K', D) of clips.
        """
        inter = _first_of(inter_logits(batch.inter_query, batch.inter_keys, inter_memory, self.temperature))
        intra = _first_of(intra_logits(batch.intra_query, batch.intra_keys, self.temperature))
        segment = _first_of(queue_logits(batch.segment_query, batch.segment_key, segment_memory, self.temperature))
        order = F.cross_entropy(batch.order_logits.float(), batch.order_labels)
        parts = torch.stack((inter, intra, segment, order))
        total = (parts * parts.new_tensor(self.weights)).sum()
        return VCLRTerms(total=total, inter=inter, intra=intra, segment=segment, order=order)


def _first_of(logits: Tensor) -> Tensor:
    """Mean cross entropy with the target in column 0."""
    return F.cross_entropy(logits.float(), torch.zeros(len(logits), dtype=torch.int64, device=logits.device))


def _frame_order(shuffle: bool, num: int, generator: torch.Generator) -> Tensor:
    """Forward, or a permutation that is neither forward nor reversed: (num,) int64."""
    forward = torch.arange(num)
    order = forward
    while shuffle and (torch.equal(order, forward) or torch.equal(order, forward.flip(0))):
        order = torch.randperm(num, generator=generator)
    return order
