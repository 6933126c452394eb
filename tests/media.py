"""Small real video files whose frames carry their own number, made with ffmpeg-python and imageio-ffmpeg's program.

A picture of 16 x 2 blocks shows the bits of its frame's number: the upper row the number, the lower its complement.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ffmpeg
import imageio_ffmpeg
import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

NUM_BITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """How a file is made.

    Attributes:
        suffix: of the file: what container it is.
        options: of ffmpeg's output.
        num_frames: how many pictures.
        fps: of the input; times are `number / fps` unless `setpts` says otherwise.
        size: width and height.
        setpts: ffmpeg's expression for the presentation time (variable frame rate).
        sound: whether a sine goes with it.
        inputs: options of ffmpeg's input (`display_rotation`).
    """

    suffix: str = ".mp4"
    options: dict[str, Any] = field(default_factory=lambda: {"vcodec": "libx264", "g": 12, "bf": 2})
    num_frames: int = 50
    fps: int = 25
    size: tuple[int, int] = (128, 96)
    setpts: str | None = None
    sound: bool = False
    noise: int = 0


def picture(number: int, size: tuple[int, int], noise: int = 0) -> NDArray[np.uint8]:
    """Draw a frame: (H, W, 3) uint8."""
    bits = np.array([(number >> k) & 1 for k in range(NUM_BITS)])
    cells = np.stack([bits, 1 - bits]) * 200 + 27
    rows = np.arange(size[1]) * 2 // size[1]
    columns = np.arange(size[0]) * NUM_BITS // size[0]
    grey = cells[rows][:, columns].astype(np.int16)
    if noise:
        grey = grey + np.random.default_rng(number).integers(-noise, noise + 1, grey.shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def read_number(rgb: NDArray[np.uint8]) -> int:
    """Read the number that a picture shows; -1 if rows and complement disagree."""
    grey = rgb.astype(np.int64).mean(axis=2)
    height, width = grey.shape
    centres = ((np.arange(NUM_BITS) + 0.5) * width / NUM_BITS).astype(int)
    upper, lower = grey[height // 4, centres] > 127, grey[3 * height // 4, centres] > 127
    if np.any(upper == lower):
        return -1
    return int(sum(1 << k for k in range(NUM_BITS) if upper[k]))


def run_ffmpeg(output: Any, stdin: bytes | None = None) -> None:
    """Run a command that ffmpeg-python built."""
    ffmpeg.run(
        output.global_args("-nostdin") if stdin is None else output,
        cmd=imageio_ffmpeg.get_ffmpeg_exe(), input=stdin, quiet=True, overwrite_output=True,
    )  # fmt: skip


def make_video(path: Path, kind: Numbered | None = None) -> Path:
    """Encode a file of numbered pictures at `path` (its suffix is replaced by the kind's)."""
    kind = kind or Numbered()
    path = path.with_suffix(kind.suffix)
    width, height = kind.size
    raw = b"".join(picture(k, kind.size, kind.noise).tobytes() for k in range(kind.num_frames))
    video = ffmpeg.input("pipe:0", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", r=kind.fps)
    if kind.setpts:
        video = video.filter("setpts", kind.setpts)
    streams: Sequence[Any] = [video]
    if kind.sound:
        duration = kind.num_frames / kind.fps
        streams = [video, ffmpeg.input(f"sine=frequency=440:duration={duration}", format="lavfi")]
    options = {"pix_fmt": "yuv420p", "threads": 1, "fps_mode": "passthrough", "fflags": "+bitexact", **kind.options}
    run_ffmpeg(ffmpeg.output(*streams, str(path), **options), raw)
    return path


def make_pictures(folder: Path, count: int, *, name: str = "frame_{:05d}.png", first: int = 1, noise: int = 0) -> Path:
    """Draw a folder of numbered pictures; picture k shows k, counted from 0."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(picture(number, (128, 96), noise)).save(folder / name.format(first + number), quality=95)
    return folder


def remux(source: Path, target: Path, inputs: dict[str, Any] | None = None, **options: Any) -> Path:
    """Copy the streams of a file into another container, unchanged but for the options."""
    run_ffmpeg(ffmpeg.output(ffmpeg.input(str(source), **(inputs or {})), str(target), c="copy", **options))
    return target


def make_sound(path: Path) -> Path:
    """Make a file that holds sound alone."""
    run_ffmpeg(ffmpeg.output(ffmpeg.input("sine=frequency=440:duration=1", format="lavfi"), str(path), acodec="aac"))
    return path


def decode_processes() -> list[psutil.Process]:
    """Our children that decode; one that has ended, but was not waited for, is none."""
    children = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in children if "stages.media.worker" in child.cmdline()]
