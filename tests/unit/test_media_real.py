"""The decoders on real videos: they open all, and agree on what is shown when."""

from pathlib import Path

import numpy as np
import pytest

from stages.errors import DecodeError
from stages.media.container import scan_timeline
from stages.media.frames import FrameRequest, PassFacts, sample_frames
from stages.media.geometry import Geometry
from stages.media.probe import probe_video

# What decord cannot do, and says so: AV1, edit lists, hidden frames, AVI with frames left out.
DECORD_REFUSES = {
    "cve_vid1.mp4", "torchcodec_av1.mkv", "llamafactory_2.avi", "v_ApplyEyeMakeup_g01_c01.avi", "nasa_13013.mp4",
    "stream_of_water.webm",
}  # fmt: skip


def videos(shared_dir: Path) -> list[Path]:
    found = sorted(path for path in (shared_dir / "data" / "videos").glob("*/*"))
    assert len(found) == 94
    return found


def small_frames(path: Path, times: np.ndarray, decoder: str, facts: PassFacts) -> dict[int, np.ndarray]:
    """Small pictures by look-up, their brightness alone: decord turns YUV into RGB in another way."""
    requests = [FrameRequest(times_s=times, geometry=Geometry(short_side=64))]
    samples = sample_frames(path, requests, decoder=decoder, facts=facts)
    return {s.index: s.rgb @ np.array([0.299, 0.587, 0.114]) for s in samples}


@pytest.mark.shared
def test_every_real_video_can_be_probed(shared_dir: Path) -> None:
    for path in videos(shared_dir):
        info = probe_video(path)
        assert info.duration_s > 0
        assert info.width > 0


@pytest.mark.shared
@pytest.mark.long
def test_decoders_agree_on_real_videos(shared_dir: Path) -> None:
    refused = set()
    for path in videos(shared_dir):
        timeline, facts = scan_timeline(path), PassFacts()
        times = (np.arange(int(timeline.end_s * 2)) + 0.5) / 2
        ours = small_frames(path, times, "pyav", facts)
        assert sorted(ours) == list(range(len(times))), path
        assert facts.num_frames == len(np.unique(timeline.times_s)) or path.suffix == ".avi", path
        try:
            theirs = small_frames(path, times, "decord", PassFacts())
        except DecodeError:
            refused.add(path.name)
            continue
        assert sorted(theirs) == sorted(ours), path
        assert max((np.abs(ours[k] - theirs[k]).mean() for k in ours), default=0) < 2, path
    assert refused == DECORD_REFUSES
