"""Every decoder gives the right frame for every time, or says that it cannot: files whose frames show their number."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import av
import ffmpeg
import imageio_ffmpeg
import numpy as np
import pytest

from stages.errors import ConfigError, DecodeError
from stages.media.container import scan_timeline
from stages.media.decoders import open_decoder
from stages.media.frames import FrameRequest, PassFacts, sample_frames
from stages.media.geometry import Geometry
from stages.media.packets import read_packets
from stages.media.probe import probe_video
from stages.media.sources import FrameFolder, Source
from stages.media.timelines import frame_times
from tests.media import Numbered, make_pictures, make_sound, make_video, read_number, remux

X264 = {"vcodec": "libx264", "g": 12}
KINDS = {
    "h264": Numbered(options={**X264, "bf": 0}),
    "bframes": Numbered(options={**X264, "bf": 3}, sound=True),
    "opengop": Numbered(options={**X264, "bf": 3, "x264-params": "open-gop=1"}),
    "hevc": Numbered(options={"vcodec": "libx265", "x265-params": "log-level=none:pools=none:frame-threads=1"}),
    "vp9": Numbered(suffix=".webm", options={"vcodec": "libvpx-vp9", "deadline": "realtime", "cpu-used": 8}),
    "vp8": Numbered(suffix=".webm", options={"vcodec": "libvpx", "b:v": "500k", "deadline": "realtime"}),
    "av1": Numbered(suffix=".mkv", options={"vcodec": "libaom-av1", "cpu-used": 8, "usage": "realtime"}),
    "mpeg4": Numbered(suffix=".avi", options={"vcodec": "mpeg4", "q:v": 3}),
    "vfr": Numbered(setpts="floor((N+floor(N/5)*3)/25/TB+0.5)", options={**X264, "bf": 0}),
    "vfr_b": Numbered(suffix=".mkv", setpts="floor((N+floor(N/5)*3)/25/TB+0.5)", options={**X264, "bf": 2}),
    "ntsc": Numbered(suffix=".mkv", fps=30000 / 1001, options={**X264, "bf": 2}),
    "one": Numbered(num_frames=1),
    "odd": Numbered(size=(129, 97), options={**X264, "pix_fmt": "yuv444p"}),
    "ten_bit": Numbered(options={**X264, "pix_fmt": "yuv420p10le"}),
    "transport": Numbered(suffix=".ts", options={**X264, "bf": 2}),
}
DECODERS = (
    "pyav", "decord", "ffmpeg", pytest.param("torchcodec", marks=pytest.mark.torchcodec),
)  # fmt: skip
CANNOT = {("decord", kind) for kind in ("av1", "edit_list", "transport", "pictures", "jpegs")}
CANNOT |= {("torchcodec", kind) for kind in ("edit_list", "transport", "pictures", "jpegs")}
SHIFT = {"edit_list": 18}  # the first frame that an edit list of 0.7 s leaves
TURNS = {"turned": 90, "upside_down": 180}  # how the file says its pictures are to be turned, counter-clockwise


@dataclass(frozen=True)
class Made:
    path: Source
    times: np.ndarray  # of each frame, seconds
    first: int  # number of the first frame


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoders")
    files = {name: make_video(folder / name, kind) for name, kind in KINDS.items()}
    plain, bframes = files["h264"], files["bframes"]
    files["turned"] = remux(plain, folder / "turned.mp4", {"display_rotation": 90})
    files["upside_down"] = remux(plain, folder / "upside_down.mp4", {"display_rotation": 180})
    files["edit_list"] = remux(bframes, folder / "edit_list.mp4", {"ss": 0.7}, an=None)
    files["late_matroska"] = remux(bframes, folder / "late_matroska.mkv", output_ts_offset=5)
    files["late_mp4"] = remux(plain, folder / "late_mp4.mp4", {"itsoffset": 2.5})
    pictures, jpegs = folder / "pictures", folder / "100%d"
    files["pictures"] = FrameFolder(path=make_pictures(pictures, 50), frame_rate=25.0, num_frames=50)
    make_pictures(jpegs, 60, name="a%03d_{}.JPG", first=0)  # a name that is a pattern itself, numbers without zeros
    files["jpegs"] = FrameFolder(path=jpegs, frame_rate=25.0, num_frames=50)
    return {name: Made(path, _times(name), SHIFT.get(name, 0)) for name, path in files.items()}


def _times(name):
    kind = KINDS.get(name, KINDS["h264"])
    numbers = np.arange(kind.num_frames - SHIFT.get(name, 0))
    return (numbers + numbers // 5 * 3 if kind.setpts else numbers) / kind.fps


def look_up(file, times, decoder, geometry=None):
    facts = PassFacts()
    requests = [FrameRequest(times_s=times, geometry=geometry or Geometry())]
    samples = list(sample_frames(file.path, requests, decoder=decoder, facts=facts))
    return samples, facts


NAMES = [*KINDS, "turned", "upside_down", "edit_list", "late_matroska", "late_mp4", "pictures", "jpegs"]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", NAMES)
def test_right_frame_for_every_time(made, name, decoder):
    file = made[name]
    frame_s = 1 / KINDS.get(name, KINDS["h264"]).fps
    times = np.sort(np.concatenate([file.times + share * frame_s for share in (0.1, 0.5, 0.9)]))
    if (decoder, name) in CANNOT:
        with pytest.raises(DecodeError, match="use the decoder 'pyav'"):
            look_up(file, times, decoder)
        return
    samples, facts = look_up(file, times, decoder)
    assert [s.index for s in samples] == list(range(len(times)))
    turns = -TURNS.get(name, 0) // 90
    shown = [read_number(np.rot90(s.rgb, turns)) for s in samples]
    wanted = np.searchsorted(file.times, times, side="right") - 1 + file.first
    assert shown == wanted.tolist()
    assert not any(s.damaged for s in samples)
    assert (facts.num_errors, facts.missing_before, facts.missing_after) == (0, [0], [0])
    if name != "jpegs":  # ten more pictures lie there than are asked for
        assert facts.end_s == pytest.approx(file.times[-1] + frame_s, abs=2e-3)


@pytest.mark.parametrize(("recorded", "wanted"), [(60, 30), (60, 10), (30, 30), (30, 10), (30, 1), (25, 10), (24, 2)])
def test_frames_at_a_rate_are_those_of_ffmpeg_s_fps_filter(tmp_path, recorded, wanted):
    path = make_video(tmp_path / "even", Numbered(fps=recorded, num_frames=3 * recorded))
    raw, _ = ffmpeg.run(
        ffmpeg.input(str(path)).filter("fps", wanted).output("pipe:", format="rawvideo", pix_fmt="rgb24"),
        cmd=imageio_ffmpeg.get_ffmpeg_exe(), capture_stdout=True, quiet=True,
    )  # fmt: skip
    theirs = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 96, 128, 3)
    times = frame_times(np.array([[0.0, 3.0]]), wanted, 3 * wanted)[0]
    rounded = remux(path, tmp_path / "rounded.mkv")  # to milliseconds; there the filter wavers between two frames
    for file in (path, rounded):
        ours, _ = look_up(Made(file, times, 0), times, "pyav")
        assert [read_number(sample.rgb) for sample in ours] == [read_number(rgb) for rgb in theirs[: len(times)]]


@pytest.mark.parametrize("name", NAMES)
def test_keyframes_alone_are_the_same_frames(made, name):
    """Every keyframe of the full decode, at its own time."""
    with open_decoder("pyav").open(made[name].path) as video:
        full = [(f.time_s, read_number(f.rgb(Geometry()))) for f in video.frames() if f.picture.key_frame]
    with open_decoder("keyframes").open(made[name].path) as video:
        alone = [(f.time_s, read_number(f.rgb(Geometry()))) for f in video.frames()]
        assert video.num_errors == 0
    if name == "edit_list":  # the first keyframe lies before the cut, and is decoded for those behind it
        alone = [frame for frame in alone if frame[0] >= 0]
    assert alone == full
    assert len(alone) >= 1


@pytest.mark.parametrize("decoder", DECODERS)
def test_times_outside_are_counted(made, decoder):
    samples, facts = look_up(made["h264"], np.array([-1.0, -0.1, 0.0, 1.99, 2.0, 9.0]), decoder)
    assert [read_number(s.rgb) for s in samples] == [0, 0, 0, 49]
    assert (facts.missing_before, facts.missing_after) == ([2], [2])


def test_short_memory_is_no_damage(made, monkeypatch):
    """PyAV's MemoryError is one of its errors of damaged files, too."""

    def starve(*_, **__):
        raise av.error.MemoryError(12, "Cannot allocate memory")

    starving = SimpleNamespace(decode=starve, demux=starve, format=SimpleNamespace(name="mov"), width=128, height=96)
    path = made["h264"].path
    with open_decoder("pyav").open(path) as video:
        monkeypatch.setattr(video, "_context", starving)
        with pytest.raises(MemoryError):
            next(video.frames())
    with pytest.raises(MemoryError):
        next(read_packets(starving, None))
    with monkeypatch.context() as patches:
        patches.setattr("stages.media.container._interval", starve)
        with pytest.raises(MemoryError):
            scan_timeline(path)
    monkeypatch.setattr(av, "open", starve)
    with pytest.raises(MemoryError):
        probe_video(path)


@pytest.mark.parametrize("shift_s", [3600.0, 3.0, -1.0])
def test_a_stray_time_stamp_costs_one_frame(tmp_path, shift_s):
    """Behind the end, between other frames, or before them: only where that frame belongs is another one shown."""
    plain = make_video(tmp_path / "plain", Numbered(num_frames=200, options={**X264, "bf": 0}))
    path, times = restamp(plain, tmp_path / "stray.mkv", 100, shift_s), (np.arange(200) + 0.7) / 25
    timeline, facts = scan_timeline(path), PassFacts()
    requests = [FrameRequest(times_s=times, geometry=Geometry())]
    samples = list(sample_frames(path, requests, end_s=timeline.end_s, facts=facts))
    assert [s.index for s in samples] == list(range(200))
    shown = np.array([read_number(s.rgb) for s in samples])
    assert np.flatnonzero(shown != np.arange(200)).tolist() == [100]
    assert [s.index for s in samples if s.damaged] == [100]
    assert timeline.truncated or facts.num_errors


def test_packets_in_the_order_of_decoding_are_no_damage(tmp_path):
    path, facts = make_video(tmp_path / "b", Numbered(suffix=".avi", options={**X264, "bf": 3})), PassFacts()
    requests = [FrameRequest(times_s=np.arange(50) / 25, geometry=Geometry())]
    samples = list(sample_frames(path, requests, end_s=scan_timeline(path).end_s, facts=facts))
    assert not any(s.damaged for s in samples)
    assert (facts.num_errors, facts.missing_after) == (0, [0])


def restamp(source, target, number, shift_s):
    """Copy a file of one stream; a packet is shown later, or earlier."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for count, packet in enumerate(old.demux(video=0)):
            if packet.size:
                packet.dts -= round(2 / packet.time_base)  # nothing may be shown before it is decoded
                packet.pts += round(shift_s / packet.time_base) if count == number else 0
                packet.stream = stream
                new.mux(packet)
    return target


def test_one_pass_equals_several(made):
    file = made["bframes"]
    requests = [
        FrameRequest(times_s=np.arange(0, 2, 1 / 8), geometry=Geometry(short_side=48, crop=32)),
        FrameRequest(times_s=np.arange(0.5, 2, 1.0), geometry=Geometry(width=160)),
        FrameRequest(times_s=np.zeros(0), geometry=Geometry()),
    ]
    together = list(sample_frames(file.path, requests))
    for position, request in enumerate(requests):
        alone = list(sample_frames(file.path, [request]))
        shared = [s for s in together if s.request == position]
        assert [s.index for s in shared] == [s.index for s in alone] == list(range(len(request.times_s)))
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(alone, shared, strict=True))


def test_noise_in_the_middle_is_masked_and_the_rest_kept(tmp_path):
    kind = Numbered(num_frames=200, size=(320, 240), noise=40, options={**X264, "bf": 2, "flags": "+cgop"})
    path = make_video(tmp_path / "whole", kind)
    times = (np.arange(200) + 0.5) / 25
    whole, _ = look_up(Made(path, times, 0), times, "pyav")
    data = bytearray(path.read_bytes())
    middle = slice(len(data) * 2 // 5, len(data) * 2 // 5 + 4000)
    data[middle] = np.random.default_rng(0).bytes(4000)
    path.write_bytes(data)
    samples, facts = look_up(Made(path, times, 0), times, "pyav")
    changed = [not np.array_equal(a.rgb, b.rgb) for a, b in zip(samples, whole, strict=True)]
    masked = [s.damaged for s in samples]
    assert facts.num_errors > 0
    assert any(changed)
    assert not any(c and not m for c, m in zip(changed, masked, strict=True))
    assert sum(masked) <= 40


def test_a_cut_file_gives_what_it_holds(made, tmp_path):
    source = make_video(tmp_path / "long", replace(KINDS["h264"], suffix=".mkv", num_frames=100, noise=30))
    data = source.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) * 3 // 5])
    times = (np.arange(100) + 0.5) / 25
    samples, facts = look_up(Made(cut, times, 0), times, "pyav")
    assert 40 <= len(samples) <= 70
    assert facts.missing_after == [100 - len(samples)]
    intact = [s.index for s in samples if not s.damaged]
    assert [read_number(samples[k].rgb) for k in intact] == intact


def test_a_decoder_that_does_not_exist_is_named():
    with pytest.raises(ConfigError, match="got 'opencv', expected one of decord, ffmpeg, keyframes, pyav, torchcodec"):
        open_decoder("opencv")


class TestProbe:
    def test_facts_of_a_file(self, made):
        info = probe_video(made["bframes"].path)
        assert (info.width, info.height, info.rotation, info.frame_rate) == (128, 96, 0, 25.0)
        assert (info.video_codec, info.audio_codec, info.has_audio) == ("h264", "aac", True)
        assert info.duration_s == pytest.approx(2.0, abs=0.06)
        assert info.container.startswith("mov")

    @pytest.mark.parametrize(("name", "codec"), [("av1", "av1"), ("vp9", "vp9"), ("hevc", "hevc"), ("mpeg4", "mpeg4")])
    def test_codecs_by_their_canonical_name(self, made, name, codec):
        assert probe_video(made[name].path).video_codec == codec

    def test_rotation_is_clockwise(self, made):
        assert probe_video(made["turned"].path).rotation == 270
        assert (probe_video(made["turned"].path).width, probe_video(made["turned"].path).height) == (128, 96)

    def test_a_late_start_is_no_part_of_the_duration(self, made):
        assert probe_video(made["late_matroska"].path).duration_s == pytest.approx(2.0, abs=0.06)

    @pytest.mark.parametrize(
        ("name", "content", "cause"),
        [
            ("text.mp4", b"this is no video, whatever its name says\n" * 50, "not_media"),
            ("zero.mp4", b"", "empty_file"),
            ("garbage.mkv", np.random.default_rng(1).bytes(5000), "not_media"),
        ],
    )
    def test_broken_files_have_a_cause(self, tmp_path, name, content, cause):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DecodeError, match=name) as caught:
            probe_video(path)
        assert caught.value.cause == cause
        assert str(tmp_path) not in str(caught.value)

    def test_sound_alone(self, tmp_path):
        with pytest.raises(DecodeError, match="got audio, expected a video") as caught:
            probe_video(make_sound(tmp_path / "sound.m4a"))
        assert caught.value.cause == "no_video_stream"

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(DecodeError, match="No such file") as caught:
            probe_video(tmp_path / "gone.mp4")
        assert caught.value.cause == "unreadable"

    def test_a_header_without_pictures(self, made, tmp_path):
        data = bytearray(made["h264"].path.read_bytes())
        start = data.index(b"mdat") + 4
        end = data.index(b"moov") - 4
        data[start:end] = bytes(end - start)
        path = tmp_path / "hollow.mp4"
        path.write_bytes(data)
        with pytest.raises(DecodeError, match="no frame of its h264 stream decodes") as caught:
            probe_video(path)
        assert caught.value.cause == "no_frames"

    def test_a_file_cut_before_its_index(self, made, tmp_path):
        data = made["h264"].path.read_bytes()
        path = tmp_path / "cut.mp4"
        path.write_bytes(data[: data.index(b"moov") - 10])
        with pytest.raises(DecodeError) as caught:
            probe_video(path)
        assert caught.value.cause == "not_media"
