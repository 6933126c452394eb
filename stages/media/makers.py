"""What one decode of a video is made into: a sample of feature rows, of frames, or of thumbnails, in a shard."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from stages.artifacts.shards import ShardWriter
from stages.media.batches import read_batch
from stages.media.consumers import Consumer, GridConsumer
from stages.media.jpeg import encode_jpeg
from stages.media.messages import Header
from stages.media.rows import Encode, RowBuilder, VideoRows

PassResult = Mapping[str, Any]
"""Result of the job `sample`: the fields of `frames.PassFacts`, and `truncated`."""

THUMBNAIL_QUALITY = 80
"""Of the JPEGs."""


class Maker(Protocol):
    """Makes one output of many videos, one after the other."""

    @property
    def consumer(self) -> Consumer:
        """Which frames it wants."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Facts for the commit record, over all videos so far."""

    def begin(self, end_s: float) -> None:
        """Start a video whose timeline ends at `end_s`; what was begun and not finished is forgotten."""

    def add(self, header: Header, payload: bytearray) -> None:
        """Take a `batch` message for this maker."""

    def finish(self, writer: ShardWriter, video_id: str, result: PassResult, request: int) -> None:
        """Write the video's sample; `request` is this maker's position among those of the pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRecipe:
    """What is said of features in every sample's json.

    Attributes:
        backbone: `s3d`, `clip` or `resnet`.
        preset: its name.
        weights: `random:seed=N`, `sha256:...` or `hub:...`.
    """

    backbone: str
    preset: str
    weights: str


class FeatureMaker:
    """Makes the frozen features of a backbone."""

    def __init__(self, recipe: FeatureRecipe, consumer: GridConsumer, encode: Encode, *, batch_size: int) -> None:
        self.consumer = consumer
        self.counts: Counter[str] = Counter(videos=0, clips=0, damaged=0, padded=0, partial=0)
        self._recipe = recipe
        self._encode = encode
        self._batch_size = batch_size
        self._end_s = 0.0
        self._builder: RowBuilder | None = None

    def begin(self, end_s: float) -> None:
        """Start a video."""
        self._end_s = end_s
        self._builder = RowBuilder(self.consumer, self._encode, batch_size=self._batch_size, end_s=end_s)

    def add(self, header: Header, payload: bytearray) -> None:
        """Compute the rows that become possible."""
        self._open_builder().add(header, payload)

    def finish(self, writer: ShardWriter, video_id: str, result: PassResult, request: int) -> None:
        """Write rows, spans, mask and facts."""
        rows = self._open_builder().finish()
        name = self._recipe.backbone
        facts = self._facts(video_id, rows, result, request)
        parts: dict[str, Any] = {
            f"{name}.npy": rows.features,
            "spans.npy": rows.spans,
            "damaged.npy": rows.damaged,
            "json": facts,
        }
        writer.add(video_id, parts)
        self.counts.update(
            videos=1, clips=len(rows.spans), damaged=facts["num_damaged"], padded=rows.num_padded,
            partial=int(facts["status"] == "partial"),
        )  # fmt: skip
        self._builder = None

    def _facts(self, video_id: str, rows: VideoRows, result: PassResult, request: int) -> dict[str, Any]:
        num_damaged = int(rows.damaged.sum())
        return {
            **_pass_facts(result, num_damaged, request),
            "video_id": video_id,
            "backbone": self._recipe.backbone,
            "preset": self._recipe.preset,
            "weights": self._recipe.weights,
            "duration_s": self._end_s,
            "num_clips": len(rows.spans),
            "num_padded": rows.num_padded,
            "tail": self.consumer.tail,
        }

    def _open_builder(self) -> RowBuilder:
        if self._builder is None:
            raise ValueError("frames came before the plan of their video")
        return self._builder


class FrameMaker:
    """Makes JPEGs to train on, with their true times and a mask of those that may be damaged."""

    def __init__(self, consumer: Consumer, quality: int) -> None:
        self.consumer = consumer
        self.counts: Counter[str] = Counter(videos=0, frames=0, damaged=0, partial=0)
        self._quality = quality
        self.begin(0.0)

    def begin(self, end_s: float) -> None:
        """Start a video."""
        self._end_s = end_s
        self._pictures: list[bytes] = []
        self._times: list[float] = []
        self._damaged: list[bool] = []

    def add(self, header: Header, payload: bytearray) -> None:
        """Encode pictures."""
        self._pictures += [encode_jpeg(rgb, self._quality) for rgb in read_batch(header, payload)]
        self._times += header["times"]
        self._damaged += header["damaged"]

    def finish(self, writer: ShardWriter, video_id: str, result: PassResult, request: int) -> None:
        """Write pictures, times, mask and facts; what lies behind the last frame that decodes is not there."""
        facts = {
            **_pass_facts(result, sum(self._damaged), request),
            "video_id": video_id,
            "duration_s": self._end_s,
            "num_frames": len(self._pictures),
        }
        parts: dict[str, Any] = {f"f{number:05d}.jpg": picture for number, picture in enumerate(self._pictures)}
        parts["times.npy"] = np.array(self._times, dtype=np.float64)
        parts["damaged.npy"] = np.array(self._damaged, dtype=np.bool_)
        writer.add(video_id, {**parts, "json": facts})
        self.counts.update(
            videos=1, frames=len(self._pictures), damaged=facts["num_damaged"],
            partial=int(facts["status"] == "partial"),
        )  # fmt: skip


class ThumbnailMaker:
    """Makes one JPEG for each search window."""

    def __init__(self, consumer: GridConsumer) -> None:
        self.consumer = consumer
        self.counts: Counter[str] = Counter(videos=0, thumbnails=0)
        self._pictures: dict[str, bytes] = {}

    def begin(self, end_s: float) -> None:
        """Start a video."""
        self._pictures = {}

    def add(self, header: Header, payload: bytearray) -> None:
        """Encode pictures."""
        for offset, rgb in enumerate(read_batch(header, payload)):
            self._pictures[f"w{header['first'] + offset:05d}.jpg"] = encode_jpeg(rgb, THUMBNAIL_QUALITY)

    def finish(self, writer: ShardWriter, video_id: str, result: PassResult, request: int) -> None:
        """Write them; a window whose frames are all lost has none."""
        facts = {
            "video_id": video_id,
            "window_s": self.consumer.clip_s,
            "stride_s": self.consumer.stride_s,
            "num_thumbnails": len(self._pictures),
        }
        writer.add(video_id, {**self._pictures, "json": facts})
        self.counts.update(videos=1, thumbnails=len(self._pictures))
        self._pictures = {}


def _pass_facts(result: PassResult, num_damaged: int, request: int) -> dict[str, Any]:
    """What every sample's json says of the pass, whatever was made in it."""
    missing_after = result["missing_after"][request]
    partial = bool(num_damaged or result["num_errors"] or result["truncated"] or missing_after)
    return {
        "num_damaged": num_damaged,
        "num_errors": result["num_errors"],
        "status": "partial" if partial else "ok",
        "missing_before": result["missing_before"][request],
        "missing_after": missing_after,
    }
