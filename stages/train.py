"""train: frozen features and narrations become a checkpoint of a two-tower encoder.

Planning chooses the videos of the train split that have both, and refuses what could not train before an hour is
spent on it. The one unit, `run`, keeps checkpoints in its scratch folder and goes on from the newest after a kill.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from stages.artifacts.hashing import fingerprint, hash_bytes, hash_file, pretty_json
from stages.artifacts.manifest import Video, read_videos
from stages.artifacts.tables import FLOAT64, INT64, columns_table, write_table
from stages.contract import Failure, Inputs, Out, Output, Resources, Stage, StageConfig, Unit, Worker
from stages.datasets.splits import TRAIN, holdout_split, read_splits
from stages.errors import ConfigError
from stages.training.dataset import TimedText, feature_entries, join_videos, narrations_by_video, unit_entries
from stages.training.optimisation import Optimisation
from stages.training.sampling import OverlapSampling
from stages.training.sizes import EncoderSizes

if TYPE_CHECKING:
    from models.encoders.checkpoint import DualCheckpoint
    from stages.training.checkpoints import StepRecord

SCHEMA = 1
RUN = "run"
HISTORY, TRAINED_ON = "history.parquet", "trained_on.txt"
_HISTORY_SCHEMA = {"step": INT64, "loss": FLOAT64, "learning_rate": FLOAT64}
_MOST_REPORTS = 200
_CHANGES_NO_BYTES = {"splits", "holdout_fraction", "holdout_seed", "bert", "checkpoint_every"}
"""The chosen videos and the files' content count, not how they were named."""


class TrainConfig(StageConfig):
    """What is trained, on what, and how; the defaults are VideoCLIP's.

    Attributes:
        objective: the paper whose loss is minimised.
        backbone: whose features the video tower reads.
        splits: CSV `video,split,pair`; without one, videos are held out by a hash of their ids.
        holdout_fraction: share of videos held out without a splits file; evaluate must be given the same.
        holdout_seed: another seed holds out others; evaluate must be given the same.
        bert: folder of a BERT in the hub's layout that both towers start from; None starts from random weights, with a
            tokenizer that is trained on the narrations.
        encoder: sizes.
        standardise_features: put the components of the features on one scale; what is saved holds it folded in. The
            published training does not; without it, features of random weights teach nothing.
        batch_videos: videos in a batch.
        sampling: pairs of a video.
        optimisation: optimiser, schedule, precision, device.
        seed: of weights, order, sampling and dropout.
        checkpoint_every: steps between two resumable checkpoints.
    """

    objective: Literal["videoclip"] = "videoclip"
    backbone: Literal["s3d", "clip"] = "s3d"
    splits: Path | None = None
    holdout_fraction: float = Field(default=0.2, ge=0, le=1)
    holdout_seed: int = Field(default=0, ge=0)
    bert: Path | None = None
    encoder: EncoderSizes = EncoderSizes()
    standardise_features: bool = True
    batch_videos: int = Field(default=32, ge=1)
    sampling: OverlapSampling = OverlapSampling()
    optimisation: Optimisation = Optimisation()
    seed: int = Field(default=0, ge=0)
    checkpoint_every: int = Field(default=200, ge=1)

    @model_validator(mode="after")
    def _samples_fit_the_towers(self) -> "TrainConfig":
        """Refuse samples that a tower cannot take."""
        for drawn, taken in (("max_rows", "max_video_len"), ("kept_text_tokens", "max_text_len")):
            got, most = getattr(self.sampling, drawn), getattr(self.encoder, taken)
            if got > most:
                raise ValueError(f"sampling.{drawn} is {got}, but encoder.{taken} is {most}; lower the one")
        if self.batch_videos * self.sampling.draws_per_video < 2:
            raise ValueError("a batch of one pair has no negatives; raise batch_videos or sampling.draws_per_video")
        return self


@dataclass(frozen=True)
class Train(Stage):
    """Settings of train."""

    config: TrainConfig

    name: ClassVar[str] = "train"
    version: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """Features, narrations, and the manifest for the names in a splits file."""
        return ("manifest", self._features, "paragraphs")

    def outputs(self) -> tuple[Output, ...]:
        """The checkpoint."""
        return (Output(label="checkpoint", schema=SCHEMA),)

    def resources(self) -> Resources:
        """One worker; a card if the device is one."""
        settings = self.config.optimisation
        return Resources(num_cpus=settings.threads, num_gpus=float(settings.device == "cuda"), max_workers=1)

    def units(self, inputs: Inputs) -> list[Unit]:
        """One unit: the run. Its inputs are the narrated train videos that have features.

        Raises:
            ConfigError: the train split has no narration, or fewer videos than a batch.
        """
        chosen, source = self._choose(read_videos(inputs["manifest"]))
        narrations = narrations_by_video(inputs["paragraphs"])
        narrated = [video_id for video_id in chosen if video_id in narrations]
        features = inputs[self._features]
        by_unit = {
            record.fingerprint: unit_entries(features, record, self.config.backbone) for record in features.records
        }
        members = sorted(set(narrated) & {video_id for entries in by_unit.values() for video_id in entries})
        self._check(len(chosen), source, len(narrated), len(members))
        identity = {
            "config": self.config.model_dump(mode="json", exclude=_CHANGES_NO_BYTES),
            "bert": _content_of(self.config.bert),
            "features": sorted(name for name, entries in by_unit.items() if not entries.keys().isdisjoint(members)),
            "videos": fingerprint(members),
            "narrations": fingerprint([_rows(narrations[video_id]) for video_id in members]),
        }
        payload = {"video_ids": members}
        return [Unit(unit_id=RUN, inputs=tuple(members), payload=payload, identities={"checkpoint": identity})]

    def open(self, inputs: Inputs) -> Worker:
        """Nothing is loaded yet: the unit reads what it needs."""
        return TrainWorker(self.config, inputs, self._features)

    @property
    def _features(self) -> str:
        return f"features.{self.config.backbone}"

    def _choose(self, videos: Sequence[Video]) -> tuple[list[str], str]:
        """The videos of the train split, and where the split comes from, in words."""
        config = self.config
        if config.splits is None:
            seed, fraction = config.holdout_seed, config.holdout_fraction
            ids = [video.video_id for video in videos]
            return [name for name in ids if holdout_split(name, fraction, seed) == TRAIN], "a hash of the ids"
        if not config.splits.is_file():
            raise ConfigError(
                f"[train] splits = {config.splits}: there is no such file; expected a CSV video,split,pair"
            )
        return list(read_splits(config.splits, videos).video_ids(TRAIN)), config.splits.name

    def _check(self, num_chosen: int, source: str, num_narrated: int, num_members: int) -> None:
        """Refuse what could not train."""
        if not num_narrated:
            raise ConfigError(
                f"[train] none of the {num_chosen} videos of the train split (by {source}) has a narration; give "
                "captions ([align] captions), or set encoder = 's3d-text', which needs no training"
            )
        if num_members < self.config.batch_videos:
            raise ConfigError(
                f"[train] {num_members} of the {num_narrated} narrated videos of the train split (by {source}) have "
                f"features, but a batch takes batch_videos = {self.config.batch_videos}; lower it, or add videos"
            )


class TrainWorker:
    """Trains one encoder."""

    def __init__(self, config: TrainConfig, inputs: Inputs, features: str) -> None:
        self._config = config
        self._features = inputs[features]
        self._paragraphs = inputs["paragraphs"]

    def process(self, unit: Unit, out: Out) -> Iterable[Failure]:
        """Train, and write the encoder's folder and the history; a video without an intact row is a failure."""
        from stages.training.batches import PairSource
        from stages.training.loop import fixed_arithmetic, train
        from stages.training.start import open_tokenizer, start_checkpoint
        from stages.training.videoclip import VideoCLIPObjective, measure_scale, sample_videos

        config, wanted = self._config, set(unit.payload["video_ids"])
        narrations = {name: rows for name, rows in narrations_by_video(self._paragraphs).items() if name in wanted}
        entries = {k: v for k, v in feature_entries(self._features, config.backbone).items() if k in wanted}
        sentences = (row.text for name in sorted(narrations) for row in narrations[name])
        tokenizer = open_tokenizer(config.encoder, sentences, bert=config.bert)
        videos = join_videos(entries, narrations, lambda texts: [tokenizer.pieces(t) for t in texts], config.sampling)
        source = PairSource(
            videos, config.sampling, tokenizer.frame, batch_videos=config.batch_videos, seed=config.seed
        )
        feature_dim = videos[0].entry.map_features().shape[1]
        checkpoint = start_checkpoint(
            config.encoder, tokenizer, config.backbone, feature_dim=feature_dim, bert=config.bert, seed=config.seed
        )
        scale = measure_scale(sample_videos(videos, config.seed)) if config.standardise_features else None
        objective = VideoCLIPObjective(checkpoint.encoder, scale)
        history = train(
            objective,
            source,
            config.optimisation,
            seed=config.seed,
            scratch_dir=out.scratch_dir("checkpoint"),
            checkpoint_every=config.checkpoint_every,
            on_step=lambda done, total, loss: _report(out, done, total, loss),
        )
        with fixed_arithmetic(config.optimisation.threads):
            objective.cpu().fold_scale()
        self._write(checkpoint, history, [video.video_id for video in videos], out)
        return _unused(wanted - {video.video_id for video in videos})

    def close(self) -> None:
        """Nothing is held."""

    def _write(
        self, checkpoint: "DualCheckpoint", history: "Sequence[StepRecord]", video_ids: Sequence[str], out: Out
    ) -> None:
        """Write the encoder's folder file by file, the history, and which videos were trained on."""
        from models.encoders.checkpoint import ENCODER_FILE, save_dual

        folder = out.scratch_dir("checkpoint") / "encoder"
        save_dual(checkpoint, folder)
        trained_on = "".join(f"{video_id}\n" for video_id in video_ids).encode()
        training = {
            "objective": self._config.objective,
            "steps": len(history),
            "num_videos": len(video_ids),
            "videos_xxh3_128": hash_bytes(trained_on),
            "preset": self._features.about["preset"]["name"],
        }
        facts = json.loads((folder / ENCODER_FILE).read_bytes()) | {"training": training}
        (folder / ENCODER_FILE).write_bytes(pretty_json(facts))
        (folder / TRAINED_ON).write_bytes(trained_on)
        for path in sorted(folder.iterdir()):
            with out.create("checkpoint", path.name) as file:
                file.write(path.read_bytes())
        columns = {name: [getattr(record, name) for record in history] for name in _HISTORY_SCHEMA}
        write_table(out.create("checkpoint", HISTORY), columns_table(_HISTORY_SCHEMA, columns))
        info = {**training, "train_videos": list(video_ids), "start_weights": checkpoint.start_weights}
        out.describe("checkpoint", info | {"final_loss": history[-1].loss})


def _report(out: Out, done: int, total: int, loss: float) -> None:
    """Report, but not more than some hundred times a run."""
    if done % max(1, total // _MOST_REPORTS) == 0 or done == total:
        out.report(done / total, f"loss {loss:.2f}")


def _unused(video_ids: Iterable[str]) -> list[Failure]:
    return [
        Failure(
            input_id=video_id,
            cause="no_usable_narration",
            message=f"{video_id}: every feature row that its narrations touch is damaged, so it was not trained on",
        )
        for video_id in sorted(video_ids)
    ]


def _rows(narrations: Iterable[TimedText]) -> list[list[Any]]:
    return [[row.start_s, row.end_s, row.text] for row in narrations]


def _content_of(folder: Path | None) -> Mapping[str, str]:
    """Hash of each file of a BERT's folder by name.

    Raises:
        ConfigError: there is no such folder.
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        raise ConfigError(f"[train] bert = {folder}: there is no such folder; expected a BERT in the hub's layout")
    return {path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.is_file()}
