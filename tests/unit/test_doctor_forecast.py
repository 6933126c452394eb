"""The forecast's arithmetic on numbers that can be checked by hand, and the choice of what is measured."""

import subprocess
import sys
import time

import numpy as np
import pytest

from stages.doctor.calibration import Calibration, DecodeSample, PlannedOutput, spread, work
from stages.doctor.forecast import RunShape, decode_seconds, forecast
from stages.doctor.records import FileState, seconds_text
from stages.doctor.usage import MemoryWatch, children_cpu_s, others_cpu_s
from stages.media.backbones import LoadedBackbone
from stages.media.consumers import clip_consumer, window_consumer
from stages.media.geometry import Geometry
from stages.media.presets import CLIP_PRESETS
from stages.media.ring import RING_BYTES

S3D = PlannedOutput(
    label="features.s3d",
    consumer=clip_consumer(CLIP_PRESETS["demo"], "keep"),
    batch_size=4,
    loaded=LoadedBackbone(encode=lambda clips: np.zeros((len(clips), 8), np.float32), geometry=Geometry(), dim=8),
)
THUMBNAILS = PlannedOutput(label="thumbnails", consumer=window_consumer(8, 4))


def file(path: str, *, end_s: float = 80.0, codec: str = "h264", side: int = 100) -> FileState:
    return FileState(
        path=path, state="unchecked", end_s=end_s, video_codec=codec, width=side, height=side,
        num_packets=int(end_s * 25), scan_s=0.5,
    )  # fmt: skip


def shape(**changes: int) -> RunShape:
    return RunShape(**{"videos_per_shard": 1, "num_workers": 1, "num_cores": 4, "threads": 1, **changes})


def measured(*samples: DecodeSample, batch_s: float = 0.1) -> Calibration:
    return Calibration(
        samples=list(samples), batch_s={"features.s3d": batch_s}, picture_bytes={"thumbnails": 4000}, start_s=2,
        memory_bytes=1000, decoder_bytes=500,
    )  # fmt: skip


def test_decoding_takes_its_work_at_the_rate_of_its_like() -> None:
    a, b, c, d = file("a"), file("b", side=200), file("c", codec="av1"), file("d", codec="vp9")
    samples = [
        DecodeSample(file=a, video_s=8.0, busy_s=1.0),
        DecodeSample(file=c, video_s=4.0, busy_s=1.0),
    ]
    assert decode_seconds([a, b, c, d], samples) == pytest.approx([10.5, 40.5, 20.5, 0.5 + 80 * 2 / 12])


def test_one_worker_is_as_slow_as_the_slower_station() -> None:
    files = [file("a"), file("b")]
    sample = DecodeSample(file=files[0], video_s=80.0, busy_s=9.5)
    found = forecast(files, [S3D], measured(sample, batch_s=0.1), shape())
    assert found.decode_cpu_s == pytest.approx(20)
    assert found.model_s == {"features.s3d": pytest.approx(2.0)}  # 40 rows each, 10 batches
    assert found.wall_s == pytest.approx(2 + 20)
    slow = forecast(files, [S3D], measured(sample, batch_s=2.0), shape())
    assert slow.wall_s == pytest.approx(2 + 40)
    few = forecast(files, [S3D], measured(sample, batch_s=2.0), shape(num_cores=1))
    assert few.wall_s == pytest.approx(2 + 60)


def test_workers_share_units_but_not_cores() -> None:
    files = [file(f"v{k}") for k in range(6)]
    sample = DecodeSample(file=files[0], video_s=80.0, busy_s=9.5)
    assert forecast(files, [S3D], measured(sample), shape(num_workers=3, num_cores=16)).wall_s == pytest.approx(22)
    crowded = forecast(files, [S3D], measured(sample), shape(num_workers=3, num_cores=2))
    assert crowded.wall_s == pytest.approx(2 + 66 / 2)
    shared = measured(sample)
    shared.other_cores = 5.0
    assert forecast(files, [S3D], shared, shape(num_workers=3, num_cores=4)).wall_s == pytest.approx(2 + 66 / 2)
    together = forecast(files, [S3D], measured(sample), shape(num_workers=3, videos_per_shard=6))
    assert together.num_workers == 1
    assert together.memory_bytes == 1000 + 500 + RING_BYTES
    two = forecast(files, [S3D], measured(sample), shape(num_workers=3, videos_per_shard=6, threads=2))
    assert two.memory_bytes == 1000 + 2 * (500 + RING_BYTES)
    assert two.wall_s - 2 == pytest.approx((together.wall_s - 2) / 2)


def test_disk() -> None:
    found = forecast([file("a")], [S3D, THUMBNAILS], measured(), shape()).disk_bytes
    assert found["features.s3d"] == 10_240 + 4 * (512 + 70) + 512 + 1024 + 1024 + 512
    assert found["thumbnails"] == 10_240 + (512 + 70 + 512) + 20 * (512 + 70 + 4096)


def test_samples_are_spread_over_the_work() -> None:
    heavy = file("heavy", end_s=8000)
    light = [file(f"light{k}") for k in range(10)]
    assert spread([*light, heavy], 2)[0] == heavy
    rare = file("rare", codec="av1", end_s=4000)
    assert set(spread([*light, heavy, rare], 2)) == {heavy, rare}
    assert len(spread(light, 16)) == 10
    assert spread([], 4) == []
    assert work(light[0]) == 80 * 25 * 100 * 100


def test_memory_is_watched() -> None:
    with MemoryWatch() as watch:
        kept = np.ones(200 << 20, np.uint8)
        time.sleep(0.5)
    assert watch.own_bytes > kept.nbytes


def test_cpu_time_of_others_is_counted() -> None:
    before, children = others_cpu_s(), children_cpu_s()
    # The kernel counts in ticks of 10 ms, which fall short of what the child's own clock says: it burns some more.
    busy = "import time\nwhile time.process_time() < 0.7: pass\ninput()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE) as child:
        until = time.monotonic() + 30
        while children_cpu_s() - children < 0.5 and time.monotonic() < until:
            time.sleep(0.05)
        assert children_cpu_s() - children >= 0.5
        child.communicate(b"\n")
    assert others_cpu_s() >= before - 0.5


@pytest.mark.parametrize(("seconds", "text"), [(1.25, "1.2 s"), (600, "10 min"), (36_000, "10.0 h")])
def test_durations_as_people_say_them(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text
