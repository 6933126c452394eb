"""The baseline of extraction: features the way that a first script makes them, one thing after the other.

Run with::

    python -m tests.benchmarks.straightforward FILE ...

An ffmpeg pipe at the preset's rate, then S3D-G in float32, eager, four clips at once, on all cores.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch
from numpy.typing import NDArray

from models.backbones.s3d import S3D, random_s3d
from stages.media.presets import CLIP_PRESETS, ClipPreset

BATCH_SIZE = 4


def extract(paths: Sequence[Path], preset: ClipPreset, model: S3D | None = None) -> int:
    """Compute the features of all files and forget them; the number of clips."""
    model = model or random_s3d(0)
    num_clips = 0
    for path in paths:
        clips = torch.from_numpy(pipe_clips(path, preset))
        with torch.inference_mode():
            for batch in clips.split(BATCH_SIZE):
                num_clips += len(model(batch.movedim(-1, 1).float() / 255).video_embedding)
    return num_clips


def pipe_clips(path: Path, preset: ClipPreset) -> NDArray[np.uint8]:
    """Decode a whole video through a pipe: (N, F, H, W, 3); the last frame fills the last clip."""
    side = preset.crop
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", str(path)]
    command += ["-vf", filters(preset, f"crop={side}:{side},"), "-f", "rawvideo", "-"]
    raw = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    frames = np.frombuffer(raw, np.uint8).reshape(-1, side, side, 3)
    missing = -len(frames) % preset.frames_per_clip
    frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    return frames.reshape(-1, preset.frames_per_clip, side, side, 3)


def filters(preset: ClipPreset, crop: str = "") -> str:
    """What ffmpeg is asked to do with every picture."""
    side = preset.short_side
    return f"fps={preset.fps:g},scale='if(gt(iw,ih),-2,{side})':'if(gt(iw,ih),{side},-2)',{crop}format=rgb24"


if __name__ == "__main__":
    begun = time.perf_counter()
    count = extract([Path(name) for name in sys.argv[1:]], CLIP_PRESETS["videoclip"])
    print(f"{count} clips in {time.perf_counter() - begun:.2f} s")
