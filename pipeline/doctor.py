"""`fabula doctor`: examines a media folder with what ingest and extract are made of, and predicts their cost."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipeline.executors.base import Executor
from pipeline.progress import ProgressView
from pipeline.run import RunContext, run_stages
from pipeline.runs import start_run
from stages.artifacts.layout import Store
from stages.contract import Inputs, Worker
from stages.doctor.records import Diagnosis, FileState
from stages.errors import ConfigError
from stages.extract import CLIP_PRESETS, Extract, ExtractConfig, ExtractWorker, S3DConfig, make_consumer, make_recipes
from stages.ingest import Ingest, IngestConfig, find_files

if TYPE_CHECKING:
    from stages.media.backbones import LoadedBackbone


@dataclass(frozen=True)
class DecodeOnly(Extract):
    """Extract whose networks see nothing: the same decoding, the same states, no features."""

    def open(self, inputs: Inputs) -> Worker:
        """See `Extract.open`."""
        return _DecodeOnlyWorker(self.config, self.media.parent if self.media.is_file() else self.media)


class _DecodeOnlyWorker(ExtractWorker):
    def __init__(self, config: ExtractConfig, folder: Path) -> None:
        super().__init__(config, folder)
        self._open = cache(self._open_blind)

    def _open_blind(self, label: str) -> "LoadedBackbone":
        from stages.doctor.blind import blind_backbone

        return blind_backbone(CLIP_PRESETS[self._config.s3d.preset] if label == "features.s3d" else None)


def decode_all(
    ingest: IngestConfig,
    extract: ExtractConfig,
    files: Sequence[FileState],
    *,
    make_executor: Callable[[], Executor],
    view: ProgressView,
) -> list[FileState]:
    """Run ingest and extract without networks in a store that is thrown away, and give the states they come to.

    Args:
        ingest: names the media.
        extract: how it would be extracted.
        files: as examined.
        make_executor: what runs the units.
        view: told of the progress.
    """
    from stages.doctor.outcomes import apply_outcomes

    s3d = S3DConfig(preset=extract.s3d.preset, batch_size=extract.s3d.batch_size)
    blind = {"s3d": s3d, "thumbnails": False, "precision": "float32", "device": "cpu", "threads": 1}
    settings = extract.model_copy(update=blind)
    with TemporaryDirectory(prefix="fabula-doctor-") as folder:
        store = Store(Path(folder))
        context = RunContext(
            name="doctor", store=store, run=start_run(store, "0000", b""), make_executor=make_executor, view=view
        )
        outcome = run_stages([Ingest(ingest), DecodeOnly(settings, media=ingest.media)], context)
        if outcome.open_units:
            raise ConfigError(f"doctor: units stayed open: {outcome.open_units}; run the command again")
        features = [artifact for label, artifact in outcome.artifacts.items() if label.startswith("features.")]
        return apply_outcomes(files, outcome.artifacts["manifest"], features)
