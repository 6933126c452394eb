"""What the doctor says: of each file, of the machine, and of what extracting will cost."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["ok", "partial", "failed", "quarantined", "unchecked"]
Verdict = Literal["ok", "warning", "problem"]

TRUNCATED = "truncated"
"""Cause of a file that ends before its header says."""

_MARKS: Mapping[str, str] = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """One candidate for a video.

    Attributes:
        path: relative to the media folder.
        state: `ok` and `partial` (usable, some of it is masked) are known after a full decode; `partial` also if the
            file is cut, which its packets show; `failed` and `quarantined` as extract says it; `unchecked`: it can be
            opened, and nobody has decoded it.
        cause: machine-readable reason for `failed`, `quarantined` and `partial`; '' otherwise.
        message: what, where, got, expected, what to do; '' if there is nothing to say.
        size_bytes: of the file.
        end_s: end of its last frame, seconds; 0 if unknown, as are the following.
        video_codec: such as `h264`.
        width: pixels.
        height: pixels.
        num_packets: of its video stream.
        num_keyframes: among them.
        scan_s: seconds that reading all its packets took.
    """

    path: str
    state: State
    cause: str = ""
    message: str = ""
    size_bytes: int = 0
    end_s: float = 0.0
    video_codec: str = ""
    width: int = 0
    height: int = 0
    num_packets: int = 0
    num_keyframes: int = 0
    scan_s: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether extract can take it, for all that is known."""
        return self.state not in ("failed", "quarantined")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at on this machine.

    Attributes:
        name: of a library, program, weights file or device.
        verdict: `problem`: extracting will fail; `warning`: it will be slower or lack something.
        found: version, path, checksum.
        advice: what to do; '' if nothing.
    """

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What extracting the usable files will cost on this machine with these settings.

    Attributes:
        num_videos: usable files.
        video_s: their length together, seconds.
        wall_s: of the stage.
        decode_cpu_s: CPU seconds of the decode processes.
        model_s: seconds that the networks are busy, by label.
        start_s: of the first worker: its networks and its decode process.
        disk_bytes: that the artifacts will take, by label.
        memory_bytes: peak of all processes together.
        num_workers: units that run at once.
        num_sampled: files of which a piece was decoded.
        other_cores: cores that other programs took while this was measured; it is assumed that they go on.
        calibration_s: how long measuring took.
    """

    num_videos: int
    video_s: float
    wall_s: float
    decode_cpu_s: float
    model_s: Mapping[str, float]
    start_s: float
    disk_bytes: Mapping[str, int]
    memory_bytes: int
    num_workers: int
    num_sampled: int
    other_cores: float
    calibration_s: float

    def lines(self) -> list[str]:
        """For people."""
        model = ", ".join(f"{label} {seconds_text(busy)}" for label, busy in self.model_s.items())
        disk = ", ".join(f"{label} {size / 2**20:.1f} MiB" for label, size in self.disk_bytes.items())
        return [
            f"forecast for {self.num_videos} videos, {seconds_text(self.video_s)} long (from {self.num_sampled} "
            f"decoded samples, {self.calibration_s:.0f} s of measuring):",
            f"  time   {seconds_text(self.wall_s)} with {self.num_workers} workers, while other programs take "
            f"{self.other_cores:.1f} cores: decoding "
            f"{seconds_text(self.decode_cpu_s)} of CPU, networks busy {model or 'not at all'}",
            f"  disk   {sum(self.disk_bytes.values()) / 2**20:.1f} MiB: {disk}",
            f"  memory {self.memory_bytes / 2**30:.2f} GiB at the peak",
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All that the doctor found.

    Attributes:
        full: whether every file was decoded.
        files: in path order.
        checks: of the machine.
        forecast: None if nothing is usable, the networks cannot be opened, or none was wanted.
    """

    full: bool
    files: tuple[FileState, ...]
    checks: tuple[Check, ...] = ()
    forecast: Forecast | None = None
    counts: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", dict(sorted(Counter(file.state for file in self.files).items())))

    @property
    def has_problem(self) -> bool:
        """Whether something on this machine would make extracting fail."""
        return any(check.verdict == "problem" for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people: the machine, every file that is not whole, the sum, the forecast."""
        lines = []
        for check in self.checks:
            lines.append(f"{_MARKS[check.verdict]} {check.name}: {check.found}")
            if check.advice:
                lines.append(f"        {check.advice}")
        for file in self.files:
            if file.cause:
                lines.append(f"{file.state} ({file.cause}): {file.message}")
        counts = ", ".join(f"{number} {state}" for state, number in self.counts.items())
        lines.append(f"{len(self.files)} files: {counts or 'none'}")
        if "unchecked" in self.counts:
            lines.append("unchecked: can be opened; what lies behind the first frame shows --full, which decodes all")
        return lines + (self.forecast.lines() if self.forecast else [])


def seconds_text(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
