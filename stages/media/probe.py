"""What a media file says about itself, and whether at least one of its frames decodes."""

from dataclasses import dataclass

from stages.media.causes import NO_FRAMES, decode_error
from stages.media.container import open_container, scan_timeline
from stages.media.decoders.pyav import PyavVideo, quarter_turns
from stages.media.sources import FRAME_FOLDER, FrameFolder, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    """Facts of one media file.

    Attributes:
        duration_s: end of the last packet of picture or sound, seconds on the browser's clock; headers that promise
            more or less are not believed.
        frame_rate: average frames a second; 0 if the file does not say.
        width: pixels as stored, before rotation.
        height: pixels as stored, before rotation.
        rotation: degrees clockwise by which the picture is turned for display: 0, 90, 180 or 270.
        container: names of its format, as libavformat gives them (`mov,mp4,m4a,3gp,3g2,mj2`); `frame_folder` for a
            folder of pictures.
        video_codec: such as `h264`.
        audio_codec: such as `aac`; '' without sound.
        has_audio: whether there is an audio stream.
    """

    duration_s: float
    frame_rate: float
    width: int
    height: int
    rotation: int
    container: str
    video_codec: str
    audio_codec: str
    has_audio: bool


def probe_video(source: Source) -> MediaInfo:
    """Open a file, or a folder of pictures, decode its first frame and say what it is.

    Args:
        source: which.

    Raises:
        DecodeError: as `container.open_container`.
    """
    with open_container(source) as (container, stream):
        video = PyavVideo(container, stream)
        first = next(video.frames(), None)
        if first is None:
            raise decode_error(
                NO_FRAMES,
                f"{source.name}: no frame of its {_codec(stream)} stream decodes ({video.num_errors} decode errors), "
                "expected at least one; the file is damaged or cut: fetch it again or leave it out",
            )
        audio = container.streams.audio[0] if container.streams.audio else None
        return MediaInfo(
            duration_s=scan_timeline(source).container_end_s,
            frame_rate=float(stream.average_rate or 0),
            width=first.picture.width,
            height=first.picture.height,
            rotation=-90 * quarter_turns(first.picture) % 360,
            container=FRAME_FOLDER if isinstance(source, FrameFolder) else container.format.name,
            video_codec=_codec(stream),
            audio_codec=_codec(audio) if audio is not None else "",
            has_audio=audio is not None,
        )


def _codec(stream: object) -> str:
    """The canonical name of a stream's codec (`av1`, not the decoder's `libdav1d`)."""
    context = getattr(stream, "codec_context", None)
    return str(context.codec.canonical_name) if context is not None else "unknown"
