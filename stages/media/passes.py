"""One pass over each of some videos: what is decoded ahead is handed to all that is made of it."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stages.media.ahead import Decoding, Item, Refused
from stages.media.batches import read_batch
from stages.media.consumers import Clock
from stages.media.makers import Maker, Making, PassResult, Sample


@dataclass(frozen=True, slots=True)
class Finished:
    """A video that passed, with one sample a maker."""

    video_id: str
    samples: Sequence[Sample]


class Passes:
    """The videos of a unit on their way, several at once; they are given in the order in which they are named."""

    def __init__(self, makers: Sequence[Maker], decoding: Decoding) -> None:
        self._makers = makers
        self._decoding = decoding
        self._makings: dict[str, list[Making]] = {}
        self._ended: dict[str, PassResult | Refused] = {}

    def run(self, video_ids: Sequence[str]) -> Iterator[Finished | Refused]:
        """Give each video once all of it is computed.

        A video that has ended is waited for only when nothing of the others is there to hand on: what computes is
        never left without work while there is some.
        """
        waiting = deque(video_ids)
        while waiting:
            oldest_ended = waiting[0] in self._ended
            item = self._decoding.take(wait=not oldest_ended)
            if item is not None:
                self._handle(item)
            elif oldest_ended:
                yield self._finish(waiting.popleft())
                self._decoding.close_one()
            else:
                raise RuntimeError(f"decoding ended before video {waiting[0]}")

    def _handle(self, item: Item) -> None:
        if isinstance(item, Refused):
            self._makings.pop(item.input_id, None)
            self._ended[item.input_id] = item
            return
        header = item.message.header
        if header["kind"] == "plan":
            clock = Clock.from_json(header)
            self._makings[item.input_id] = [maker.begin(item.input_id, clock) for maker in self._makers]
        elif header["kind"] == "batch":
            self._makings[item.input_id][header["request"]].add(header, read_batch(item.message))
            item.message.let_go()
        else:
            for making in self._makings[item.input_id]:
                making.end()
            self._ended[item.input_id] = header["result"]

    def _finish(self, video_id: str) -> Finished | Refused:
        end = self._ended.pop(video_id)
        if isinstance(end, Refused):
            return end
        makings = self._makings.pop(video_id)
        return Finished(video_id, [making.finish(end, request) for request, making in enumerate(makings)])
