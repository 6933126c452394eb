"""Frames -> an mp4 file with H.264 pictures and AAC sound, bit-exact; the only module that starts ffmpeg."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from stages.errors import ConfigError, FabulaError

SAMPLE_RATE = 16_000
DEADLINE_S = 120.0
LAST_WORDS = 800

# One thread and no version strings or dates: the same frames give the same bytes.
OUTPUT_OPTIONS = {
    "format": "mp4",
    "vcodec": "libx264",
    "preset": "ultrafast",
    "crf": 22,
    "pix_fmt": "yuv420p",
    "acodec": "aac",
    "audio_bitrate": "32k",
    "ar": SAMPLE_RATE,
    "threads": 1,
    "fflags": "+bitexact",
    "flags:v": "+bitexact",
    "flags:a": "+bitexact",
    "map_metadata": -1,
}
GLOBAL_OPTIONS = ("-hide_banner", "-loglevel", "error", "-nostdin", "-filter_complex_threads", "1")


def find_ffmpeg() -> str:
    """Path of the ffmpeg binary that imageio-ffmpeg brings.

    Raises:
        ConfigError: there is none for this platform.
    """
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise ConfigError(f"no ffmpeg binary for this platform: {error}; set IMAGEIO_FFMPEG_EXE to one") from error


def encode_mp4(
    frames: NDArray[np.uint8], fps: int, tones: Sequence[tuple[float, float]], target: Path, binary: str
) -> None:
    """Encode one video.

    Args:
        frames: uint8 (T, H, W, 3) RGB; H and W even.
        fps: constant frame rate.
        tones: (frequency in Hz, length in seconds) of the sine tones that follow each other.
        target: file to write; it must not be read before this returns.
        binary: `find_ffmpeg()`.

    Raises:
        FabulaError: ffmpeg failed or took longer than DEADLINE_S.
    """
    height, width = frames.shape[1:3]
    picture = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=fps)
    sines = [
        ffmpeg.input(f"sine=frequency={hertz:g}:sample_rate={SAMPLE_RATE}:duration={length_s:g}", format="lavfi").audio
        for hertz, length_s in tones
    ]
    sound = ffmpeg.concat(*sines, v=0, a=1)
    stream = ffmpeg.output(picture.video, sound, str(target), **OUTPUT_OPTIONS)
    command = stream.global_args(*GLOBAL_OPTIONS).overwrite_output().compile(cmd=binary)
    try:
        subprocess.run(command, input=frames.tobytes(), capture_output=True, check=True, timeout=DEADLINE_S)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace")[-LAST_WORDS:].strip()
        raise FabulaError(
            f"ffmpeg could not write {target}: exit status {error.returncode}, it said: {said}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise FabulaError(f"ffmpeg took longer than {DEADLINE_S:g} s to write {target}: run it again") from error
