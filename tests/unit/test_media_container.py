"""The timeline that packets tell."""

import errno
import os
from pathlib import Path

import pytest

from stages.errors import DecodeError
from stages.media.container import address, scan_timeline
from stages.media.jobs import run_sample
from tests.media import Numbered, make_video


def stray_clusters(path: Path) -> None:
    """Put the last cluster of a Matroska file hours away, as a flipped bit in its time stamp does."""
    data = bytearray(path.read_bytes())
    place = data.rindex(bytes.fromhex("1f43b675"))  # Cluster
    stamp = data.index(b"\xe7", place)  # Timestamp
    size = data[stamp + 1] & 0x7F
    data[stamp + 2 : stamp + 2 + size] = b"\x7f" * size
    path.write_bytes(data)


def test_a_stray_time_stamp_does_not_make_a_day_of_a_minute(tmp_path: Path) -> None:
    # A start at 100 s makes the time stamps three bytes wide.
    options = {"vcodec": "libx264", "g": 25, "cluster_time_limit": 5000, "output_ts_offset": 100}
    kind = Numbered(suffix=".mkv", num_frames=300, options=options)
    path = make_video(tmp_path / "stray", kind)
    whole = scan_timeline(path)
    assert (len(whole.times_s), whole.end_s, whole.truncated) == (300, pytest.approx(12, abs=1e-3), False)
    stray_clusters(path)
    timeline = scan_timeline(path)
    assert 150 < len(timeline.times_s) < 300
    assert timeline.end_s == pytest.approx(len(timeline.times_s) / 25, abs=1e-3)
    assert timeline.truncated


def test_a_still_picture_of_two_minutes_is_no_stray(tmp_path: Path) -> None:
    kind = Numbered(num_frames=10, setpts="if(gte(N,3),N+3000,N)", options={"vcodec": "libx264", "bf": 0})
    timeline = scan_timeline(make_video(tmp_path / "still", kind))
    assert timeline.end_s == pytest.approx((9 + 3000 + 1) / 25, abs=0.05)
    assert not timeline.truncated


def test_an_empty_required_list_asks_for_nothing(tmp_path: Path) -> None:
    path = make_video(tmp_path / "one", Numbered(num_frames=1))
    arguments = {"path": str(path), "decoder": "pyav", "consumers": [], "required": {}}
    assert [header["kind"] for header, _ in run_sample(arguments)] == ["plan", "done"]


@pytest.mark.parametrize(("number", "cause"), [(errno.EIO, "unreachable"), (errno.EACCES, "unreadable")])
def test_an_error_of_the_disk_is_not_the_file_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, cause: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("stages.media.container.os.stat", fail)
    with pytest.raises(DecodeError, match=os.strerror(number)) as caught:
        address(tmp_path / "v.mp4")
    assert caught.value.cause == cause
