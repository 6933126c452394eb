"""Two decoders side by side: where a stream is cut, and that they give what one decoder gives."""

import threading
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from stages.media.container import open_container
from stages.media.decoders import open_decoder, pyav
from stages.media.decoders.coded import Coded, Part, parts
from stages.media.decoders.pyav import PyavFrame, PyavVideo
from stages.media.geometry import Geometry
from tests.media import Numbered, make_video, remux
from tests.mutations import mutate

CLOSED = {"vcodec": "libx264", "g": 24, "bf": 3, "x264-params": "scenecut=0"}
X265 = "log-level=none:pools=none:frame-threads=1:keyint=24:min-keyint=24:scenecut=0"
CUT = {
    "h264": Numbered(num_frames=120, options=CLOSED),
    "transport": Numbered(num_frames=120, suffix=".ts", options=CLOSED),
    "matroska": Numbered(num_frames=120, suffix=".mkv", options=CLOSED),
    "hevc": Numbered(num_frames=120, options={"vcodec": "libx265", "x265-params": f"{X265}:open-gop=0"}),
    "vp9": Numbered(num_frames=120, suffix=".webm", options={"vcodec": "libvpx-vp9", "g": 24, "deadline": "realtime"}),
}
WHOLE = {
    "open": Numbered(num_frames=120, options={**CLOSED, "x264-params": "scenecut=0:open-gop=1"}),
    "open_hevc": Numbered(num_frames=120, options={"vcodec": "libx265", "x265-params": f"{X265}:open-gop=1"}),
    "recovery": Numbered(
        num_frames=120, suffix=".ts", options={**CLOSED, "bf": 0, "x264-params": "scenecut=0:intra-refresh=1"}
    ),
    "mpeg4": Numbered(num_frames=120, suffix=".avi", options={"vcodec": "mpeg4", "g": 24}),
    "pictures": Numbered(num_frames=120, suffix=".mkv", options={"vcodec": "mjpeg"}),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("lanes")
    return {name: make_video(folder / name, kind) for name, kind in (CUT | WHOLE).items()}


def cut(path: Path) -> tuple[list[Part], list[Coded]]:
    """The parts of a file, and its packets as they are read."""
    found = []
    for _ in range(2):
        with open_container(path) as (container, stream):
            found.append(list(parts(PyavVideo(container, stream).coded(), stream)))
    return found[0], list(chain.from_iterable(part.coded for part in found[1]))


@pytest.mark.parametrize("name", CUT)
def test_a_stream_is_cut_before_its_closed_groups(made: dict[str, Path], name: str) -> None:
    found, packets = cut(made[name])
    assert [len(part.coded) for part in found] == [24, 24, 24, 24, 25]  # the last one is empty
    assert [part.afresh for part in found] == [True] * 5
    joined = [item for part in found for item in part.coded]
    assert [item.packet.pts for item in joined] == [item.packet.pts for item in packets]
    assert [item.step.index for item in joined] == list(range(121))


@pytest.mark.parametrize("name", WHOLE)
def test_what_may_depend_on_what_lies_before_it_is_not_cut_off(made: dict[str, Path], name: str) -> None:
    found, _ = cut(made[name])
    assert not any(part.afresh for part in found[1:])


def test_a_long_group_is_read_part_by_part(made: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = cut(made["h264"])
    most = sum(item.packet.size for item in whole[0].coded) // 2
    monkeypatch.setattr("stages.media.decoders.coded._MOST_BYTES", most)
    found, _ = cut(made["h264"])
    assert len(found) > 5
    assert any(not part.afresh for part in found)
    assert all(sum(item.packet.size for item in part.coded[:-1]) <= most for part in found)
    assert by_two(made["h264"]) == by_one(made["h264"])


def flash_tags(path: Path, behind_ms: int) -> bytes:
    """The video tags of an FLV, later by so much."""
    data, place, found = path.read_bytes(), 13, b""
    while place < len(data):
        size = 11 + int.from_bytes(data[place + 1 : place + 4]) + 4
        tag = data[place : place + size]
        if tag[0] == 9:
            time_ms = (int.from_bytes(tag[7:8] + tag[4:7]) + behind_ms).to_bytes(4)
            found += tag[:4] + time_ms[1:] + time_ms[:1] + tag[8:]
        place += size
    return found


def test_other_parameters_in_the_middle_reach_all_that_lies_behind_them(tmp_path: Path) -> None:
    first, second = (
        make_video(tmp_path / name, Numbered(num_frames=120, suffix=".flv", size=size, options=CLOSED))
        for name, size in (("first", (128, 96)), ("second", (160, 112)))
    )
    joined = tmp_path / "joined.flv"
    joined.write_bytes(first.read_bytes()[:13] + flash_tags(first, 0) + flash_tags(second, 4800))
    found, _ = cut(joined)
    assert [part.afresh for part in found[:5]] == [True] * 5
    assert not any(part.afresh for part in found[5:])
    frames, num_errors = by_two(joined)
    assert (frames, num_errors) == by_one(joined)
    assert (len(frames), num_errors) == (240, 0)
    assert {len(frame[4]) for frame in frames} == {3 * 128 * 96, 3 * 137 * 96}


Seen = tuple[float, float, bool, bool, bytes]


def seen(frames: Iterator[PyavFrame]) -> list[Seen]:
    """All that a decoder says of its frames, and their pixels, small ones of large pictures."""
    small = Geometry(short_side=96)
    return [(f.time_s, f.duration_s, f.corrupt, f.after_loss, f.rgb(small).tobytes()) for f in frames]


def by_one(path: Path) -> tuple[list[Seen], int]:
    with open_container(path) as (container, stream):
        video = PyavVideo(container, stream)
        return seen(video.frames()), video.num_errors


def by_two(path: Path) -> tuple[list[Seen], int]:
    with open_decoder("pyav").open(path) as video:
        return seen(video.frames()), video.num_errors


@pytest.mark.parametrize("name", [*CUT, *WHOLE])
def test_two_decoders_give_what_one_gives(made: dict[str, Path], name: str) -> None:
    frames, num_errors = by_two(made[name])
    assert (frames, num_errors) == by_one(made[name])
    assert (len(frames), num_errors) == (120, 0)


@pytest.mark.shared
def test_two_decoders_give_what_one_gives_of_real_videos(shared_dir: Path) -> None:
    paths = sorted((shared_dir / "data" / "videos").glob("*/*"))[::8]
    assert len(paths) >= 10
    assert sum(any(part.afresh for part in cut(path)[0][1:]) for path in paths) >= 3
    for path in paths:
        assert by_two(path) == by_one(path), path.name


def test_a_turned_file_is_turned_by_both(made: dict[str, Path], tmp_path: Path) -> None:
    turned = remux(made["h264"], tmp_path / "turned.mp4", {"display_rotation": 90})
    assert by_two(turned) == by_one(turned)


@pytest.mark.parametrize(("name", "opened"), [("h264", 2), ("open", 1), ("mpeg4", 1)])
def test_a_file_is_opened_again_when_there_is_something_to_do(
    made: dict[str, Path], name: str, opened: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(pyav, "open_container", lambda source: calls.append(source) or open_container(source))
    by_two(made[name])
    assert len(calls) == opened


def test_whoever_stops_in_the_middle_leaves_no_thread(made: dict[str, Path]) -> None:
    with open_decoder("pyav").open(made["h264"]) as video:
        frames = video.frames()
        next(frames)
        assert any(thread.name.startswith("fabula-decode") for thread in threading.enumerate())
        frames.close()
    assert not any(thread.name.startswith("fabula-decode") for thread in threading.enumerate())


@pytest.fixture(scope="module", params=[".mp4", ".mkv", ".ts"])
def noisy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Closed groups of some ten kilobytes a picture."""
    options = {**CLOSED, **({"movflags": "faststart"} if request.param == ".mp4" else {})}
    kind = Numbered(suffix=request.param, num_frames=120, size=(320, 240), noise=40, options=options)
    return make_video(tmp_path_factory.mktemp("noisy") / "noisy", kind)


@pytest.mark.parametrize("seed", range(16))
def test_of_a_damaged_file_the_same_is_intact(noisy: Path, seed: int, tmp_path: Path) -> None:
    """What is made up for damaged frames may differ: a decoder that begins afresh has none before to repeat. And of
    frames that come out late one decoder knows errors of the next group already: that some are missing before them is
    said of fewer.
    """
    kind, content = mutate(noisy.read_bytes(), seed)
    broken = tmp_path / f"{kind}{noisy.suffix}"
    broken.write_bytes(content)
    frames, num_errors = by_two(broken)
    assert by_two(broken) == (frames, num_errors)
    alone, num_alone = by_one(broken)
    assert [judged[:3] for judged in frames] == [judged[:3] for judged in alone]
    assert all(other[3] for judged, other in zip(frames, alone, strict=True) if judged[3])
    assert num_errors == num_alone
    assert [f[4] for f in frames if not f[2]] == [f[4] for f in alone if not f[2]]
