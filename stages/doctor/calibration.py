"""Measuring for half a minute: pieces of the corpus pass the real decode process, batches pass the networks."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from stages.doctor.records import FileState
from stages.doctor.usage import MemoryWatch, children_cpu_s, others_cpu_s
from stages.errors import SampleError
from stages.media.backbones import LoadedBackbone
from stages.media.batches import Bytes, read_batch
from stages.media.candidates import Candidates
from stages.media.consumers import Consumer
from stages.media.geometry import Rgb
from stages.media.isolation import IsolatedPool
from stages.media.messages import Message
from stages.media.process import IsolationSettings
from stages.media.sources import source_to_json

_DECODE_SHARE = 0.5
_MOST_SAMPLES = 16
_POINTS_A_FILE = 4  # a heavy file is hit by several
_SAMPLE_S = 1.0
_MOST_PICTURES = 48
_CROWDED = 20  # a thread that had less than a share like this waited for a card, not for a core
_SHORT_S = 0.2  # CPU times are counted in hundredths of seconds

Pictures = dict[str, list[Bytes]]
"""Some of those that each output gets, pixels or JPEGs, by label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOutput:
    """One output of extract.

    Attributes:
        label: such as `features.s3d`.
        consumer: which frames it wants.
        batch_size: clips that its network sees at once; 0 without a network.
        loaded: the network; None for pictures that leave the decode process as JPEGs.
    """

    label: str
    consumer: Consumer
    batch_size: int = 0
    loaded: LoadedBackbone | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSettings:
    """How to measure.

    Attributes:
        budget_s: seconds that measuring may take, beside opening the networks and a last batch.
        decoder: of extract.
        memory_mib: of a decode process.
        load_s: seconds that opening the networks took.
    """

    budget_s: float = 30.0
    decoder: str = "pyav"
    memory_mib: int = 4096
    load_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeSample:
    """A piece of a file that was decoded, scaled, perhaps encoded, and sent for all outputs.

    Attributes:
        file: which.
        video_s: length of the piece, seconds.
        busy_s: seconds that it takes on a machine of its own: the CPU time of its process, at most the clock's.
    """

    file: FileState
    video_s: float
    busy_s: float


@dataclass(slots=True, kw_only=True)
class Calibration:
    """What was measured.

    Attributes:
        samples: pieces that were decoded.
        batch_s: seconds of one batch in one thread, by label.
        picture_bytes: mean size of a JPEG, by label.
        start_s: seconds until the first decode process was ready and the networks were open.
        memory_bytes: of one worker at its peak.
        decoder_bytes: of one decode process at its peak.
        other_cores: cores that other programs took meanwhile.
        seconds: that all this took.
    """

    samples: list[DecodeSample] = field(default_factory=list)
    batch_s: dict[str, float] = field(default_factory=dict)
    picture_bytes: dict[str, float] = field(default_factory=dict)
    start_s: float = 0.0
    memory_bytes: int = 0
    decoder_bytes: int = 0
    other_cores: float = 0.0
    seconds: float = 0.0


def calibrate(
    candidates: Candidates, files: Sequence[FileState], outputs: Sequence[PlannedOutput], settings: CalibrationSettings
) -> Calibration:
    """Measure.

    Args:
        candidates: of which the files are.
        files: usable ones.
        outputs: all that extract makes in its pass.
        settings: how long, and with what.
    """
    begun, busy_before = time.monotonic(), others_cpu_s()
    found = Calibration(start_s=settings.load_s)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with MemoryWatch() as memory:
        with _networks_busy(outputs):
            pictures = _time_decoding(candidates, files, outputs, settings, found)
        until = begun + settings.budget_s
        for output in outputs:
            if output.loaded is not None:
                found.batch_s[output.label] = _time_batch(output, output.loaded, pictures.get(output.label, []), until)
            elif jpegs := pictures.get(output.label):
                found.picture_bytes[output.label] = float(np.mean([jpeg.nbytes for jpeg in jpegs]))
    torch.set_num_threads(threads)
    found.memory_bytes, found.decoder_bytes = memory.own_bytes, memory.children_bytes
    found.seconds = time.monotonic() - begun
    found.other_cores = max(others_cpu_s() - busy_before, 0.0) / found.seconds
    return found


def spread(files: Sequence[FileState], most: int) -> list[FileState]:
    """Choose files to decode pieces of: evenly over all the work there is, so that heavy files and kinds are in.

    Args:
        files: usable ones.
        most: how many.

    Returns:
        Different files, in an order whose every beginning is spread as well.
    """
    ordered = sorted(files, key=lambda file: (file.video_codec, file.width * file.height, file.path))
    ends = np.cumsum([work(file) for file in ordered])
    if not len(ends) or ends[-1] <= 0:
        return []
    points = [_reversed_bits(number) * ends[-1] for number in range(_POINTS_A_FILE * most)]
    chosen = [ordered[int(np.searchsorted(ends, point, side="right"))] for point in points]
    return list(dict.fromkeys(chosen))[:most]


def work(file: FileState) -> float:
    """How much there is to decode: packets times pixels."""
    return float(file.num_packets) * file.width * file.height


def _reversed_bits(number: int) -> float:
    """Van der Corput's sequence: 1/2, 1/4, 3/4, 1/8, ..."""
    value, step, number = 0.0, 0.5, number + 1
    while number:
        value, step, number = value + step * (number & 1), step / 2, number >> 1
    return value


def _time_decoding(
    candidates: Candidates,
    files: Sequence[FileState],
    outputs: Sequence[PlannedOutput],
    settings: CalibrationSettings,
    found: Calibration,
) -> Pictures:
    """Decode pieces; returns some pictures of each output."""
    isolation = IsolationSettings(deadline_s=max(settings.budget_s, 10.0), memory_mib=settings.memory_mib)
    until = time.monotonic() + _DECODE_SHARE * settings.budget_s
    pictures: Pictures = {}
    arguments = {"decoder": settings.decoder, "consumers": [output.consumer.to_json() for output in outputs]}
    starts: list[float] = []
    with IsolatedPool(isolation) as pool:
        for file in spread(files, _MOST_SAMPLES):
            if time.monotonic() >= until:
                break
            asked = {**arguments, "required": {}, **source_to_json(candidates.source(file.path))}
            try:
                sample, start_s = _time_piece(pool.stream("sample", asked), file, outputs, pictures)
            except SampleError:  # how it ends belongs to the full examination
                continue
            found.samples.append(sample)
            starts.append(max(start_s - file.scan_s, 0.0))
    found.start_s += max(starts, default=0.0)
    return pictures


def _time_piece(
    messages: Iterator[Message],
    file: FileState,
    outputs: Sequence[PlannedOutput],
    pictures: Pictures,
) -> tuple[DecodeSample, float]:
    """Time the messages of one file for a second or so; also gives the seconds until the first one."""
    asked = begun = time.monotonic()
    covered_s = cpu_before = 0.0
    for message in messages:
        header = message.header
        if header["kind"] == "plan":
            begun, cpu_before = time.monotonic(), children_cpu_s()
        elif header["kind"] == "batch":
            kept = pictures.setdefault(outputs[header["request"]].label, [])
            kept += [picture.copy() for picture in read_batch(message)[: _MOST_PICTURES - len(kept)]]
            message.let_go()
            covered_s = max(covered_s, header["times"][-1])
            if time.monotonic() - begun > _SAMPLE_S:
                break
        else:
            covered_s = file.end_s
    clock_s, cpu_s = time.monotonic() - begun, children_cpu_s() - cpu_before
    busy_s = min(clock_s, cpu_s) if clock_s > _SHORT_S else clock_s
    return DecodeSample(file=file, video_s=covered_s, busy_s=busy_s), begun - asked


@contextmanager
def _networks_busy(outputs: Sequence[PlannedOutput]) -> Iterator[None]:
    """Let a network compute meanwhile, as it does in extract: both share caches, cores and the interpreter's lock."""
    stopped = threading.Event()

    def compute() -> None:
        for output in outputs:
            if output.loaded is not None:
                batch = _batch(output, [])
                while not stopped.is_set():
                    output.loaded.encode(batch)

    thread = threading.Thread(target=compute, name="networks-busy", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _batch(output: PlannedOutput, pictures: Sequence[Rgb]) -> Rgb:
    """Noise of the shape that the network of an output gets: (B, F, H, W, 3) uint8."""
    geometry = output.consumer.geometry
    side = geometry.crop or geometry.short_side or 224
    shape = pictures[0].shape if pictures else (side, side, 3)
    size = (output.batch_size, output.consumer.frames_per_clip, *shape)
    return np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)


def _time_batch(output: PlannedOutput, loaded: LoadedBackbone, pictures: Sequence[Rgb], until: float) -> float:
    """Seconds of one batch: the first one warms up, and counts only if there is no time for another.

    It is the CPU time of this thread, so that other programs do not matter.
    """
    batch = _batch(output, pictures)
    taken = []
    for _ in range(4):
        begun, cpu_before = time.monotonic(), time.thread_time()
        loaded.encode(batch)
        clock_s, cpu_s = time.monotonic() - begun, time.thread_time() - cpu_before
        taken.append(cpu_s if cpu_s > clock_s / _CROWDED else clock_s)
        if time.monotonic() + clock_s > until:
            break
    return float(np.median(taken[1:] or taken))
