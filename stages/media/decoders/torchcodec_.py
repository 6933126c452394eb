"""torchcodec as a decoder, where it imports: it wants FFmpeg's shared libraries on the machine, and it brings torch.

Any damage is an error, and ends what can be read of a file. Times are those of the packets; where torchcodec's own
list of frames is another one, the file is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from stages.errors import ConfigError
from stages.media.container import open_container
from stages.media.decoders.pixels import PixelVideo, read_timeline, refused
from stages.media.geometry import Rgb
from stages.media.sources import Source

try:
    from torchcodec.decoders import VideoDecoder
except (ImportError, RuntimeError, OSError) as error:
    raise ConfigError(
        f"decoder: torchcodec does not import here ({str(error).strip().splitlines()[0]}); install it with the FFmpeg "
        "libraries that it wants, or use the decoder 'pyav'"
    ) from error

_LIBRARY = "torchcodec"
_SAME_TIME_S = 2e-3


class TorchcodecDecoder:
    """Opens files with torchcodec; see `decoders.base.Decoder`."""

    @contextmanager
    def open(self, source: Source) -> Iterator[PixelVideo]:
        """Open a file.

        Raises:
            DecodeError: as `container.open_container`, or `unsupported` where torchcodec cannot open it.
        """
        path, timeline = read_timeline(source, _LIBRARY)
        times = timeline.times_s.tolist()
        with open_container(path) as (_, stream):
            index = stream.index
        try:
            decoder = VideoDecoder(str(path), stream_index=index, dimension_order="NHWC", num_ffmpeg_threads=1)
            first = decoder.get_frame_at(0)
        except (RuntimeError, ValueError, IndexError) as error:
            raise refused(path.name, _LIBRARY, str(error)) from error
        if len(decoder) != len(times):
            raise refused(path.name, _LIBRARY, f"it counts {len(decoder)} frames, the packets are {len(times)}")
        offset_s = first.pts_seconds - times[0]  # torchcodec counts from another zero, the same for all frames

        def read(number: int) -> Rgb:
            try:
                frame = decoder.get_frame_at(number)
            except RuntimeError as error:
                raise refused(path.name, _LIBRARY, str(error)) from error
            if abs(frame.pts_seconds - times[number] - offset_s) > _SAME_TIME_S:
                raise refused(path.name, _LIBRARY, f"its frame {number} is not shown when its packet says")
            pixels: Rgb = frame.data.numpy()
            return pixels

        yield PixelVideo(timeline, read)
