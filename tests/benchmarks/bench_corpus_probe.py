"""How far do random S3D features of the demo preset tell the steps of the demo corpus apart?

A linear probe is trained on the train videos' clips and measured on the test videos' clips, twice: on the clips, and
on each clip's middle frame repeated to its length. Only clips count that lie inside one scene.

Run with::

    python -m pytest tests/benchmarks/bench_corpus_probe.py -s

FABULA_PROBE_CORPUS names a folder to render into, or that holds a corpus already (default: a temporary one);
FABULA_PROBE_SEEDS gives seeds of the random weights (default: 0).
"""

import csv
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.backbones.s3d import random_s3d
from models.backbones.s3d_features import S3DFeatures
from stages.corpus.render import render_corpus
from stages.corpus.settings import CorpusSettings
from stages.media.consumers import clip_geometry
from stages.media.frames import FrameRequest, sample_frames
from stages.media.presets import CLIP_PRESETS, ClipPreset

MOST_FROM_MIDDLE_FRAME = 0.60
LEAST_FROM_CLIP = 0.90
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
FOLDS = 4
BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """Clips of one split: frames uint8 (N, F, H, W, 3), the step of each as an index (N,), its video (N,)."""

    frames: NDArray[np.uint8]
    steps: NDArray[np.int64]
    videos: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """Shares of test clips whose step is found, and how it was measured."""

    weights_seed: int
    clip: float
    middle_frame: float
    train_clips: int
    test_clips: int
    clips_per_s: float


def read_clips(root: Path, split: str, preset: ClipPreset) -> Clips:
    """Decode the preset's clips that lie inside one scene."""
    names = [row["video"] for row in csv.DictReader((root / "splits.csv").open()) if row["split"] == split]
    scenes = list(csv.DictReader((root / "steps.csv").open()))
    vocabulary = {step: index for index, step in enumerate(sorted({scene["step"] for scene in scenes}))}
    frames, labels, videos = [], [], []
    for number, name in enumerate(names):
        inside = _inside([scene for scene in scenes if scene["video"] == name], preset)
        frames.append(_decode(root / "videos" / name, list(inside), preset))
        labels += [vocabulary[step] for step in inside.values()]
        videos += [number] * len(inside)
    return Clips(frames=np.concatenate(frames), steps=np.array(labels), videos=np.array(videos))


def _inside(scenes: list[dict[str, str]], preset: ClipPreset) -> dict[float, str]:
    """Start -> step of those clips of one video that show one scene only."""
    starts = np.arange(0.0, float(scenes[-1]["end_s"]) - preset.clip_s + 1e-9, preset.stride_s).tolist()
    return {
        start: scene["step"]
        for scene in scenes
        for start in starts
        if float(scene["start_s"]) <= start and start + preset.clip_s <= float(scene["end_s"])
    }


def _decode(path: Path, starts: list[float], preset: ClipPreset) -> NDArray[np.uint8]:
    """Frames of the clips that begin at `starts`, (N, F, H, W, 3)."""
    offsets = (np.arange(preset.frames_per_clip, dtype=np.float64) + 0.01) / np.float64(preset.fps)
    requests = [FrameRequest(times_s=start + offsets, geometry=clip_geometry(preset)) for start in starts]
    clips = np.empty((len(starts), preset.frames_per_clip, preset.crop, preset.crop, 3), np.uint8)
    for sample in sample_frames(path, requests):
        clips[sample.request, sample.index] = sample.rgb
    return clips


def extract(model: S3DFeatures, frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Features (N, D) as an artifact holds them: rounded to float16."""
    rows = [model(torch.from_numpy(frames[first : first + BATCH])) for first in range(0, len(frames), BATCH)]
    return torch.cat(rows).half().double().numpy()


def repeat_middle(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each clip's middle frame, repeated to the clip's length."""
    middle = frames.shape[1] // 2
    return np.repeat(frames[:, middle : middle + 1], frames.shape[1], axis=1)


def probe(train: NDArray[np.float64], train_clips: Clips, test: NDArray[np.float64], test_clips: Clips) -> float:
    """Accuracy of a ridge classifier on standardised features; its penalty by cross-validation over train videos."""
    mean, scale = train.mean(0), train.std(0)
    scale = np.maximum(scale, 0.01 * np.median(scale))  # a channel that is dead in train must not rule in test
    train, test = (train - mean) / scale, (test - mean) / scale
    fold = train_clips.videos % FOLDS
    scores: Mapping[float, float] = {
        penalty: sum(
            (
                _predict(train[fold != f], train_clips.steps[fold != f], train[fold == f], penalty)
                == train_clips.steps[fold == f]
            ).sum()
            for f in range(FOLDS)
        )
        for penalty in PENALTIES
    }
    best = max(scores, key=lambda penalty: scores[penalty])
    return float((_predict(train, train_clips.steps, test, best) == test_clips.steps).mean())


def _predict(
    train: NDArray[np.float64], steps: NDArray[np.int64], test: NDArray[np.float64], penalty: float
) -> NDArray[np.int64]:
    """Ridge regression to one-hot targets in its dual form; the penalty is relative to the number of features."""
    targets = np.eye(int(steps.max()) + 1)[steps]
    bias = targets.mean(0)
    kernel = train @ train.T / train.shape[1] + penalty * np.eye(len(train))
    weights = np.linalg.solve(kernel, targets - bias)
    scores: NDArray[np.float64] = test @ train.T / train.shape[1] @ weights + bias
    best: NDArray[np.int64] = scores.argmax(axis=1)
    return best


def measure(root: Path, weights_seed: int) -> ProbeResult:
    """Probe one draw of random weights on the corpus in `root`."""
    preset = CLIP_PRESETS["demo"]
    model = S3DFeatures(random_s3d(weights_seed), output=preset.output, l2_normalise=preset.l2_normalise)
    train, test = (read_clips(root, split, preset) for split in ("train", "test"))
    begin = time.perf_counter()
    clip_features = [extract(model, clips.frames) for clips in (train, test)]
    seconds = time.perf_counter() - begin
    middle_features = [extract(model, repeat_middle(clips.frames)) for clips in (train, test)]
    return ProbeResult(
        weights_seed=weights_seed,
        clip=probe(clip_features[0], train, clip_features[1], test),
        middle_frame=probe(middle_features[0], train, middle_features[1], test),
        train_clips=len(train.steps),
        test_clips=len(test.steps),
        clips_per_s=(len(train.steps) + len(test.steps)) / seconds,
    )


@pytest.mark.parametrize("weights_seed", [int(seed) for seed in os.environ.get("FABULA_PROBE_SEEDS", "0").split(",")])
def test_steps_take_motion_and_appearance(tmp_path: Path, weights_seed: int) -> None:
    root = Path(os.environ.get("FABULA_PROBE_CORPUS", tmp_path / "corpus"))
    render_corpus(root, CorpusSettings(), workers=2)
    result = measure(root, weights_seed)
    sys.stdout.write(json.dumps(asdict(result)) + "\n")
    assert result.clip >= LEAST_FROM_CLIP
    assert result.middle_frame <= MOST_FROM_MIDDLE_FRAME
