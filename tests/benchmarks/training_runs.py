"""What the training benchmark runs: a corpus of HowTo100M's shape, our step, and the plain one beside it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from models.encoders.config import DualConfig
from models.encoders.dual import DualEncoder
from models.encoders.packed import Packed, unpack
from models.encoders.tokenizer import CaptionTokenizer
from models.losses.videoclip import VideoCLIPLoss
from stages.artifacts.commit import StagedOutput
from stages.artifacts.layout import Store
from stages.artifacts.sealed import Artifact
from stages.artifacts.shards import ShardWriter
from stages.training.batches import PairSource
from stages.training.dataset import FeatureEntry, TimedText, feature_entries, join_videos
from stages.training.layout import ShuffledLayout
from stages.training.loop import LoopSettings, StepReport, train
from stages.training.objectives import VideoCLIPSettings
from stages.training.optimisation import Optimisation
from stages.training.sampling import OverlapSampling
from stages.training.scale import Standardise
from stages.training.task import LoopTask
from stages.training.tasks.text_video import ScaledEncoder
from stages.training.tasks.videoclip import ContrastAssembly, ContrastBatch, VideoCLIPModule
from stages.training.team import ALONE, Part
from tests.training_samples import seal

NUM_VIDEOS, VIDEOS_A_SHARD, NUM_PAIRS = 96, 24, 32
SIZES = DualConfig()
"""VideoCLIP's: two BERTs of BERT-base's width, 6 and 12 layers."""

MEAN_LENGTH_S, CLIP_S, WORDS_A_CLIP = 390, 3.5, 7
"""Of HowTo100M: 6.5 minutes, about 110 captions, 2.4 tokens a second."""


@dataclass(frozen=True, kw_only=True)
class TrainingCorpus:
    """Sealed features, a row a second, and what is said."""

    features: Artifact
    narrations: Mapping[str, list[TimedText]]
    tokenizer: CaptionTokenizer

    @property
    def shards(self) -> list[Path]:
        return [self.features.path(file) for record in self.features.records for file in record.files]

    @property
    def entries(self) -> dict[str, FeatureEntry]:
        return feature_entries(self.features, "s3d")


def make_training_corpus(root: Path) -> TrainingCorpus:
    """Write shards as extract does: three arrays and a record a video."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(MEAN_LENGTH_S // 2, 3 * MEAN_LENGTH_S // 2, NUM_VIDEOS)

    def writer(first: int) -> Callable[[StagedOutput], None]:
        def write(out: StagedOutput) -> None:
            with ShardWriter(out.create("features.s3d", "shards/s3d.tar")) as shard:
                for number in range(first, min(first + VIDEOS_A_SHARD, NUM_VIDEOS)):
                    rows = generator.standard_normal((lengths[number], SIZES.feature_dim)).astype(np.float16)
                    starts = np.arange(float(len(rows)))
                    parts = {
                        "s3d.npy": rows,
                        "spans.npy": np.stack([starts, starts + 1], axis=1),
                        "damaged.npy": np.zeros(len(rows), dtype=bool),
                        "json": {"video_id": f"v{number:03d}"},
                    }
                    shard.add(f"v{number:03d}", parts)

        return write

    firsts = range(0, NUM_VIDEOS, VIDEOS_A_SHARD)
    features = seal(Store(root), "features.s3d", {f"{place:05d}": writer(first) for place, first in enumerate(firsts)})
    words = ["".join(letters) for letters in generator.choice(list("abcdefghijklmnopqrst"), (2000, 5)).tolist()]
    narrations = {f"v{number:03d}": list(_talk(int(length), words, generator)) for number, length in enumerate(lengths)}
    said = [row.text for rows in narrations.values() for row in rows]
    return TrainingCorpus(
        features=features, narrations=narrations, tokenizer=CaptionTokenizer.train(said, vocab_size=4000)
    )


def _talk(length_s: int, words: list[str], generator: np.random.Generator) -> Iterator[TimedText]:
    for start_s in np.arange(0.0, length_s, CLIP_S):
        said = generator.choice(words, int(generator.poisson(WORDS_A_CLIP)) + 1)
        yield TimedText(start_s=start_s, end_s=start_s + CLIP_S, text=" ".join(said))


class PublishedTask(LoopTask[ContrastBatch]):
    """VideoCLIP on an encoder of the published sizes."""

    def __init__(self, corpus: TrainingCorpus, *, batch_videos: int, draws_per_video: int) -> None:
        sampling = OverlapSampling(draws_per_video=draws_per_video)
        videos = join_videos(corpus.entries, corpus.narrations, corpus.tokenizer.pieces_of, sampling)
        assembly = ContrastAssembly(corpus.tokenizer.framed, same_video_negatives=True)
        ids = [video.video_id for video in videos]
        layout = ShuffledLayout(ids, batch_videos, multiple=1, seed=0)
        self.source = PairSource(videos, sampling, layout, assembly, seed=0)
        scaled = ScaledEncoder(DualEncoder(SIZES), Standardise(None, SIZES.feature_dim))
        self.module = VideoCLIPModule(scaled, VideoCLIPLoss(), ALONE)


def run_loop(
    task: PublishedTask, *, steps: int, precision: str, device: str, threads: int, on_step: Callable[[StepReport], None]
) -> None:
    """Train by the loop of train, with the published optimiser."""
    optimisation = Optimisation.model_validate(
        {"steps": steps, "precision": precision, "device": device, "threads": threads}
    )
    train(task, LoopSettings(optimisation=optimisation, seed=0, on_step=on_step))


class PlainStep:
    """The same objective as a first script has it: padded to the longest, float32, eager attention."""

    def __init__(self) -> None:
        self.video, self.text = (
            BertModel(
                BertConfig(vocab_size=SIZES.vocab_size, num_hidden_layers=layers, attn_implementation="eager")
            ).train()
            for layers in (SIZES.video_layers, SIZES.text_layers)
        )
        width = SIZES.hidden_size
        self.mlp = nn.Sequential(
            nn.Linear(SIZES.feature_dim, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, width)
        )
        self.parameters = [p for module in (self.video, self.text, self.mlp) for p in module.parameters()]
        wanted = VideoCLIPSettings(), Optimisation()
        self.clip_norm = wanted[1].clip_norm
        self.optimiser = torch.optim.Adam(self.parameters, lr=5e-5, betas=(0.9, 0.98))

    def __call__(self, batch: "PaddedBatch") -> float:
        """Do one update; the loss."""
        self.optimiser.zero_grad()
        windows, rows, ids, mask = map(torch.from_numpy, (batch.windows, batch.rows, batch.ids, batch.words))
        words = self.video.get_input_embeddings()
        ends = words(torch.tensor([[SIZES.cls_id, SIZES.sep_id]])).expand(len(windows), 2, -1)
        tokens = torch.cat([ends[:, :1], self.mlp(windows), ends[:, 1:]], dim=1)
        ones = rows.new_ones(len(rows), 1)
        seen = torch.cat([ones, rows, ones], dim=1)
        video = self.video(inputs_embeds=tokens, attention_mask=seen).last_hidden_state
        text = self.text(input_ids=ids, attention_mask=mask).last_hidden_state
        first, second = _mean(video[:, 1:], seen[:, 1:]), _mean(text[:, 1:], mask[:, 1:])
        logits, own = first @ second.T, torch.arange(len(first))
        loss = F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        self.optimiser.step()
        return loss.item()


@cache
def _plain_step() -> PlainStep:
    return PlainStep()


def plain_step(batch: "PaddedBatch") -> float:
    """Do one more update of this process's `PlainStep`."""
    return _plain_step()(batch)


@dataclass(frozen=True, kw_only=True)
class PaddedBatch:
    """A batch of 34 video and 63 text tokens a pair: windows and ids, and which of them are real.

    Arrays, for it travels to another process: tensors would be laid into shared memory by a thread with OpenMP threads
    of its own, and libgomp, which then counts more threads than cores, has ours sleep after each product.
    """

    windows: NDArray[np.float32]
    rows: NDArray[np.int64]
    ids: NDArray[np.int64]
    words: NDArray[np.int64]


def padded(task: PublishedTask, index: int) -> PaddedBatch:
    """The pairs of a batch of the current epoch."""
    pairs = task.source.batch(index, Part()).pairs
    windows, rows = _pad(pairs.windows, SIZES.max_video_len)
    ids, words = _pad(pairs.texts, SIZES.max_text_len + 2)
    return PaddedBatch(windows=windows.numpy(), rows=rows.long().numpy(), ids=ids.numpy(), words=words.long().numpy())


def _pad(packed: Packed, length: int) -> tuple[Tensor, Tensor]:
    return unpack(packed.values, packed, length=length)


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask[..., None].float()
    return (states * weights).sum(dim=1) / weights.sum(dim=1)
