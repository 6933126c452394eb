"""Parts of extract and the whole of it, as the benchmarks run them, and the videos that they run on."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.extract import ExtractConfig
from stages.media.ahead import DecodeCrew, Decoded, Job
from stages.media.attempts import AttemptLog
from stages.media.backbones import open_backbone
from stages.media.consumers import Clock
from stages.media.encoders import ThreadPool
from stages.media.probe import probe_video
from stages.media.process import IsolationSettings
from stages.media.recipes import decoder_name, make_consumer, make_recipes, required_consumers
from tests.benchmarks.measuring import THREADS, say
from tests.conftest import SHARED_DIR
from tests.media import Numbered, make_video
from tests.unit.test_extract import Corpus


def real_videos(folder: Path) -> list[Path]:
    """The real test videos, or rendered ones in `folder`."""
    root = SHARED_DIR / "data" / "videos"
    if root.is_dir():
        return sorted(root.rglob("*.*"))
    say(f"NO SHARED FOLDER at {SHARED_DIR}: rendered files instead, figures say less (set FABULA_SHARED)")
    sizes = ((320, 240), (640, 360), (1280, 720))
    kinds = [Numbered(num_frames=200, size=size, noise=8) for size in sizes]
    return [make_video(folder / f"rendered{number}", kind) for number, kind in enumerate(kinds)]


def choose(
    videos: Sequence[Path], count: int, *, least_height: int, most_height: int, most_s: float = 15.0
) -> list[Path]:
    """Some videos of a size, spread over all."""
    found = []
    for path in videos:
        info = probe_video(path)
        if least_height <= info.height <= most_height and 2.0 <= info.duration_s <= most_s:
            found.append(path)
    return found[:: max(1, len(found) // count)][:count]


def make_corpus(root: Path, videos: Sequence[Path]) -> Corpus:
    """Videos as a media folder with its manifest."""
    (root / "media").mkdir(parents=True)
    for number, path in enumerate(videos):
        shutil.copy(path, root / "media" / f"{number}{path.suffix}")
    return Corpus(root, root / "media")


def stage_config(**changes: Any) -> ExtractConfig:
    """Of the stage as it is measured: one output, all threads."""
    return ExtractConfig.model_validate({"threads": THREADS, "thumbnails": False, **changes})


def run_stage(corpus: Corpus, config: ExtractConfig) -> None:
    """Run the whole stage into a store of its own, and throw that away."""
    corpus.extract("store", **config.model_dump())
    shutil.rmtree(corpus.root / "store")


def decode(paths: Sequence[Path], config: ExtractConfig, log: Path, *, processes: int = THREADS) -> int:
    """Decode as the stage does, but whole pictures for CLIP, and feed nobody; bytes that came."""
    common = {
        "decoder": decoder_name(config),
        "consumers": [make_consumer(config, label).to_json() for label in make_recipes(config)],
        "required": required_consumers(config),
    }
    jobs = [Job(input_id=str(number), arguments={"path": str(path), **common}) for number, path in enumerate(paths)]
    log.unlink(missing_ok=True)
    num_bytes = 0
    with (
        DecodeCrew(IsolationSettings(memory_mib=config.memory_mib), processes) as crew,
        crew.decode(jobs, AttemptLog(log), max_attempts=1) as decoding,
    ):
        while (item := decoding.take()) is not None:
            if isinstance(item, Decoded) and item.message.header["kind"] not in ("done", "error"):
                num_bytes += item.message.payload.nbytes
                item.message.let_go()
            else:
                decoding.close_one()
    return num_bytes


def model_only(paths: Sequence[Path], config: ExtractConfig) -> Callable[[], None]:
    """What computes all that the stage computes, on noise, loading its networks first."""
    ends = [Clock(end_s=probe_video(path).duration_s) for path in paths]

    def compute() -> None:
        pool = ThreadPool(config.threads)
        futures = []
        for label in make_recipes(config):
            loaded, size = open_backbone(config, label), make_recipes(config)[label]["batch_size"]
            consumer = make_consumer(config, label, loaded.geometry)
            side = loaded.geometry.crop
            batch = np.random.default_rng(0).integers(
                0, 256, (size, consumer.frames_per_clip, side, side, 3), dtype=np.uint8
            )
            for count in (len(consumer.plan(end).spans) for end in ends):
                sizes = [min(size, count - first) for first in range(0, count, size)]
                futures += [pool.submit(loaded.encode, batch[:clips]) for clips in sizes]
        for future in futures:
            future.result()
        pool.close()

    return compute
