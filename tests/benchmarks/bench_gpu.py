"""How fast is extraction on a card? Skips loudly without one.

Run with::

    python -m pytest tests/benchmarks/bench_gpu.py -s

S3D in bfloat16, `videoclip` preset: clips a second of the network alone, its share of the measured speed of a bfloat16
matrix product, clips a second of the whole stage, which of decoding and network holds it up, and what an hour of video
costs on a node of 16 cores: seconds of the card and of all cores.
"""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.backbones.s3d import random_s3d
from stages.media.backbones import cuda_encoder, load_s3d
from stages.media.presets import CLIP_PRESETS
from stages.media.probe import probe_video
from stages.media.settings import S3DConfig
from tests.benchmarks.extract_runs import choose, decode, make_corpus, real_videos, run_stage, stage_config
from tests.benchmarks.measuring import CORES, alternate, say

pytestmark = pytest.mark.gpu
PRESET = CLIP_PRESETS["videoclip"]
BATCH_SIZE, NUM_BATCHES, NODE_CORES = 32, 20, 16


def clips_a_second() -> float:
    """Of the network alone, fed from the host as the stage feeds it."""
    shape = (1, PRESET.frames_per_clip, PRESET.crop, PRESET.crop, 3)
    clip = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    loaded = load_s3d(S3DConfig(preset="videoclip"), precision="bfloat16", device="cuda")
    encoder = cuda_encoder(loaded, BATCH_SIZE, PRESET.frames_per_clip)
    assert encoder is not None
    for _ in range(2 * BATCH_SIZE):
        encoder.submit(clip)
    encoder.flush()
    begun = time.perf_counter()
    for _ in range(NUM_BATCHES * BATCH_SIZE):
        encoder.submit(clip)
    encoder.flush()
    return NUM_BATCHES * BATCH_SIZE / (time.perf_counter() - begun)


def matmul_flops() -> float:
    """Operations a second of a large bfloat16 matrix product."""
    square = torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda")
    for _ in range(3):
        square @ square
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(20):
        square @ square
    torch.cuda.synchronize()
    return 20 * 2 * 8192**3 / (time.perf_counter() - begun)


def flops_a_clip() -> float:
    """Of the plain network."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        random_s3d(0)(torch.zeros((1, 3, PRESET.frames_per_clip, PRESET.crop, PRESET.crop)))
    return float(counter.get_total_flops())


def test_network_and_stage_on_a_card(tmp_path: Path) -> None:
    alone, ceiling, per_clip = clips_a_second(), matmul_flops(), flops_a_clip()
    say(f"network in bfloat16, batches of {BATCH_SIZE}: {alone:.1f} clips/s, {alone * per_clip / ceiling:.2f} of the "
        f"{ceiling / 1e12:.0f} TFLOP/s of a matrix product")  # fmt: skip
    corpus = make_corpus(tmp_path, choose(real_videos(tmp_path), 24, least_height=0, most_height=1080))
    paths = sorted(corpus.media.iterdir())
    config = stage_config(device="cuda", precision="bfloat16", s3d={"preset": PRESET.name, "batch_size": BATCH_SIZE})
    costs = alternate(
        {"decode": lambda: decode(paths, config, tmp_path / "log"), "stage": lambda: run_stage(corpus, config)}
    )
    hours = sum(probe_video(path).duration_s for path in paths) / 3600
    network_s = hours * 3600 / PRESET.stride_s / alone
    holds_up = "decoding" if costs["decode"].wall > network_s else "the network"
    say(f"stage on {CORES} cores: {costs['stage'].wall:.1f} s for {hours * 60:.1f} minutes of video (decoding alone "
        f"{costs['decode'].wall:.1f} s, network alone {network_s:.1f} s): {holds_up} holds it up; an hour of video "
        f"costs {network_s / hours:.0f} s of the card and {costs['decode'].cpu / hours:.0f} s of cores, "
        f"{max(network_s, costs['decode'].cpu / NODE_CORES) / hours:.0f} s of a node of {NODE_CORES}")  # fmt: skip
