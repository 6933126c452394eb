"""From what was measured to what a whole corpus will take: arithmetic, nothing is opened."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.doctor.calibration import Calibration, DecodeSample, PlannedOutput, work
from stages.doctor.records import FileState, Forecast
from stages.media.consumers import Clock
from stages.media.ring import RING_BYTES

_TAR_BLOCK, _TAR_END, _NPY_HEADER, _JSON_BYTES, _RECORD_BYTES = 512, 10_240, 128, 450, 70


@dataclass(frozen=True, slots=True, kw_only=True)
class RunShape:
    """How units will run.

    Attributes:
        videos_per_shard: of extract.
        num_workers: units at once, as far as there are units.
        num_cores: of the machine.
        threads: batches, and videos, that a worker has in hand at once.
    """

    videos_per_shard: int
    num_workers: int
    num_cores: int
    threads: int


def forecast(
    files: Sequence[FileState], outputs: Sequence[PlannedOutput], measured: Calibration, shape: RunShape
) -> Forecast:
    """Predict time, disk and memory of extracting these files.

    Time: a unit's files pass decode processes and then the networks, each as long as measured, as many of both at once
    as a worker has threads; units go to the next free worker; all together take no less than their CPU seconds divided
    by the cores.

    Args:
        files: usable ones, in path order, with `end_s` and `num_packets`.
        outputs: what is made of them.
        measured: on this machine.
        shape: how units will run.
    """
    decode = decode_seconds(files, measured.samples)
    model = {output.label: [_model_seconds(file, output, measured) for file in files] for output in outputs}
    together = [sum(label[k] for label in model.values()) for k in range(len(files))]
    starts = range(0, len(files), shape.videos_per_shard)
    units = [(decode[k : k + shape.videos_per_shard], together[k : k + shape.videos_per_shard]) for k in starts]
    num_workers = max(min(shape.num_workers, len(units)), 1)
    scheduled = _schedule([_unit_seconds(*unit) / shape.threads for unit in units], num_workers)
    cpu_s = sum(decode) + sum(together)
    free_cores = max(shape.num_cores - measured.other_cores, shape.num_cores / 2)
    return Forecast(
        num_videos=len(files),
        video_s=sum(file.end_s for file in files),
        wall_s=measured.start_s + max(scheduled, cpu_s / free_cores),
        decode_cpu_s=sum(decode),
        model_s={label: sum(seconds) for label, seconds in model.items()},
        start_s=measured.start_s,
        disk_bytes={output.label: _disk_bytes(files, output, measured, len(units)) for output in outputs},
        memory_bytes=num_workers * (measured.memory_bytes + shape.threads * (measured.decoder_bytes + RING_BYTES)),
        num_workers=num_workers,
        num_sampled=len(measured.samples),
        other_cores=measured.other_cores,
        calibration_s=measured.seconds,
    )


def decode_seconds(files: Sequence[FileState], samples: Sequence[DecodeSample]) -> list[float]:
    """Seconds that decoding each file will take: reading its packets, and its work at the rate of its like.

    A file that was sampled has its own rate, another one the mean rate of the samples of its codec, or of all.
    """
    own = {sample.file.path: sample for sample in samples if sample.video_s > 0}
    seconds = []
    for file in files:
        like = [sample for sample in own.values() if sample.file.video_codec == file.video_codec] or list(own.values())
        chosen = [own[file.path]] if file.path in own else like
        seconds.append(file.scan_s + work(file) * _rate(chosen))
    return seconds


def _rate(samples: Sequence[DecodeSample]) -> float:
    """Seconds a unit of work, over all the work that the samples did."""
    done = sum(work(s.file) * min(s.video_s / s.file.end_s, 1.0) for s in samples if s.file.end_s > 0)
    return sum(sample.busy_s for sample in samples) / done if done else 0.0


def _model_seconds(file: FileState, output: PlannedOutput, measured: Calibration) -> float:
    if not output.batch_size:
        return 0.0
    return _num_rows(file, output) / output.batch_size * measured.batch_s.get(output.label, 0.0)


def _num_rows(file: FileState, output: PlannedOutput) -> int:
    """Rows or pictures of a file, its keyframes taken to lie evenly."""
    keyframes_s = np.linspace(0.0, file.end_s, file.num_keyframes, endpoint=False)
    return len(output.consumer.plan(Clock(end_s=file.end_s, keyframes_s=keyframes_s)).spans)


def _unit_seconds(decode: Sequence[float], model: Sequence[float]) -> float:
    """Two stations in a row, the second beginning a file while the first is still at it."""
    decoded = done = 0.0
    for decode_s, model_s in zip(decode, model, strict=True):
        decoded += decode_s
        done = max(done + model_s, decoded)
    return done


def _schedule(units: Sequence[float], num_workers: int) -> float:
    """When the last of some units ends, each begun by the first worker that is free."""
    free = [0.0] * num_workers
    for seconds in units:
        first = min(range(num_workers), key=lambda worker: free[worker])
        free[first] += seconds
    return max(free)


def _disk_bytes(files: Sequence[FileState], output: PlannedOutput, measured: Calibration, num_units: int) -> int:
    total = num_units * _TAR_END
    for file in files:
        num_rows = _num_rows(file, output)
        total += sum(_tar_bytes(size) for size in _member_sizes(num_rows, output, measured))
    return total


def _member_sizes(num_rows: int, output: PlannedOutput, measured: Calibration) -> list[int]:
    """Bytes of the members of one video's sample."""
    if output.loaded is None:
        return [_JSON_BYTES] + [int(measured.picture_bytes.get(output.label, 0.0))] * num_rows
    row_bytes: Mapping[str, int] = {"features": 2 * output.loaded.dim, "spans": 16, "damaged": 1}
    return [_JSON_BYTES, *(_NPY_HEADER + num_rows * size for size in row_bytes.values())]


def _tar_bytes(size: int) -> int:
    """A member in its tar, and its line in the commit record."""
    return _TAR_BLOCK + math.ceil(size / _TAR_BLOCK) * _TAR_BLOCK + _RECORD_BYTES
