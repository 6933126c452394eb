"""A small action data set: real encoded videos in which an action of known class and time stands out of a dull picture.

Laid out as UCF101 is (`Class/v_Class_g01_c01.avi`), with the lists of UCF101, of few-shot work, and of ActivityNet.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from tests.media import run_ffmpeg

CLASSES = ("Blue", "Green", "Orange", "Pink", "White")
COLOURS = ((30, 60, 220), (30, 200, 60), (240, 140, 20), (240, 60, 200), (240, 240, 240))
SIDE, FPS, NUM_FRAMES = 64, 8, 32


@dataclass(frozen=True)
class ActionVideo:
    """One video: which class, and from when to when it is seen."""

    split: str
    label: int
    number: int

    @property
    def name(self) -> str:
        group = 1 + self.number + (0 if self.split == "train" else 50)
        return f"v_{CLASSES[self.label]}_g{group:02d}_c01"

    @property
    def path(self) -> str:
        return f"{CLASSES[self.label]}/{self.name}.avi"

    @property
    def action(self) -> tuple[int, int]:
        """First frame of the action, and the frame after its last."""
        start = 2 + 3 * (self.number % 4)
        return start, start + 12 + 2 * (self.number % 3)

    def pictures(self) -> Iterator[NDArray[np.uint8]]:
        """Grey noise; while the action lasts, a square of the class's colour that moves."""
        rng = np.random.default_rng([self.label, self.number, self.split == "train"])
        left, top = rng.integers(2, 20, 2)
        for frame in range(NUM_FRAMES):
            picture = np.repeat(rng.integers(90, 130, (SIDE, SIDE, 1)), 3, axis=2).astype(np.uint8)
            first, end = self.action
            if first <= frame < end:
                shift = frame - first
                picture[top : top + 36, left + shift // 2 : left + shift // 2 + 36] = COLOURS[self.label]
            yield picture


def encode(video: ActionVideo, folder: Path) -> None:
    """Write the file below `folder`."""
    path = folder / video.path
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = b"".join(picture.tobytes() for picture in video.pictures())
    stream = ffmpeg.input("pipe:0", format="rawvideo", pix_fmt="rgb24", s=f"{SIDE}x{SIDE}", r=FPS)
    options = {"vcodec": "mpeg4", "qscale:v": 3, "pix_fmt": "yuv420p", "threads": 1, "fflags": "+bitexact"}
    run_ffmpeg(ffmpeg.output(stream, str(path), **options), raw)


@dataclass(frozen=True)
class ActionSet:
    """The folder of videos and annotation files."""

    root: Path
    num_train: int = 3
    num_test: int = 3

    @property
    def media(self) -> Path:
        return self.root / "media"

    @property
    def videos(self) -> list[ActionVideo]:
        sizes = {"train": self.num_train, "test": self.num_test}
        return [
            ActionVideo(split, label, number)
            for split, count in sizes.items()
            for label in range(len(CLASSES))
            for number in range(count)
        ]

    def make(self) -> "ActionSet":
        """Encode all videos and write all lists."""
        for video in self.videos:
            encode(video, self.media)
        lists = self.root / "lists"
        lists.mkdir()
        classes = "".join(f"{number} {name}\n" for number, name in enumerate(CLASSES, start=1))
        (lists / "classInd.txt").write_text(classes)
        for split in ("train", "test"):
            chosen = [video for video in self.videos if video.split == split]
            label = (lambda video: f" {video.label + 1}") if split == "train" else (lambda video: "")
            (lists / f"{split}list01.txt").write_text("".join(f"{v.path}{label(v)}\n" for v in chosen))
            (lists / f"fewshot_{split}.txt").write_text("".join(f"{v.path}\n" for v in chosen))
        (lists / "activity_net.json").write_text(json.dumps({"database": dict(map(self._entry, self.videos))}))
        return self

    def _entry(self, video: ActionVideo) -> tuple[str, dict[str, object]]:
        segment = [edge / FPS for edge in video.action]
        return video.name, {
            "subset": "training" if video.split == "train" else "validation",
            "duration": NUM_FRAMES / FPS,
            "annotations": [{"segment": segment, "label": CLASSES[video.label]}],
        }

    def ucf101(self) -> dict[str, str]:
        """As `dataset` of a benchmark."""
        lists = self.root / "lists"
        files = {"classes": "classInd.txt", "train": "trainlist01.txt", "test": "testlist01.txt"}
        return {"name": "ucf101", **{field: str(lists / name) for field, name in files.items()}}

    def fewshot(self) -> dict[str, str]:
        """As `dataset` of a benchmark."""
        return {"name": "fewshot", "test": str(self.root / "lists" / "fewshot_test.txt")}

    def activitynet(self) -> dict[str, str]:
        """As `dataset` of a benchmark."""
        return {"name": "activitynet-actions", "annotations": str(self.root / "lists" / "activity_net.json")}
