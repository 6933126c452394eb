"""extract: frozen features of every clip, frames to train on, and thumbnails, from one forward decode of each video.

Frames are decoded in processes that may be killed, ahead of the model, and reach it through memory of a fixed size. A
damaged clip keeps its row, computed from what decoded, and is marked in the mask; whoever trains, indexes or scores
leaves it out. A row depends on its video alone: on a CPU a batch never crosses videos and one thread computes it, so
that neither the number of threads nor what else is in the shard changes a bit.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from models.memory import keep_freed_memory
from stages.artifacts.manifest import Video, read_videos
from stages.contract import Failure, Inputs, Out, Output, Resources, Stage, Unit, Worker
from stages.errors import ConfigError, TransientError
from stages.media.candidates import folder_of, video_source
from stages.media.causes import UNREACHABLE, UNREADABLE
from stages.media.recipes import decoder_name, make_consumer, make_recipes, required_consumers
from stages.media.settings import CLIP, FRAMES, RESNET, THUMBNAILS, OutputsConfig

if TYPE_CHECKING:
    from stages.media.ahead import Job, Refused
    from stages.media.backbones import LoadedBackbone
    from stages.media.consumers import Consumer
    from stages.media.encoders import Encoder
    from stages.media.makers import Maker
    from stages.media.process import IsolationSettings

SCHEMA_VERSION = 1


class ExtractConfig(OutputsConfig):
    """What is extracted (`OutputsConfig`), and how it is done, which changes no byte.

    Attributes:
        threads: batches that a worker computes at once, and videos that it decodes at once; of these some are decoded
            in two threads.
        videos_per_shard: positions of the manifest in one unit of work, and in one tar.
        deadline_s: how long decoding may be silent before it is stopped.
        memory_mib: what a decode process may take.
        max_attempts: decode processes that one video may cost before it is quarantined.
    """

    threads: int = Field(default=1, ge=1)
    videos_per_shard: int = Field(default=64, ge=1)
    deadline_s: float = Field(default=300.0, gt=0)
    memory_mib: int = Field(default=4096, ge=512)
    max_attempts: int = Field(default=2, ge=1)


@dataclass(frozen=True)
class Extract(Stage):
    """Settings of extract.

    Attributes:
        config: what a run's file says of it.
        media: as ingest has it, a folder or a table of paths.
    """

    config: ExtractConfig
    media: Path

    name: ClassVar[str] = "extract"
    # 2: S3D in planar form. 3: one thread a batch, scaling in two steps, stricter masks. 4: named by what is required,
    # frames behind stray time stamps. 5: look-ups just before the middle of a frame's time, closed groups
    # of pictures decoded apart
    version: ClassVar[int] = 5

    @property
    def needs(self) -> tuple[str, ...]:
        """The manifest: ids, positions, paths and content hashes."""
        return ("manifest",)

    def outputs(self) -> tuple[Output, ...]:
        """One `features` artifact a backbone, the frames, and the thumbnails."""
        recipes = make_recipes(self.config)
        return tuple(Output(label=label, schema=SCHEMA_VERSION, about=recipes[label]) for label in recipes)

    def units(self, inputs: Inputs) -> list[Unit]:
        """One unit for each `videos_per_shard` positions that hold a video."""
        recipes, required = make_recipes(self.config), required_consumers(self.config)
        shards: dict[int, list[Video]] = defaultdict(list)
        videos = read_videos(inputs["manifest"])
        if not videos:
            raise ConfigError("[ingest] media: none of its files is a usable video; `fabula status` says why for each")
        for video in videos:
            shards[video.position // self.config.videos_per_shard].append(video)
        return [_unit(number, shards[number], recipes, required) for number in sorted(shards)]

    def open(self, inputs: Inputs) -> Worker:
        """Start the decode processes; networks are loaded when a unit first wants them."""
        return ExtractWorker(self.config, folder_of(self.media))

    def resources(self) -> Resources:
        """Its threads, and the card."""
        return Resources(num_cpus=self.config.threads, num_gpus=1.0 if self.config.device == "cuda" else 0.0)


class ExtractWorker:
    """Decodes the videos of a unit once and feeds all that is made of them."""

    def __init__(self, config: ExtractConfig, folder: Path) -> None:
        import torch

        from stages.media.ahead import DecodeCrew
        from stages.media.encoders import ThreadPool

        if config.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("[extract] device = 'cuda': torch sees no CUDA device here; set device = 'cpu'")
        keep_freed_memory()
        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(1)  # several batches at once keep all threads busier than one batch on all of them
        self._config = config
        self._folder = folder
        self._crew = DecodeCrew(self._isolation(), config.threads)  # its processes start while networks are loaded
        self._pool = ThreadPool(config.threads)
        self._open, self._encoder = cache(self._load), cache(self._make_encoder)

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        """Write one tar for each output that is wanted.

        Raises:
            TransientError: what the media folder lies on is gone.
        """
        from stages.artifacts.shards import ShardWriter
        from stages.media.attempts import AttemptLog
        from stages.media.passes import Finished, Passes

        labels = sorted(out.wanted)
        consumers = [self._consumer(label) for label in labels]
        failures: list[Failure] = []
        log = AttemptLog(out.attempts_path(labels[0]))
        with ExitStack() as stack:
            jobs = self._jobs(unit, consumers)
            decoding = stack.enter_context(self._crew.decode(jobs, log, max_attempts=self._config.max_attempts))
            # Networks are loaded while the first videos are decoded.
            makers = [self._maker(label, consumer) for label, consumer in zip(labels, consumers, strict=True)]
            totals = [Counter(maker.counts) for maker in makers]
            writers = [
                stack.enter_context(ShardWriter(out.create(label, f"shards/{label.rpartition('.')[2]}.tar")))
                for label in labels
            ]
            for number, end in enumerate(Passes(makers, decoding).run(unit.inputs)):
                if isinstance(end, Finished):
                    for writer, total, sample in zip(writers, totals, end.samples, strict=True):
                        writer.add(end.video_id, sample.parts)
                        total.update(sample.counts)
                else:
                    _check_reachable(end, self._folder)
                    failures.append(_failure(end))
                out.report((number + 1) / len(unit.inputs))
        for label, total in zip(labels, totals, strict=True):
            out.describe(label, dict(total))
        return failures

    def close(self) -> None:
        """End decode processes and threads; whoever works in this process next has torch's threads as they were."""
        import torch

        self._crew.close()
        self._pool.close()
        torch.set_num_threads(self._threads_before)

    def _isolation(self) -> "IsolationSettings":
        from stages.media.process import IsolationSettings

        return IsolationSettings(deadline_s=self._config.deadline_s, memory_mib=self._config.memory_mib)

    def _load(self, label: str) -> "LoadedBackbone":
        from stages.media.backbones import open_backbone

        return open_backbone(self._config, label)

    def _jobs(self, unit: Unit, consumers: "Sequence[Consumer]") -> "list[Job]":
        from stages.media.ahead import Job

        common = {
            "decoder": decoder_name(self._config),
            "consumers": [consumer.to_json() for consumer in consumers],
            "required": required_consumers(self._config),
        }
        return [
            Job(
                input_id=member["video_id"],
                arguments={**common, **member["source"], "path": str(self._folder / member["source"]["path"])},
            )
            for member in unit.payload["members"]
        ]

    def _consumer(self, label: str) -> "Consumer":
        """Which frames an output is made of. Only a network that decides the size of its pictures is opened for it."""
        geometry = self._open(label).geometry if label in (CLIP, RESNET) else None
        return make_consumer(self._config, label, geometry)

    def _maker(self, label: str, consumer: "Consumer") -> "Maker":
        from stages.media.makers import FeatureMaker, FrameMaker, ThumbnailMaker

        config = self._config
        if label == THUMBNAILS:
            about = {"window_s": config.window_s, "stride_s": config.stride_s}
            return ThumbnailMaker(consumer=consumer, about=about)
        if label == FRAMES:
            return FrameMaker(consumer=consumer)
        recipe, (encoder, batch_size) = make_recipes(config)[label], self._encoder(label, consumer.frames_per_clip)
        return FeatureMaker(
            about={
                "backbone": label.partition(".")[2], "preset": recipe["preset"]["name"], "weights": recipe["weights"],
                "tail": config.tail,
            },
            consumer=consumer,
            encoder=encoder,
            batch_size=batch_size,
        )  # fmt: skip

    def _make_encoder(self, label: str, frames_per_clip: int) -> "tuple[Encoder, int]":
        """A network behind its queue, and how many clips it is handed at once."""
        from stages.media.backbones import cuda_encoder
        from stages.media.encoders import ThreadedEncoder

        loaded, batch_size = self._open(label), make_recipes(self._config)[label]["batch_size"]
        filling = cuda_encoder(loaded, batch_size, frames_per_clip) if self._config.device == "cuda" else None
        if filling is not None:
            return filling, 1
        return ThreadedEncoder(loaded.encode, self._pool), batch_size


def _unit(
    number: int, videos: Sequence[Video], recipes: dict[str, dict[str, Any]], required: dict[str, dict[str, Any]]
) -> Unit:
    contents = [[video.video_id, video.content_hash] for video in videos]
    return Unit(
        unit_id=f"{number:05d}",
        inputs=tuple(video.video_id for video in videos),
        payload={"members": [{"video_id": video.video_id, "source": video_source(video)} for video in videos]},
        identities={
            label: {"settings": recipe, "required": required, "videos": contents} for label, recipe in recipes.items()
        },
    )


def _check_reachable(refused: "Refused", folder: Path) -> None:
    """Tell a file that cannot be read from a medium that is gone: ingest has read the file.

    Raises:
        TransientError: the medium is gone.
    """
    if refused.error.cause == UNREACHABLE or (refused.error.cause == UNREADABLE and not _holds_anything(folder)):
        raise TransientError(
            f"the media folder {folder} cannot be read: {refused.error}; the unit stays open: run again when it is "
            "there"
        )


def _holds_anything(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False


def _failure(refused: "Refused") -> Failure:
    state, tried = ("quarantined", f" (after {refused.attempts} attempts)") if refused.attempts else ("failed", "")
    return Failure(input_id=refused.input_id, cause=refused.error.cause, message=f"{refused.error}{tried}", state=state)
