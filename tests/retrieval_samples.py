"""A small world for the retrieval tests: videos made of steps, and a real encoder that knows the steps' words.

Every step has a direction in the joint space. A window's vector is the direction of the step that it shows, with
noise; a text's vector is the sum of the directions of its known words. So the right answer of each query is known.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.artifacts.commit import StagedFile
from stages.retrieval.bundle import Bundle, open_bundle
from stages.retrieval.bundle_record import EncoderRecord, Probe
from stages.retrieval.bundle_writer import BundleContent, write_bundle
from stages.retrieval.clips import FlatClips
from stages.retrieval.ivf import IvfFacts, IvfSettings, draw_rows
from stages.retrieval.ivf_build import TrainedLists, measure
from stages.retrieval.vectors import VectorIndex, fill_lists, join_lists, train_lists

STEPS = ("pour", "stir", "cut", "fry", "fold", "bake", "wash", "serve")
DIM = 16
WINDOW_S, STRIDE_S = 8.0, 4.0
DIRECTIONS = np.linalg.qr(np.random.default_rng(7).standard_normal((DIM, DIM)))[0][: len(STEPS)].astype(np.float32)


class WordEncoder(torch.nn.Module):
    """A JointEncoder whose text tower is a bag of the steps' words; other words count nothing."""

    dim, feature_dim, normalised, random_weights = DIM, DIM, True, False
    description, backbone = "words:sha256=0123", "s3d"

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding.from_pretrained(torch.from_numpy(DIRECTIONS))

    def encode_windows(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        kept = features * mask.unsqueeze(-1)
        return torch.nn.functional.normalize(kept.sum(1), dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        bags = [torch.tensor([STEPS.index(w) for w in text.split() if w in STEPS], dtype=torch.long) for text in texts]
        return torch.stack([torch.nn.functional.normalize(self.words(bag).sum(0), dim=-1) for bag in bags])


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def show(steps: Sequence[str], seed: int, windows_per_step: int = 2, noise: float = 0.05) -> np.ndarray:
    """Window vectors of a video that shows these steps in this order, float32 (N, DIM); '' shows nothing known."""
    rng = np.random.default_rng(seed)
    rows = [DIRECTIONS[STEPS.index(step)] if step else np.zeros(DIM) for step in steps for _ in range(windows_per_step)]
    jitter = rng.standard_normal((len(rows), DIM))
    return unit(np.reshape(rows, (-1, DIM)) + jitter * np.where(np.any(rows, axis=-1, keepdims=True), noise, 1.0))


def content_of(shown: dict[str, Sequence[str]], **kwargs: Any) -> BundleContent:
    """The embeddings of videos that show the given steps; each step is narrated in its own words."""
    windows: dict[str, list[Any]] = {name: [] for name in ("window_id", "video_id", "index", "start_s", "end_s")}
    narrations: dict[str, list[Any]] = {
        name: [] for name in ("narration_id", "video_id", "index", "paragraph_index", "start_s", "end_s", "text")
    }
    paragraphs: dict[str, list[Any]] = {
        name: [] for name in ("paragraph_id", "video_id", "index", "start_s", "end_s", "text")
    }
    vectors, means = [np.zeros((0, DIM), np.float32)], [np.zeros((0, DIM), np.float32)]
    for seed, (video, steps) in enumerate(shown.items()):
        shots = show(steps, seed, **kwargs) if steps else np.zeros((0, DIM), np.float32)
        vectors.append(shots)
        per_step = len(shots) // max(1, len(steps))
        for index in range(len(shots)):
            row = (f"{video}/w{index:05d}", video, index, index * STRIDE_S, index * STRIDE_S + WINDOW_S)
            for column, value in zip(windows.values(), row, strict=True):
                column.append(value)
        for index, step in enumerate(steps):
            start = index * per_step * STRIDE_S
            row = (f"{video}/n{index:04d}", video, index, 0, start, start + 1.0, f"now {step} it")
            for column, value in zip(narrations.values(), row, strict=True):
                column.append(value)
        if steps:
            means.append(shots.mean(axis=0, keepdims=True))
            row = (f"{video}/p000", video, 0, 0.0, len(shots) * STRIDE_S, " ".join(f"now {step} it" for step in steps))
            for column, value in zip(paragraphs.values(), row, strict=True):
                column.append(value)
    names = list(shown)
    return BundleContent(
        videos={
            "video_id": names,
            "paths": [[f"kitchen/{name}.mp4"] for name in names],
            "source_ids": [[f"src-{name}"] for name in names],
            "duration_s": [60.0] * len(names),
        },
        windows=windows,
        window_rows=np.arange(len(windows["window_id"])),
        clips=FlatClips(vectors=np.concatenate(vectors)),
        paragraphs=paragraphs,
        paragraph_vectors=np.concatenate(means),
        paragraph_present=np.ones(len(paragraphs["paragraph_id"]), bool),
        narrations=narrations,
        window_s=WINDOW_S,
        stride_s=STRIDE_S,
        encoder=EncoderRecord(
            kind="dual",
            sha256="0123",
            seed=0,
            backbone=WordEncoder.backbone,
            description=WordEncoder.description,
            random_weights=False,
            normalised=True,
            features="s3d preset demo, weights random:seed=0",
        ),
        probe=Probe(text="now pour it", vector=tuple(DIRECTIONS[0].tolist())),
    )


def vectors_of(content: BundleContent) -> np.ndarray:
    """The window vectors of `content_of`, float32 (N, DIM)."""
    assert isinstance(content.clips, FlatClips)
    return content.clips.vectors


def build_ivf(vectors: np.ndarray, settings: IvfSettings, parts: int = 1) -> tuple[VectorIndex, IvfFacts]:
    """An IVF index by the steps that the index stage does apart; the rows lie in so many parts."""
    draw = draw_rows([f"w{row}" for row in range(len(vectors))], settings)
    index = train_lists(vectors[draw.sample], nlist=draw.nlist, seed=settings.seed)
    lists = TrainedLists(index=index, sample_rows=len(draw.sample), seed=settings.seed)
    shards = np.array_split(vectors, parts)
    joined = join_lists(index, [fill_lists(index, shard) for shard in shards])
    return measure(joined, lists, lambda: shards, draw.held_out, settings)


@dataclass(frozen=True)
class IvfClips:
    """Clip source of an IVF bundle."""

    vectors: np.ndarray
    settings: IvfSettings

    def build(self, window_ids: Sequence[str], order: np.ndarray) -> tuple[VectorIndex, IvfFacts | None]:
        return build_ivf(self.vectors[order], self.settings)


def bytes_of(index: VectorIndex) -> bytes:
    file = io.BytesIO()
    index.write(file)
    return file.getvalue()


def write_folder(folder: Path, content: BundleContent, ivf: IvfSettings | None = None) -> Path:
    """Write a plain bundle: every file has its logical name."""
    if ivf is not None:
        content = replace(content, clips=IvfClips(vectors_of(content), ivf))

    def create(name: str) -> StagedFile:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        return StagedFile(name, folder / name)

    write_bundle(create, content)
    return folder


def bundle_of(folder: Path, shown: dict[str, Sequence[str]], **kwargs: Any) -> Bundle:
    return open_bundle(write_folder(folder, content_of(shown, **kwargs)))


def with_random_weights(content: BundleContent) -> BundleContent:
    return replace(content, encoder=replace(content.encoder, random_weights=True))
