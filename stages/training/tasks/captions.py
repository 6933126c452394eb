"""Fine-tuning on a data set's captions as a task: its clips against its sentences, by VideoCLIP's loss.

Source: VideoCLIP's released code (papers.md 2.8): one direction for retrieval, the other for question answering.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from models.encoders.packed import pack
from models.losses.videoclip import VideoCLIPLoss
from stages.datasets.records import Caption
from stages.errors import ConfigError
from stages.training.batches import PairBatch
from stages.training.embedder import rows_over
from stages.training.layout import EpochLayout, ShuffledLayout
from stages.training.objectives.base import Opening
from stages.training.objectives.captions import CaptionsSettings
from stages.training.sampling import sample_generator
from stages.training.source import LaidOutSource
from stages.training.start import check_length
from stages.training.tasks.annotated import (
    Annotated,
    AnnotatedTask,
    RowsVideo,
    open_annotated,
    packed_texts,
)
from stages.training.tasks.text_video import ScaledEncoder
from stages.training.tasks.videoclip import ContrastBatch, VideoCLIPModule
from stages.training.team import Part


class CaptionSource(LaidOutSource[ContrastBatch]):
    """Batches of clips and captions; of a name with several captions, one is drawn each time."""

    def __init__(
        self,
        built: Annotated,
        settings: CaptionsSettings,
        captions: Mapping[str, Sequence[Caption]],
        layout: EpochLayout,
        *,
        seed: int,
    ) -> None:
        super().__init__(layout)
        self._built, self._settings, self._captions, self._seed = built, settings, captions, seed

    def batch(self, index: int, part: Part) -> ContrastBatch:
        """See `BatchSource`."""
        drawn = [self._draw(name, index) for name in self._names(index)]
        own = drawn[part.of(len(drawn))]
        windows = [self._window(caption) for caption in own]
        texts = packed_texts(self._built.checkpoint, [caption.text for caption in own])
        return ContrastBatch(pairs=PairBatch(windows=pack(windows), texts=texts), owners=self._owners(drawn))

    def _draw(self, name: str, index: int) -> Caption:
        found = self._captions[name]
        return found[int(sample_generator(self._seed, index, name, 0).integers(len(found)))]

    def _window(self, caption: Caption) -> Tensor:
        video = self._built.videos[caption.source_id]
        rows = intact_rows(video, caption, self._settings.max_rows)
        return torch.from_numpy(np.asarray(video.entry.map_features()[rows], dtype=np.float32))

    def _owners(self, drawn: Sequence[Caption]) -> Tensor | None:
        if self._settings.same_video_negatives:
            return None
        numbers: dict[str, int] = {}
        return torch.tensor([numbers.setdefault(caption.source_id, len(numbers)) for caption in drawn])


def intact_rows(video: RowsVideo, caption: Caption, most: int) -> np.ndarray:
    """Return the numbers of the first `most` rows of a caption's clip, or of the video, without the damaged ones."""
    start, end = 0, len(video.spans)
    if caption.start_s is not None and caption.end_s is not None:
        ((start, end),) = rows_over(video.spans, np.array([[caption.start_s, caption.end_s]])).tolist()
    rows = np.arange(start, min(end, start + most))
    return rows[~video.damaged[rows]]


def open_captions(settings: CaptionsSettings, opening: Opening) -> AnnotatedTask[ContrastBatch]:
    """Build the task; see `ObjectiveSettings.open`.

    Raises:
        ConfigError: the encoder does not fit, or no caption has an intact row.
    """
    built = open_annotated(settings, opening)
    check_length("max_rows", settings.max_rows, built.checkpoint.encoder.config.max_video_len)
    captions: dict[str, list[Caption]] = {}
    for caption in built.annotations.captions:
        if len(intact_rows(built.videos[caption.source_id], caption, settings.max_rows)):
            whole = settings.example == "video"
            captions.setdefault(caption.source_id if whole else f"{caption.source_id}/{caption.index}", []).append(
                caption
            )
    if not captions:
        raise ConfigError("[train.objective] no caption of the data set has an intact feature row in its clip")
    layout = ShuffledLayout(list(captions), settings.batch_examples, multiple=opening.accumulate, seed=opening.seed)
    scaled = ScaledEncoder(built.checkpoint.encoder, built.scale)
    loss = VideoCLIPLoss(directions=settings.directions, reduction=settings.reduction)
    source = CaptionSource(built, settings, captions, layout, seed=opening.seed)
    return AnnotatedTask(built, VideoCLIPModule(scaled, loss, opening.sharers), source)
