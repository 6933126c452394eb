"""Draw, narrate and encode all videos of a corpus that are not there yet, and write its tables."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import numpy as np

from stages.corpus.captions import narrate, say, write_vtt
from stages.corpus.compose import VideoPlan, compose
from stages.corpus.draw import draw_video
from stages.corpus.encode import encode_mp4, find_ffmpeg
from stages.corpus.record import CorpusRecord, describe, hash_file, write_record, write_whole
from stages.corpus.render import VIDEOS_DIR
from stages.corpus.settings import CorpusSettings
from stages.corpus.steps import PLACE_NAMES, step_name

TONES_HZ = (220.0, 246.9, 277.2, 329.6, 370.0, 440.0)


def produce(
    out_dir: Path,
    settings: CorpusSettings,
    earlier: CorpusRecord | None,
    *,
    workers: int,
    on_video: Callable[[int, int], None],
) -> tuple[CorpusRecord, int]:
    """Bring `out_dir`, whose record is `earlier`, to the corpus of `settings`; arguments as for `render_corpus`.

    Returns:
        The new record, and how many videos were drawn.
    """
    plans = compose(settings)
    tables = _tables(plans, settings)
    names = [*tables, *(name for plan in plans for name in _files(plan))]
    duration_s = sum(plan.num_frames for plan in plans) / settings.fps
    known = _keep_known(out_dir, settings, earlier)
    out_dir.mkdir(parents=True, exist_ok=True)
    files = {name: known.get(name, "") for name in names}
    record = CorpusRecord(settings=describe(settings), duration_s=duration_s, complete=False, files=files)
    # The record comes first: a folder that a kill leaves is known to be ours.
    write_record(out_dir, record)
    (out_dir / VIDEOS_DIR).mkdir(exist_ok=True)
    for name, text in tables.items():
        write_whole(out_dir / name, text.encode())
    missing = [plan for plan in plans if not all((out_dir / name).is_file() for name in _files(plan))]
    _render_all(out_dir, settings, missing, workers=workers, on_video=on_video)
    for aside in out_dir.rglob(".demo-*.part"):  # a killed call's
        aside.unlink()
    record = replace(record, complete=True, files={name: hash_file(out_dir / name) for name in names})
    write_record(out_dir, record)
    return record, len(missing)


def _keep_known(out_dir: Path, settings: CorpusSettings, earlier: CorpusRecord | None) -> Mapping[str, str]:
    """Delete the earlier corpus's files that are of no use: of other settings, or with another hash than recorded.

    Returns:
        Relative path -> hash of those recorded files that stay.
    """
    if earlier is None:
        return {}
    same = earlier.settings == describe(settings)
    known = {name: digest for name, digest in earlier.files.items() if same and digest == hash_file(out_dir / name)}
    for name, digest in earlier.files.items():
        # A file without a recorded hash was renamed into place whole by a call that was interrupted later.
        if not same or (digest and name not in known):
            (out_dir / name).unlink(missing_ok=True)
    return known


def _render_all(
    out_dir: Path,
    settings: CorpusSettings,
    plans: Sequence[VideoPlan],
    *,
    workers: int,
    on_video: Callable[[int, int], None],
) -> None:
    """Render `plans` in `workers` threads; the first failure stops the rest."""
    if not plans:
        return
    binary = find_ffmpeg()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(_render_one, out_dir, settings, plan, binary) for plan in plans]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                on_video(done, len(plans))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _render_one(out_dir: Path, settings: CorpusSettings, plan: VideoPlan, binary: str) -> None:
    """Render one video and its transcript; both appear under their names whole or not at all."""
    rng = np.random.default_rng([settings.seed, 3, plan.position])
    tones = [(float(rng.choice(TONES_HZ)), scene.num_frames / settings.fps) for scene in plan.scenes]
    video, transcript = (out_dir / name for name in _files(plan))
    # The ffmpeg of a killed call may still be writing to its own file of that name.
    aside = out_dir / f".{video.name}.{os.getpid()}.part"
    encode_mp4(draw_video(plan, settings), settings.fps, tones, aside, binary)
    write_whole(transcript, write_vtt(narrate(plan, settings, rng)).encode())
    aside.replace(video)


def _files(plan: VideoPlan) -> tuple[str, str]:
    """Relative paths of a video and its transcript."""
    return f"{VIDEOS_DIR}/{plan.name}.mp4", f"{VIDEOS_DIR}/{plan.name}.vtt"


def _tables(plans: Sequence[VideoPlan], settings: CorpusSettings) -> Mapping[str, str]:
    """Relative path -> text of the small files beside the videos."""
    splits = [f"{plan.name}.mp4,{plan.split},{plan.pair}" for plan in plans]
    steps = [
        f"{plan.name}.mp4,{index},{step_name(scene.step)},"
        f"{scene.start_frame / settings.fps:g},{(scene.start_frame + scene.num_frames) / settings.fps:g}"
        for plan in plans
        for index, scene in enumerate(plan.scenes)
    ]
    examples = [plan for plan in plans if plan.split == "test"] or list(plans)
    shown = next((plan for plan in examples if plan.pair), examples[0])
    rng = np.random.default_rng([settings.seed, 4])
    paragraph = [say(step, rng) for step in shown.steps]
    return _place_lists(plans, settings) | {
        "splits.csv": "\n".join(["video,split,pair", *splits, ""]),
        "steps.csv": "\n".join(["video,index,step,start_s,end_s", *steps, ""]),
        "example_sentence.txt": say(shown.steps[0], rng) + "\n",
        "example_paragraph.txt": "\n".join([*paragraph, ""]),
    }


def _place_lists(plans: Sequence[VideoPlan], settings: CorpusSettings) -> dict[str, str]:
    """The names of the places, and a list `video label` a split, as action data sets have them; nothing without."""
    if not settings.num_places:
        return {}
    lists = {
        f"places_{split}.txt": "".join(f"{plan.name}.mp4 {plan.place}\n" for plan in plans if plan.split == split)
        for split in ("train", "val", "test")
    }
    return lists | {"places.txt": "".join(f"{name}\n" for name in PLACE_NAMES[: settings.num_places])}
