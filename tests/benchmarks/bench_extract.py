"""How fast is extraction, against the straightforward way, the hardware and ffmpeg? One run, same files, interleaved.

Run with::

    FABULA_SHARED=../shared python -m pytest tests/benchmarks/bench_extract.py -s

(a) wall of S3D features, `videoclip` preset in bfloat16, against: ffmpeg pipe at 30 fps, then float32 eager in batches
    of 4 on all cores, one after the other. Both load their network. And the network alone: rows' cosine to float32 on
    weights of the goldens' kind, and its share of a bfloat16 matrix product's speed.
(b) wall of the stage against the largest of decode-only wall, model-only wall (with loading) and the sum of their CPU
    seconds over cores, at the `demo` and the `videoclip` preset.
(c) decode-only (in its process, with all its checks) against `ffmpeg -vf fps,scale,format -f null`, one thread each.

Nothing is asserted of times: the table is the result. FABULA_BENCH_THREADS: torch's (default: all cores);
FABULA_BENCH_ROUNDS: the median of so many rounds counts (default 3). Without the shared folder files are rendered.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from models.backbones.s3d import S3D, random_s3d
from models.backbones.s3d_features import S3DFeatures
from stages.errors import ConfigError
from stages.extract import S3D as S3D_LABEL
from stages.extract import ExtractConfig, make_consumer, open_backbone
from stages.media.ahead import Job, Message, decode_ahead
from stages.media.attempts import AttemptLog
from stages.media.backbones import check_precision
from stages.media.geometry import Geometry
from stages.media.presets import CLIP_PRESETS, ClipPreset
from stages.media.probe import probe_video
from stages.media.process import IsolationSettings
from tests.conftest import SHARED_DIR
from tests.golden.test_s3d_golden import golden_weight
from tests.media import Numbered, make_video
from tests.unit.test_extract import Corpus

CORES = len(os.sched_getaffinity(0))
THREADS = int(os.environ.get("FABULA_BENCH_THREADS", CORES))
ROUNDS = int(os.environ.get("FABULA_BENCH_ROUNDS", "3"))
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
VIDEOCLIP = CLIP_PRESETS["videoclip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds: on the clock, and of all cores together (children that ended are in it)."""

    wall: float
    cpu: float


def measure(run: Callable[[], object]) -> Cost:
    """Run once."""
    before, started = _cpu_seconds(), time.perf_counter()
    run()
    return Cost(wall=time.perf_counter() - started, cpu=_cpu_seconds() - before)


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def alternate(forms: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, Cost]:
    """Median costs; the forms take turns, so that a neighbour's load falls on all."""
    costs: dict[str, list[Cost]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, run in forms.items():
            costs[name].append(measure(run))
    return {
        name: Cost(wall=statistics.median(c.wall for c in found), cpu=statistics.median(c.cpu for c in found))
        for name, found in costs.items()
    }


def say(text: str) -> None:
    """Print a line of the table."""
    sys.stdout.write(f"\n{text}")
    sys.stdout.flush()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Real videos of 2 to 60 s, or rendered ones."""
    torch.set_num_threads(THREADS)
    root = SHARED_DIR / "data" / "videos"
    if root.is_dir():
        return [path for path in sorted(root.rglob("*.*")) if 2.0 <= probe_video(path).duration_s <= 60.0]
    say(f"NO SHARED FOLDER at {SHARED_DIR}: rendered files instead, figures say less (set FABULA_SHARED)")
    folder = tmp_path_factory.mktemp("rendered")
    sizes = ((320, 240), (640, 360), (1280, 720))
    kinds = [Numbered(num_frames=200, size=size, noise=8) for size in sizes]
    return [make_video(folder / f"rendered{number}", kind) for number, kind in enumerate(kinds)]


@pytest.fixture(scope="module")
def sample(videos: list[Path]) -> list[Path]:
    """Six of at most 15 s, spread over the folder."""
    short = [path for path in videos if probe_video(path).duration_s <= 15.0]
    return short[:: max(1, len(short) // 6)][:6]


@pytest.fixture(scope="module")
def corpus(sample: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The sample as a media folder with its manifest."""
    root = tmp_path_factory.mktemp("bench")
    (root / "media").mkdir()
    for number, path in enumerate(sample):
        shutil.copy(path, root / "media" / f"{number}{path.suffix}")
    return Corpus(root, root / "media")


@pytest.fixture(scope="module", autouse=True)
def bfloat16() -> None:
    """Skip where the CPU would emulate it."""
    try:
        check_precision("bfloat16", "cpu")
    except ConfigError as error:
        pytest.skip(str(error))


def stage_config(preset: str, batch_size: int) -> ExtractConfig:
    """Of the stage as it is measured."""
    s3d = {"preset": preset, "batch_size": batch_size}
    return ExtractConfig.model_validate({"precision": "bfloat16", "threads": THREADS, "thumbnails": False, "s3d": s3d})


def run_stage(corpus: Corpus, config: ExtractConfig) -> None:
    """Run the whole stage into a store of its own, and throw that away."""
    corpus.extract("store", **config.model_dump())
    shutil.rmtree(corpus.root / "store")


def straightforward(paths: Sequence[Path]) -> int:
    """Features the way that a first script does it; the number of clips."""
    model, rows = random_s3d(0), 0
    for path in paths:
        clips = torch.from_numpy(pipe_clips(path, VIDEOCLIP))
        with torch.inference_mode():
            for batch in clips.split(4):
                rows += len(model(batch.movedim(-1, 1).float() / 255).video_embedding)
    return rows


def pipe_clips(path: Path, preset: ClipPreset) -> NDArray[np.uint8]:
    """Decode a whole video through a pipe: (N, F, H, W, 3); the last frame fills the last clip."""
    side = preset.crop
    command = [FFMPEG, "-v", "error", "-nostdin", "-i", str(path), "-vf", _filters(preset, f"crop={side}:{side},")]
    raw = subprocess.run([*command, "-f", "rawvideo", "-"], stdout=subprocess.PIPE, check=True).stdout
    frames = np.frombuffer(raw, np.uint8).reshape(-1, side, side, 3)
    missing = -len(frames) % preset.frames_per_clip
    frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    return frames.reshape(-1, preset.frames_per_clip, side, side, 3)


def _filters(preset: ClipPreset, crop: str = "") -> str:
    side = preset.short_side
    return f"fps={preset.fps:g},scale='if(gt(iw,ih),-2,{side})':'if(gt(iw,ih),{side},-2)',{crop}format=rgb24"


def decode(paths: Sequence[Path], config: ExtractConfig, log: Path) -> list[int]:
    """Decode in the stage's process, feed nobody; sizes of all batches."""
    label = S3D_LABEL
    consumer = make_consumer(config, label, open_geometry(config)).to_json()
    common = {"decoder": config.decoder, "consumers": [consumer], "required": {label: consumer}}
    jobs = [Job(input_id=str(number), arguments={"path": str(path), **common}) for number, path in enumerate(paths)]
    isolation = IsolationSettings(deadline_s=config.deadline_s, memory_mib=config.memory_mib)
    log.unlink(missing_ok=True)
    items = decode_ahead(jobs, isolation, AttemptLog(log), max_attempts=1)
    return [len(item.payload) for item in items if isinstance(item, Message) and item.header["kind"] == "batch"]


def open_geometry(config: ExtractConfig) -> Geometry:
    """The preset's picture size, without loading a network."""
    preset = CLIP_PRESETS[config.s3d.preset]
    return Geometry(short_side=preset.short_side, crop=preset.crop)


def test_a_against_the_straightforward_way(corpus: Corpus) -> None:
    paths = sorted(corpus.media.iterdir())
    config = stage_config("videoclip", 1)
    costs = alternate(
        {
            "straightforward": lambda: straightforward(paths),
            "stage": lambda: run_stage(corpus, config),
        }
    )
    plain, ours = costs["straightforward"], costs["stage"]
    say(f"(a) {len(paths)} videos, {THREADS} threads: straightforward {plain.wall:.2f} s ({plain.cpu:.2f} CPU s), "
        f"stage {ours.wall:.2f} s ({ours.cpu:.2f}): {plain.wall / ours.wall:.2f} times faster by wall, "
        f"{plain.cpu / ours.cpu:.2f} by CPU; asked 3.5, aim 4\n")  # fmt: skip


def test_a_network_alone(sample: list[Path]) -> None:
    plain = S3D()
    plain.load_state_dict({name: golden_weight(name, list(v.shape)) for name, v in plain.state_dict().items()})
    plain.eval()
    fast = S3DFeatures(plain, precision="bfloat16")
    clips = torch.from_numpy(np.concatenate([pipe_clips(path, VIDEOCLIP)[:2] for path in sample]))
    batch, square = clips[:4], torch.randn(4096, 4096, dtype=torch.bfloat16)

    @torch.inference_mode()
    def eager(frames: torch.Tensor) -> torch.Tensor:
        return plain(frames.movedim(-1, 1).float() / 255).video_embedding  # type: ignore[no-any-return]

    cosines = torch.cat([torch.cosine_similarity(fast(part), eager(part)) for part in clips.split(4)])
    with FlopCounterMode(display=False) as counter:
        eager(batch)
    costs = alternate({"eager": lambda: eager(batch), "fast": lambda: fast(batch), "gemm": lambda: square @ square})
    ceiling = 2 * 4096**3 / costs["gemm"].wall
    share, per_clip = counter.get_total_flops() / costs["fast"].wall / ceiling, counter.get_total_flops() / len(batch)
    say(f"(a) network, clips of 30x224x224: {len(batch) / costs['fast'].wall:.2f} clips/s, "
        f"{costs['eager'].wall / costs['fast'].wall:.2f} times float32 eager by wall, "
        f"{costs['eager'].cpu / costs['fast'].cpu:.2f} by CPU; {per_clip / 1e9:.1f} GFLOP "
        f"a clip, {share:.2f} of the bfloat16 ceiling ({ceiling / 1e9:.0f} GFLOP/s)\n"
        f"    cosine to float32 over {len(clips)} real clips: least {cosines.min():.6f}; asked 0.9995\n")  # fmt: skip
    assert cosines.min() >= 0.9995


@pytest.mark.parametrize(("preset", "batch_size"), [("demo", 4), ("videoclip", 1)])
def test_b_stage_against_its_parts(corpus: Corpus, preset: str, batch_size: int) -> None:
    paths, config = sorted(corpus.media.iterdir()), stage_config(preset, batch_size)
    shape, log = CLIP_PRESETS[preset], corpus.root / "attempts"
    counts = [-(-count_clips(path, config) // batch_size) for path in paths]
    batch = np.zeros((batch_size, shape.frames_per_clip, shape.crop, shape.crop, 3), np.uint8)

    def model() -> None:
        loaded = open_backbone(config, S3D_LABEL)
        for _ in range(sum(counts)):
            loaded.encode(batch)

    costs = alternate(
        {"decode": lambda: decode(paths, config, log), "model": model, "stage": lambda: run_stage(corpus, config)}
    )
    cpu = (costs["decode"].cpu + costs["model"].cpu) / CORES
    bound = max(costs["decode"].wall, costs["model"].wall, cpu)
    say(f"(b) {preset}: decode {costs['decode'].wall:.2f} s, model {costs['model'].wall:.2f} s, "
        f"CPU / cores {cpu:.2f} s, stage {costs['stage'].wall:.2f} s: {costs['stage'].wall / bound:.2f} times the "
        f"largest; asked 1.15\n")  # fmt: skip


def count_clips(path: Path, config: ExtractConfig) -> int:
    """Rows that the stage makes of a video."""
    consumer = make_consumer(config, S3D_LABEL, open_geometry(config))
    return len(consumer.spans(probe_video(path).duration_s))


def test_c_decode_against_ffmpeg(videos: list[Path], tmp_path: Path) -> None:
    config, every = stage_config("videoclip", 1), videos[::4]

    def ffmpeg() -> None:
        for path in every:
            command = [FFMPEG, "-v", "quiet", "-nostdin", "-threads", "1", "-filter_threads", "1", "-i", str(path)]
            subprocess.run([*command, "-an", "-vf", _filters(VIDEOCLIP), "-f", "null", "-"], check=False)

    costs = alternate({"ours": lambda: decode(every, config, tmp_path / "attempts"), "ffmpeg": ffmpeg})
    ours, theirs = costs["ours"], costs["ffmpeg"]
    say(f"(c) decode-only of {len(every)} videos: ours {ours.wall:.2f} s ({ours.cpu:.2f} CPU s), ffmpeg "
        f"{theirs.wall:.2f} s ({theirs.cpu:.2f}): {ours.wall / theirs.wall:.2f} times by wall, "
        f"{ours.cpu / theirs.cpu:.2f} by CPU; asked 1.2\n")  # fmt: skip
