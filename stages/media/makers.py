"""What one decode of a video is made into: a sample of feature rows, of frames, or of thumbnails, in a shard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from stages.media.batches import Bytes
from stages.media.consumers import Clock, Consumer, Plan
from stages.media.encoders import Encoder
from stages.media.messages import Header
from stages.media.rows import RowBuilder

PassResult = Mapping[str, Any]
"""Result of the job `sample`: the fields of `frames.PassFacts`, and `truncated`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What is written of one video.

    Attributes:
        parts: of the tar's sample, by suffix.
        counts: what they add to the commit record.
    """

    parts: Mapping[str, Any] = field(repr=False)
    counts: Mapping[str, int]


class Making(Protocol):
    """One output of one video on its way."""

    def add(self, header: Header, pictures: Sequence[Bytes]) -> None:
        """Take a batch of pictures, whose memory is somebody else's afterwards."""

    def end(self) -> None:
        """No more pictures come."""

    def finish(self, result: PassResult, request: int) -> Sample:
        """Wait for what is still computed and give the sample.

        Args:
            result: how the pass ended.
            request: this output's position among those of the pass.
        """


class Maker(Protocol):
    """Makes one output of any number of videos, of several at once."""

    @property
    def consumer(self) -> Consumer:
        """Which frames it wants."""

    @property
    def counts(self) -> Mapping[str, int]:
        """What the commit record counts, all 0."""

    def begin(self, video_id: str, clock: Clock) -> Making:
        """Start a video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMaker:
    """Makes the frozen features of a backbone; see `Maker`.

    Attributes:
        about: what is said of them in every sample's json (`backbone`, `preset`, `weights`, `tail`).
        consumer: which clips or images.
        encoder: computes rows.
        batch_size: clips at once.
    """

    about: Mapping[str, str]
    consumer: Consumer
    encoder: Encoder
    batch_size: int

    @property
    def counts(self) -> Mapping[str, int]:
        """See `Maker`."""
        return dict.fromkeys(("videos", "clips", "damaged", "padded", "partial"), 0)

    def begin(self, video_id: str, clock: Clock) -> Making:
        """See `Maker`."""
        rows = RowBuilder(self.consumer.plan(clock), self.encoder, batch_size=self.batch_size)
        return _FeatureMaking({**self.about, "video_id": video_id, "duration_s": clock.end_s}, rows)


class _FeatureMaking:
    def __init__(self, about: Mapping[str, Any], rows: RowBuilder) -> None:
        self._about = about
        self._rows = rows

    def add(self, header: Header, pictures: Sequence[Bytes]) -> None:
        self._rows.add(header["first"], pictures, header["damaged"])

    def end(self) -> None:
        self._rows.end()

    def finish(self, result: PassResult, request: int) -> Sample:
        rows = self._rows.collect()
        num_damaged = int(rows.damaged.sum())
        facts = {
            **_pass_facts(result, num_damaged, request), **self._about,
            "num_clips": len(rows.spans), "num_padded": rows.num_padded,
        }  # fmt: skip
        parts = {
            f"{self._about['backbone']}.npy": rows.features, "spans.npy": rows.spans, "damaged.npy": rows.damaged,
            "json": facts,
        }  # fmt: skip
        counts = {
            "videos": 1, "clips": len(rows.spans), "damaged": num_damaged, "padded": rows.num_padded,
            "partial": int(facts["status"] == "partial"),
        }  # fmt: skip
        return Sample(parts=parts, counts=counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMaker:
    """Makes JPEGs to train on, with their true times and a mask of those that may be damaged; see `Maker`."""

    consumer: Consumer

    @property
    def counts(self) -> Mapping[str, int]:
        """See `Maker`."""
        return dict.fromkeys(("videos", "frames", "damaged", "partial"), 0)

    def begin(self, video_id: str, clock: Clock) -> Making:
        """See `Maker`."""
        return _FrameMaking({"video_id": video_id, "duration_s": clock.end_s})


class _FrameMaking:
    def __init__(self, about: Mapping[str, Any]) -> None:
        self._about = about
        self._pictures: list[bytes] = []
        self._times: list[float] = []
        self._damaged: list[bool] = []

    def add(self, header: Header, pictures: Sequence[Bytes]) -> None:
        self._pictures += [picture.tobytes() for picture in pictures]
        self._times += header["times"]
        self._damaged += header["damaged"]

    def end(self) -> None:
        """Nothing waits."""

    def finish(self, result: PassResult, request: int) -> Sample:
        """Give pictures, times, mask and facts; what lies behind the last frame that decodes is not there."""
        num_damaged = sum(self._damaged)
        facts = {**_pass_facts(result, num_damaged, request), **self._about, "num_frames": len(self._pictures)}
        parts: dict[str, Any] = {f"f{number:05d}.jpg": picture for number, picture in enumerate(self._pictures)}
        parts["times.npy"] = np.array(self._times, dtype=np.float64)
        parts["damaged.npy"] = np.array(self._damaged, dtype=np.bool_)
        counts = {
            "videos": 1, "frames": len(self._pictures), "damaged": num_damaged,
            "partial": int(facts["status"] == "partial"),
        }  # fmt: skip
        return Sample(parts={**parts, "json": facts}, counts=counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThumbnailMaker:
    """Makes one JPEG for each search window; see `Maker`.

    Attributes:
        consumer: which pictures.
        about: what is said of them in every sample's json (`window_s`, `stride_s`).
    """

    consumer: Consumer
    about: Mapping[str, float]

    @property
    def counts(self) -> Mapping[str, int]:
        """See `Maker`."""
        return dict.fromkeys(("videos", "thumbnails"), 0)

    def begin(self, video_id: str, clock: Clock) -> Making:
        """See `Maker`."""
        return _ThumbnailMaking({**self.about, "video_id": video_id}, self.consumer.plan(clock))


class _ThumbnailMaking:
    def __init__(self, about: Mapping[str, Any], plan: Plan) -> None:
        self._about = about
        self._plan = plan
        self._pictures: list[bytes] = []

    def add(self, header: Header, pictures: Sequence[Bytes]) -> None:
        self._pictures += [picture.tobytes() for picture in pictures]

    def end(self) -> None:
        """Nothing waits."""

    def finish(self, result: PassResult, request: int) -> Sample:
        """Give them; a window whose frames are all lost has none."""
        shown = enumerate(self._plan.table[:, 0].tolist())
        parts: dict[str, Any] = {
            f"w{window:05d}.jpg": self._pictures[index] for window, index in shown if index < len(self._pictures)
        }
        counts = {"videos": 1, "thumbnails": len(parts)}
        return Sample(parts={**parts, "json": {**self._about, "num_thumbnails": len(parts)}}, counts=counts)


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
