"""Decoders of one stream side by side, each in a thread of its own; what they give is taken in the stream's order."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from types import TracebackType
from typing import Self

from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from stages.media.damage import Step
from stages.media.decoders.coded import Coded, Decoded, Part, decode

_MOST_BYTES, _MOST_PACKETS = 48 << 20, 64
"""Of pictures that wait in a lane."""


class Lane:
    """A decoder and its thread, which ends with the block."""

    def __init__(self, context: VideoCodecContext) -> None:
        self._context = context
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fabula-decode")
        picture_bytes = max(2 * context.width * context.height, 1)
        self._ahead = min(max(_MOST_BYTES // picture_bytes, 1), _MOST_PACKETS)

    def __enter__(self) -> Self:
        try:
            self._thread.submit(int).result()
        except RuntimeError as error:  # it could not be started
            raise MemoryError("no memory for a thread") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def decode(self, packets: Sequence[Coded]) -> Iterator[Decoded]:
        """Begin at once, and stay some packets ahead of whoever takes what is decoded."""
        decoding = map(partial(decode, self._context), packets)
        waiting = deque(self._thread.submit(next, decoding, None) for _ in range(self._ahead))
        return self._take(waiting, decoding)

    def _take(self, waiting: "deque[Future[Decoded | None]]", decoding: Iterator[Decoded]) -> Iterator[Decoded]:
        while (decoded := waiting.popleft().result()) is not None:
            waiting.append(self._thread.submit(next, decoding, None))
            yield decoded

    def drain(self, last: Step) -> Decoded:
        """Give what is still in the decoder, as of its last packet; then it may begin afresh."""
        return self._thread.submit(self._drain, last).result()

    def _drain(self, last: Step) -> Decoded:
        decoded = decode(self._context, Coded(last, Packet()))
        self._context.flush_buffers()
        return decoded


def decode_side_by_side(
    parts: Iterator[Part],
    context: VideoCodecContext,
    another: Callable[[], AbstractContextManager[VideoCodecContext]],
) -> Iterator[Decoded]:
    """Decode a stream in two lanes: while one part is taken, the next is decoded if it can be on its own.

    Args:
        parts: of it.
        context: a decoder.
        another: gives one more; it is called when there is something to do for it.

    Yields:
        What one decoder, drained before each part that it can begin afresh, would give.
    """
    with ExitStack() as stack:
        lane, free = stack.enter_context(Lane(context)), None
        part = next(parts)
        decoding = lane.decode(part.coded)
        while True:
            following = next(parts, None)
            if following is None or not following.afresh:
                yield from decoding
            else:
                free = free or stack.enter_context(Lane(stack.enter_context(another())))
                ahead = free.decode(following.coded)
                yield from decoding
                yield lane.drain(part.coded[-1].step)
                lane, free = free, lane
            if following is None:
                return
            decoding = ahead if following.afresh else lane.decode(following.coded)
            part = following
