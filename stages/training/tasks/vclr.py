"""VCLR as a task: a network, its moving average, two queues of keys, and four losses.

Source: VCLR, arXiv:2108.02722, and its released code (papers.md 4.3). A loss here is a mean over a process's own
videos; weighed by its share, the mean over processes is the mean over the batch. Keys of all processes are enqueued
after the update. With several processes, keys are encoded by another one than their queries (ShuffleBN), so that batch
norm gives no hint.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.backbones.resnet import RESNETS
from models.backbones.resnet_weights import torchvision_names
from models.backbones.vclr import VCLRNet, random_vclr, save_vclr, start_tensors
from models.backbones.weights import check_sha256, load_tensors, read_weights, tensors_of
from models.losses.vclr import MomentumQueue, VCLREmbeddings, VCLRLoss
from stages.errors import ConfigError
from stages.training.frame_entries import frame_entries
from stages.training.frame_source import LEAST_FRAMES, FrameBatch, FrameSource, frame_videos
from stages.training.layout import ShuffledLayout
from stages.training.objectives.base import Opening
from stages.training.objectives.vclr import FRAMES, VCLRSettings
from stages.training.task import Loss, Task


class VCLRModule(nn.Module):
    """The four losses of a batch."""

    def __init__(self, network: VCLRNet, settings: VCLRSettings, opening: Opening) -> None:
        super().__init__()
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False)
        generator = torch.Generator().manual_seed(opening.seed)
        self.frame_queue = MomentumQueue(settings.queue, settings.head_width, generator=generator)
        self.clip_queue = MomentumQueue(settings.queue, settings.head_width, generator=generator)
        self.loss = VCLRLoss(
            temperature=settings.temperature,
            inter_weight=settings.inter_weight,
            intra_weight=settings.intra_weight,
            segment_weight=settings.segment_weight,
            order_weight=settings.order_weight,
        )
        self._settings, self._sharers, self._team = settings, opening.sharers, opening.team
        self._new_keys: list[tuple[Tensor, Tensor]] = []

    def forward(self, batch: FrameBatch) -> Loss:
        """Return the loss and its four parts."""
        rows = torch.arange(len(batch.anchor), device=batch.anchor.device)
        norm_dim = self._settings.order_norm_dim
        anchors = batch.query[rows, batch.anchor]
        inter, intra = self.network.image(anchors)
        shown = batch.query[rows[:, None], batch.orders.query]
        segment, order = self.network.clip(shown, norm_dim=norm_dim)
        keys = self._keys(batch)
        embeddings = VCLREmbeddings(
            inter_query=inter,
            inter_keys=keys.inter,
            intra_query=intra,
            intra_keys=keys.intra,
            segment_query=segment,
            segment_key=keys.segment,
            order_logits=self.network.order_logits(order, keys.order),
            order_labels=batch.orders.labels,
        )
        terms = self.loss(embeddings, self.frame_queue.memory, self.clip_queue.memory)
        named = {name: getattr(terms, name) for name in ("total", "inter", "intra", "segment", "order")}
        whole = {name: self._sharers.gather((batch.share * value)[None]).mean() for name, value in named.items()}
        return Loss(total=whole.pop("total"), terms=whole)

    @torch.no_grad()
    def after_update(self) -> None:
        """Move the average towards the network, and enqueue the keys of the update's batches."""
        momentum = self._settings.momentum
        for average, parameter in zip(self.average.parameters(), self.network.parameters(), strict=True):
            average.lerp_(parameter, 1 - momentum)
        for frames, clips in self._new_keys:
            self.frame_queue.enqueue(frames)
            self.clip_queue.enqueue(clips)
        self._new_keys = []

    @torch.no_grad()
    def _keys(self, batch: FrameBatch) -> "_Keys":
        """Encode keys by the moving average, and remember them for the queues."""
        rows = torch.arange(len(batch.anchor), device=batch.anchor.device)
        others = torch.stack((1 - (batch.anchor == 2).long(), 2 - (batch.anchor == 2).long()))
        frames = (batch.again, batch.query[rows, others[0]], batch.query[rows, others[1]])
        pairs = [self._elsewhere(self.average.image, images, batch.seed + n) for n, images in enumerate(frames)]
        inter = torch.stack([pair[0] for pair in pairs])
        intra = torch.stack([pair[1] for pair in pairs])
        shown = batch.key[rows[:, None], batch.orders.key]
        norm_dim = self._settings.order_norm_dim
        segment, order = self._elsewhere(
            lambda clips: self.average.clip(clips, norm_dim=norm_dim), shown, batch.seed + len(frames)
        )
        if self.training:
            gather = self._team.gather  # all queues must stay the same
            self._new_keys.append((torch.cat([gather(keys) for keys in inter]), gather(segment)))
        return _Keys(inter, intra, segment, order)

    def _elsewhere(
        self, encode: Callable[[Tensor], tuple[Tensor, Tensor]], images: Tensor, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Encode a process's images, each by a process that is drawn."""
        team = self._sharers
        if team.size == 1:
            return encode(images)
        every = team.gather(images)
        order = torch.randperm(len(every), generator=torch.Generator().manual_seed(seed)).to(images.device)
        first, second = (team.gather(found) for found in encode(every[order[team.part.of(len(every))]]))
        back, own = order.argsort(), team.part.of(len(every))
        return first[back][own], second[back][own]


class _Keys:
    """What the moving average makes of a batch: (3, B, E), (3, B, E), (B, E) and (B, 3 E)."""

    def __init__(self, inter: Tensor, intra: Tensor, segment: Tensor, order: Tensor) -> None:
        self.inter, self.intra, self.segment, self.order = inter, intra, segment, order


class VCLRTask(Task[FrameBatch]):
    """VCLR, ready to be trained."""

    unused = ("too_few_frames", f"fewer than {LEAST_FRAMES} of its frames are intact")

    def __init__(
        self, module: VCLRModule, source: FrameSource, video_ids: Sequence[str], facts: Mapping[str, Any]
    ) -> None:
        self.module: VCLRModule = module
        self.source, self.video_ids, self.facts = source, video_ids, facts

    def after_update(self) -> None:
        """See `Task`."""
        self.module.after_update()

    def save(self, folder: Path, training: Mapping[str, Any]) -> None:
        """See `Task`."""
        save_vclr(self.module.network, folder, training)


def open_vclr(settings: VCLRSettings, opening: Opening) -> VCLRTask:
    """Build the task; see `ObjectiveSettings.open`."""
    wanted = set(opening.video_ids)
    found = frame_entries(opening.artifacts[FRAMES])
    videos = frame_videos({video_id: entry for video_id, entry in found.items() if video_id in wanted})
    video_ids = [video.video_id for video in videos]
    layout = ShuffledLayout(video_ids, settings.batch_videos, multiple=opening.accumulate, seed=opening.seed)
    network, start_weights = open_network(settings, opening.start, opening.seed)
    module = VCLRModule(network, settings, opening)
    source = FrameSource(videos, settings.views, layout, seed=opening.seed)
    return VCLRTask(module, source, video_ids, {"network": settings.network, "start_weights": start_weights})


def open_network(settings: VCLRSettings, start: Path | None, seed: int) -> tuple[VCLRNet, str]:
    """Return the network that training begins with, and its provenance.

    Raises:
        ConfigError: the checkpoint cannot be read, or is that of another network.
    """
    network = random_vclr(RESNETS[settings.network], seed, head_width=settings.head_width)
    if start is None:
        return network, f"random:seed={seed}"
    path = start / "model.safetensors" if start.is_dir() else start
    try:
        tensors = torchvision_names(tensors_of(read_weights(path), source=str(path)))
        load_tensors(network, start_tensors(tensors, network), source=str(path))
        return network, f"checkpoint:sha256:{check_sha256(path, None)}"
    except ValueError as error:
        raise ConfigError(f"[train] start: {error}") from error
