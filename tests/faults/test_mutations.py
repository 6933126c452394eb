"""A thousand mutations of real videos: each ends in a named state in time, and what is not masked is mostly unchanged.

Clips are those of the demo preset. A clip counts as changed if a pixel of a frame of it differs from the undamaged
file's clip over the same span, and as lost if it is not there. VP8 has nothing in its bits by which a decoder could
notice a change (libvpx notices none either): its clips are counted apart.
"""

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import xxhash

from stages.errors import DeadlineExceeded, SampleError
from stages.media.batches import read_batch
from stages.media.consumers import Clock, clip_consumer
from stages.media.isolation import IsolatedPool
from stages.media.presets import CLIP_PRESETS
from stages.media.probe import probe_video
from stages.media.process import IsolationSettings
from tests.mutations import KINDS, mutate, noise_in_the_middle

CONSUMER = clip_consumer(CLIP_PRESETS["demo"], "keep")
DEADLINE_S = 60.0
UNNOTICED = "vp8"


@dataclass(frozen=True)
class Clips:
    """What a pass over a file gave.

    Attributes:
        pictures: a hash of the pixels by the time at which they were looked up.
        rows: for each clip the times of its frames.
        damaged: for each clip whether it is masked.
    """

    pictures: Mapping[float, str]
    rows: Sequence[Sequence[float]]
    damaged: Sequence[bool]

    def is_intact(self, row: int, whole: "Clips") -> bool:
        """Whether all frames of a clip are those of the undamaged file at the same times.

        A look-up that only the end of the file moved (just before it) repeats the frame before it, and is passed over.
        """
        return all(self.pictures.get(time) == whole.pictures[time] for time in self.rows[row] if time in whole.pictures)


def decode(pool: IsolatedPool, path: Path) -> Clips:
    arguments = {"path": str(path), "decoder": "pyav", "consumers": [CONSUMER.to_json()], "required": {}}
    hashes: list[str] = []
    flags: list[bool] = []
    for message in pool.stream("sample", arguments):
        if message.header["kind"] == "plan":
            plan = CONSUMER.plan(Clock.from_json(message.header))
        elif message.header["kind"] == "batch":
            hashes += [xxhash.xxh3_64_hexdigest(picture.tobytes()) for picture in read_batch(message)]
            flags += message.header["damaged"]
            message.let_go()
    rows = [row for row in plan.table.tolist() if row[0] < len(hashes)]
    times = plan.times.tolist()
    return Clips(
        pictures=dict(zip(times, hashes, strict=False)),
        rows=[[times[k] for k in row] for row in rows],
        damaged=[any(flags[k] for k in row if k < len(flags)) or row[-1] >= len(flags) for row in rows],
    )


class Tally:
    """Counts over mutated files."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.clips: dict[str, Counter[str]] = {}
        self.slowest_s = 0.0

    def add(self, groups: tuple[str, ...], whole: Clips, found: Clips) -> None:
        for group in groups:
            counts = self.clips.setdefault(group, Counter())
            counts["lost"] += max(len(whole.rows) - len(found.rows), 0)
            for row, damaged in enumerate(found.damaged):
                state = "intact" if found.is_intact(row, whole) else "changed"
                counts[f"{state} masked" if damaged else state] += 1

    def kept(self, group: str) -> float:
        """Share of the intact clips that are not masked."""
        counts = self.clips[group]
        return counts["intact"] / max(counts["intact"] + counts["intact masked"], 1)

    def unmasked(self, group: str) -> float:
        """Share of the changed clips that are not masked."""
        counts = self.clips[group]
        return counts["changed"] / max(counts["changed"] + counts["changed masked"], 1)

    def print(self) -> None:
        lines = [f"states {dict(self.states)}, slowest {self.slowest_s:.1f} s"]
        for group, counts in sorted(self.clips.items()):
            intact, changed = (counts[state] + counts[f"{state} masked"] for state in ("intact", "changed"))
            lines.append(
                f"{group:>10}: {intact} intact clips, {self.kept(group):.1%} kept; {changed} changed ones, "
                f"{counts['changed']} = {self.unmasked(group):.1%} not masked; {counts['lost']} lost"
            )
        sys.stdout.write("\n" + "\n".join(lines) + "\n")


def real_files(shared_dir: Path) -> dict[Path, str]:
    """Short real videos and their codecs."""
    found = {}
    for path in sorted((shared_dir / "data" / "videos").glob("*/*")):
        info = probe_video(path)
        if 2.0 <= info.duration_s <= 20.0 and info.width * info.height <= 640 * 480:
            found[path] = info.video_codec
    return found


def run_mutations(files: Mapping[Path, str], folder: Path, seeds: range, damage: str = "any") -> Tally:
    """Damage files one after the other and decode them, two at a time."""
    tally = Tally()
    paths = sorted(files)
    settings = IsolationSettings(deadline_s=DEADLINE_S, memory_mib=2048)

    with ThreadPoolExecutor(2) as threads, IsolatedPool(settings) as pool:
        whole = dict(zip(paths, threads.map(lambda path: decode(pool, path), paths), strict=True))

        def one(seed: int) -> tuple[Path, str, Clips | SampleError, float]:
            path = paths[seed % len(paths)]
            content = path.read_bytes()
            kind, data = ("noise", noise_in_the_middle(content, seed)) if damage == "noise" else mutate(content, seed)
            broken = folder / f"m{seed:04d}{path.suffix}"
            broken.write_bytes(data)
            begun = time.monotonic()
            try:
                return path, kind, decode(pool, broken), time.monotonic() - begun
            except SampleError as error:
                return path, kind, error, time.monotonic() - begun
            finally:
                broken.unlink()

        for path, kind, found, taken_s in threads.map(one, seeds):
            tally.slowest_s = max(tally.slowest_s, taken_s)
            if isinstance(found, SampleError):
                assert not isinstance(found, DeadlineExceeded), found
                tally.states[found.cause] += 1
            else:
                tally.states["partial" if any(found.damaged) else "ok"] += 1
                group = files[path]
                tally.add((group, kind) if group != UNNOTICED else (group,), whole[path], found)
        # Nothing that happened has changed what healthy files give.
        assert all(decode(pool, path) == whole[path] for path in paths[:5])
    assert not any(any(clips.damaged) for clips in whole.values()), "an undamaged file has no masked clip"
    return tally


def check(tally: Tally, num_files: int) -> None:
    tally.print()
    assert sum(tally.states.values()) == num_files
    assert tally.slowest_s < 2 * DEADLINE_S
    assert tally.states["decoder_crashed"] == 0
    assert tally.kept("noise") >= 0.9
    for kind in set(tally.clips) & set(KINDS):
        assert tally.unmasked(kind) <= 0.25, kind
    assert not [child for child in psutil.Process().children() if "stages.media.worker" in child.cmdline()]


@pytest.mark.shared
def test_some_mutations(shared_dir: Path, tmp_path: Path) -> None:
    files = dict(list(real_files(shared_dir).items())[::6])
    check(run_mutations(files, tmp_path, range(40)), 40)


@pytest.mark.shared
@pytest.mark.long
def test_noise_in_the_middle_keeps_intact_clips(shared_dir: Path, tmp_path: Path) -> None:
    check(run_mutations(real_files(shared_dir), tmp_path, range(200), damage="noise"), 200)


@pytest.mark.shared
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_thousand_mutations(shared_dir: Path, tmp_path: Path) -> None:
    check(run_mutations(real_files(shared_dir), tmp_path, range(1000)), 1000)
