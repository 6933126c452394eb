"""What a decode process can be asked to do: functions of JSON arguments that give messages, by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from stages.errors import EmptyTimeline
from stages.media.batches import Bytes, batch_samples
from stages.media.causes import NO_FRAMES, decode_error
from stages.media.consumers import Clock, Consumer, GridConsumer, SpreadConsumer, has_row
from stages.media.container import Timeline, scan_timeline
from stages.media.decoders import KEYFRAMES
from stages.media.frames import FrameRequest, PassFacts, sample_frames
from stages.media.geometry import Geometry
from stages.media.keyframes import KeyframeRows, NearestKeyframes
from stages.media.messages import Header
from stages.media.probe import probe_video
from stages.media.sources import Source, source_from_json

Messages = Iterator[tuple[Header, Sequence[Bytes]]]
Arguments = Mapping[str, Any]

MAX_DURATION_S = 48 * 3600.0
"""A timeline that claims to be longer than this is damaged; refusing it bounds the plan's memory."""


def run_probe(arguments: Arguments) -> Messages:
    """Probe a source; the result holds MediaInfo's fields."""
    yield {"kind": "done", "result": asdict(probe_video(source_from_json(arguments)))}, ()


def run_sample(arguments: Arguments) -> Messages:
    """Decode a video once for several consumers.

    Args:
        arguments: those of the source (`sources.source_to_json`); `decoder`; `consumers`, a list of Consumers' JSON;
            and `required`, Consumers' JSON by name, each of which must get at least one span.

    Yields:
        A `plan` with the Clock's fields, batches, and PassFacts' fields with `truncated` as the result.

    Raises:
        DecodeError: nothing can be decoded.
        EmptyTimeline: a required consumer gets nothing.
    """
    source, decoder = source_from_json(arguments), arguments["decoder"]
    consumers = [consumer_from_json(consumer) for consumer in arguments["consumers"]]
    required = {name: consumer_from_json(consumer) for name, consumer in arguments["required"].items()}
    timeline, facts = _scan(source), PassFacts()
    keyframes_s = timeline.keyframes_s if decoder == KEYFRAMES else timeline.keyframes_s[:0]
    clock = Clock(end_s=timeline.end_s, keyframes_s=keyframes_s)
    _check_rows(source, required, clock, clock.end_s)
    yield {"kind": "plan", **clock.to_json()}, ()
    requests = [FrameRequest(times_s=c.plan(clock).times, geometry=c.geometry) for c in consumers]
    samples = sample_frames(source, requests, decoder=decoder, end_s=clock.end_s, facts=facts)
    yield from batch_samples(samples, [c.quality for c in consumers])
    _check_rows(source, required, clock, facts.end_s)
    yield {"kind": "done", "result": {**asdict(facts), "truncated": timeline.truncated}}, ()


def consumer_from_json(fields: Mapping[str, Any]) -> Consumer:
    """Make the consumer that gave `to_json`."""
    layout, rest = fields["layout"], {name: value for name, value in fields.items() if name != "layout"}
    if "inner" in rest:
        return _KEYFRAME_LAYOUTS[layout](inner=consumer_from_json(rest["inner"]))
    return _LAYOUTS[layout](**{**rest, "geometry": Geometry(**rest["geometry"])})


_LAYOUTS: Mapping[str, type[GridConsumer] | type[SpreadConsumer]] = {"grid": GridConsumer, "spread": SpreadConsumer}
_KEYFRAME_LAYOUTS: Mapping[str, type[KeyframeRows] | type[NearestKeyframes]] = {
    "keyframe_rows": KeyframeRows,
    "nearest_keyframes": NearestKeyframes,
}


def _scan(source: Source) -> Timeline:
    timeline = scan_timeline(source)
    if not len(timeline.times_s):
        raise decode_error(
            NO_FRAMES, f"{source.name}: its video stream holds no packet; fetch it again or leave it out"
        )
    if not 0 < timeline.end_s <= MAX_DURATION_S:
        raise EmptyTimeline(
            f"{source.name}: its frames end at {timeline.end_s:.3f} s, expected more than 0 and at most "
            f"{MAX_DURATION_S:.0f} s; its time stamps are damaged: remux or leave it out"
        )
    return timeline


def _check_rows(source: Source, required: Mapping[str, Consumer], clock: Clock, decoded_s: float) -> None:
    for name, consumer in required.items():
        if not has_row(consumer, clock, decoded_s):
            raise EmptyTimeline(
                f"{source.name}: it has nothing for {name}: its frames end at {decoded_s:.3f} s of {clock.end_s:.3f} "
                "s; where a whole clip does not fit use tail = 'keep', or leave the video out"
            )


JOBS: dict[str, Callable[[Arguments], Messages]] = {"probe": run_probe, "sample": run_sample}
"""By name; a module that a worker process preloads may add to it."""
