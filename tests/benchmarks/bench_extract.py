"""How fast is extraction, against the straightforward way and against its own parts? One run, same files, interleaved.

Run with::

    FABULA_SHARED=../shared python -m pytest tests/benchmarks/bench_extract.py tests/benchmarks/bench_decode.py -s

(a) wall of S3D features, `videoclip` preset, against `straightforward.py`; both load their network. And the network
    alone: rows' cosine to float32 on weights of the goldens' kind, and its share of a matrix product's speed. In
    float32 and in whole numbers, and with bfloat16 where the CPU computes in it.
(b) wall of the stage against the largest of decode-only wall, model-only wall (with loading) and the sum of their CPU
    seconds over cores, on three mixes of videos and presets.
(e) S3D and CLIP in one pass against the slower alone and the model time of the other.
(g) what the doctor predicts after 30 seconds of measuring, against the stage.

Nothing is asserted of times: the table is the result. FABULA_BENCH_THREADS: of extract (default: all cores);
FABULA_BENCH_ROUNDS: the median of so many rounds counts (default 3). Without the shared folder files are rendered.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.backbones.s3d import S3D
from models.backbones.s3d_features import S3DFeatures
from pipeline.config import ExecutorConfig
from pipeline.doctor import DoctorSettings, diagnose
from pipeline.executors.inline import InlineExecutor
from stages.extract import ExtractConfig
from stages.ingest import IngestConfig
from stages.media.presets import CLIP_PRESETS
from stages.media.settings import Arithmetic, Precision
from tests.benchmarks.extract_runs import choose, decode, make_corpus, model_only, real_videos, run_stage, stage_config
from tests.benchmarks.measuring import CORES, THREADS, alternate, apart, computes_in, measure, say
from tests.benchmarks.straightforward import BATCH_SIZE, extract, pipe_clips
from tests.clip_factory import save_random_clip
from tests.golden.test_s3d_golden import golden_weight
from tests.unit.test_doctor import Silent

pytestmark = pytest.mark.timeout(3600)

VIDEOCLIP = CLIP_PRESETS["videoclip"]
WAYS: dict[str, tuple[Precision, Arithmetic]] = {
    "float32": ("float32", "float"),
    "bfloat16": ("bfloat16", "float"),
    "int8 in float32": ("float32", "int8"),
    "int8 in bfloat16": ("bfloat16", "int8"),
}
VIT_B_32 = {
    "image_size": 224, "patch_size": 32, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12,
}  # fmt: skip
MIXES = {
    "decode-heavy": {"least_height": 540, "most_height": 1080, "preset": "demo"},
    "balanced": {"least_height": 720, "most_height": 1080, "preset": "milnce"},
    "model-heavy": {"least_height": 0, "most_height": 480, "preset": "videoclip"},
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return real_videos(tmp_path_factory.mktemp("rendered"))


def need(precision: Precision) -> None:
    if not computes_in(precision):
        pytest.skip(f"this CPU does not compute in {precision}")


def in_way(way: str, preset: str, batch_size: int) -> ExtractConfig:
    """Of the stage with S3D."""
    precision, arithmetic = WAYS[way]
    return stage_config(precision=precision, s3d={"preset": preset, "batch_size": batch_size, "arithmetic": arithmetic})


def test_a_against_the_straightforward_way(videos: list[Path], tmp_path: Path) -> None:
    """Over enough clips that starting processes is a small part of either way."""
    corpus = make_corpus(tmp_path, choose(videos, 12, least_height=0, most_height=1080, most_s=30.0))
    paths = sorted(corpus.media.iterdir())
    ways: dict[str, Callable[[], object]] = {}
    for way, (precision, _) in WAYS.items():
        config = in_way(way, "videoclip", 1)
        if computes_in(precision):
            ways[way] = lambda config=config: run_stage(corpus, config)
    with apart() as measure_apart:
        measure_apart(torch.set_num_threads, CORES)
        costs = alternate({"straightforward": lambda: measure_apart(extract, paths, VIDEOCLIP), **ways})
    plain = costs.pop("straightforward")
    for way, ours in costs.items():
        say(f"(a) {way}, {len(paths)} videos, {THREADS} threads: straightforward {plain.wall:.2f} s "
            f"({plain.cpu:.2f} CPU s), stage {ours.wall:.2f} s ({ours.cpu:.2f}): {plain.wall / ours.wall:.2f} times "
            f"faster by wall, {plain.cpu / ours.cpu:.2f} by CPU; asked with bfloat16: 3.5, aim 4\n")  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_network_alone(videos: list[Path], way: str) -> None:
    precision, arithmetic = WAYS[way]
    need(precision)
    torch.set_num_threads(1)
    plain = S3D()
    plain.load_state_dict({name: golden_weight(name, list(v.shape)) for name, v in plain.state_dict().items()})
    plain.eval()
    fast, dtype = S3DFeatures(plain, precision=precision, arithmetic=arithmetic), getattr(torch, precision)
    sample = choose(videos, 6, least_height=0, most_height=1080)
    clips = torch.from_numpy(np.concatenate([pipe_clips(path, VIDEOCLIP)[:2] for path in sample]))
    batch, square = clips[:BATCH_SIZE], torch.randn(2048, 2048, dtype=dtype)

    @torch.inference_mode()
    def eager(frames: torch.Tensor) -> torch.Tensor:
        return plain(frames.movedim(-1, 1).float() / 255).video_embedding  # type: ignore[no-any-return]

    cosines = torch.cat([torch.cosine_similarity(fast(part), eager(part)) for part in clips.split(BATCH_SIZE)])
    with FlopCounterMode(display=False) as counter:
        eager(batch)
    costs = alternate({"eager": lambda: eager(batch), "fast": lambda: fast(batch), "gemm": lambda: square @ square})
    ceiling = 2 * 2048**3 / costs["gemm"].wall
    share, per_clip = counter.get_total_flops() / costs["fast"].wall / ceiling, counter.get_total_flops() / len(batch)
    say(f"(a) network in {way}, one thread, clips of 30x224x224: {len(batch) / costs['fast'].wall:.2f} clips/s, "
        f"{costs['eager'].wall / costs['fast'].wall:.2f} times float32 eager by wall, "
        f"{costs['eager'].cpu / costs['fast'].cpu:.2f} by CPU; {per_clip / 1e9:.1f} GFLOP a clip, {share:.2f} of the "
        f"ceiling of a matrix product in {precision} ({ceiling / 1e9:.0f} GFLOP/s)\n"
        f"    cosine to float32 over {len(clips)} real clips: least {cosines.min():.6f}; asked 0.9995\n")  # fmt: skip
    assert cosines.min() >= 0.9995


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("way", ["float32", "bfloat16", "int8 in bfloat16"])
def test_b_stage_against_its_parts(videos: list[Path], tmp_path: Path, mix: str, way: str) -> None:
    need(WAYS[way][0])
    least, most, preset = MIXES[mix].values()
    corpus = make_corpus(tmp_path, choose(videos, 8, least_height=least, most_height=most))
    paths = sorted(corpus.media.iterdir())
    config = in_way(way, preset, 4 if preset == "demo" else 1)
    costs = alternate(
        {
            "decode": lambda: decode(paths, config, tmp_path / "attempts"),
            "model": model_only(paths, config),
            "stage": lambda: run_stage(corpus, config),
        }
    )
    parts = {name: costs[name].wall for name in ("decode", "model")}
    parts["CPU / cores"] = (costs["decode"].cpu + costs["model"].cpu) / CORES
    largest = max(parts, key=lambda name: parts[name])
    listed = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in parts.items())
    say(f"(b) {mix}, {way}, {THREADS} threads: {listed}; stage {costs['stage'].wall:.2f} s = "
        f"{costs['stage'].wall / parts[largest]:.2f} times the largest ({largest}); {costs['stage'].cpu:.2f} CPU s of "
        f"{costs['decode'].cpu + costs['model'].cpu:.2f} in the parts; asked 1.15\n")  # fmt: skip


def test_e_two_backbones_in_one_pass(videos: list[Path], tmp_path: Path) -> None:
    model = save_random_clip(tmp_path / "clip", vision=VIT_B_32)
    corpus = make_corpus(tmp_path, choose(videos, 8, least_height=240, most_height=1080))
    paths = sorted(corpus.media.iterdir())
    alone = {
        "s3d": stage_config(s3d={"preset": "milnce", "batch_size": 1}),
        "clip": stage_config(backbones=("clip",), clip={"model": str(model), "fps": 2.0}),
    }
    both = stage_config(
        backbones=("s3d", "clip"), s3d={"preset": "milnce", "batch_size": 1}, clip={"model": str(model), "fps": 2.0}
    )
    forms = {f"stage {name}": lambda config=config: run_stage(corpus, config) for name, config in alone.items()}
    forms |= {f"model {name}": model_only(paths, config) for name, config in alone.items()}
    costs = alternate({**forms, "both": lambda: run_stage(corpus, both)})
    slower, other = sorted(alone, key=lambda name: -costs[f"stage {name}"].wall)
    first, network, both_cost = costs[f"stage {slower}"], costs[f"model {other}"], costs["both"]
    say(f"(e) {slower} alone {first.wall:.2f} s ({first.cpu:.2f} CPU s), {other} alone "
        f"{costs[f'stage {other}'].wall:.2f} s, its network {network.wall:.2f} s ({network.cpu:.2f}); both in one pass "
        f"{both_cost.wall:.2f} s ({both_cost.cpu:.2f}): {both_cost.wall / (first.wall + network.wall):.2f} times the "
        f"slower and the other's network by wall, {both_cost.cpu / (first.cpu + network.cpu):.2f} by CPU; "
        f"asked 1.1\n")  # fmt: skip


@pytest.mark.parametrize("preset", ["demo", "milnce"])
def test_g_the_doctor_s_forecast(videos: list[Path], tmp_path: Path, preset: str) -> None:
    corpus = make_corpus(tmp_path, choose(videos, 24, least_height=0, most_height=1080))
    config = stage_config(s3d={"preset": preset, "batch_size": 1})
    settings = DoctorSettings(
        ingest=IngestConfig(media=corpus.media),
        extract=config,
        executor=ExecutorConfig(kind="inline"),
        check_machine=False,
    )
    predicted = diagnose(settings, make_executor=lambda: InlineExecutor(num_retries=0), view=Silent()).forecast
    assert predicted is not None
    taken = measure(lambda: run_stage(corpus, config))
    say(f"(g) {preset}: the doctor says {predicted.wall_s:.1f} s, the stage takes {taken.wall:.1f} s: factor "
        f"{max(predicted.wall_s / taken.wall, taken.wall / predicted.wall_s):.2f}; asked 1.5\n")  # fmt: skip
