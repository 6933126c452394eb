"""How far two features artifacts of the same videos agree: the cosine of every row that both have."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.artifacts.layout import ArtifactDir
from stages.artifacts.sealed import Artifact, require_sealed
from stages.errors import ConfigError
from stages.training.dataset import FeatureEntry, feature_entries

PERCENTILES = (0.1, 1.0, 5.0, 50.0)
_SAME_START_S = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class CosineStats:
    """Of the cosines of some rows; all numbers but the count are None where there is no row.

    Attributes:
        num_rows: how many rows were compared.
        minimum: of the cosines, as are the following.
        mean: over rows.
        percentiles: the cosine below which so many per cent of the rows lie, by `PERCENTILES`.
    """

    num_rows: int
    minimum: float | None
    mean: float | None
    percentiles: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoComparison:
    """One video that both have.

    Attributes:
        video_id: which.
        shape_a: (rows, components) in the first artifact.
        shape_b: in the second.
        only_a: rows whose start has no row in the second.
        only_b: rows whose start has no row in the first.
        mask_differs: rows that one of the two calls damaged and the other not.
        cosine: of the rows that both have; none if their widths differ.
    """

    video_id: str
    shape_a: tuple[int, int]
    shape_b: tuple[int, int]
    only_a: int
    only_b: int
    mask_differs: int
    cosine: CosineStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two features artifacts beside each other.

    Attributes:
        a: the first one's reference, as are the weights that made it.
        b: the second one's.
        weights_a: as its description names them.
        weights_b: as its description names them.
        only_a: videos that the second lacks.
        only_b: videos that the first lacks.
        videos: those that both have, by id.
        cosine: over all rows of all videos.
    """

    a: str
    b: str
    weights_a: str
    weights_b: str
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    videos: tuple[VideoComparison, ...]
    cosine: CosineStats

    @property
    def differing(self) -> tuple[VideoComparison, ...]:
        """Videos whose rows are not the same ones, or not as wide."""
        return tuple(v for v in self.videos if v.only_a or v.only_b or v.shape_a[1] != v.shape_b[1])

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)

    def lines(self, most: int = 10) -> list[str]:
        """For people: the whole, what differs in kind, and the videos that agree least."""
        lines = [f"a {self.a} ({self.weights_a})", f"b {self.b} ({self.weights_b})"]
        lines.append(f"{len(self.videos)} videos in both, {len(self.only_a)} only in a, {len(self.only_b)} only in b")
        lines.append(f"all rows: {_text(self.cosine)}")
        for video in self.differing[:most]:
            lines.append(
                f"  {video.video_id}: shape {video.shape_a} against {video.shape_b}, {video.only_a} rows only in a, "
                f"{video.only_b} only in b"
            )
        if len(self.differing) > most:
            lines.append(f"  ... {len(self.differing) - most} more whose rows differ in number, place or width")
        compared = [video for video in self.videos if video.cosine.minimum is not None]
        for video in sorted(compared, key=lambda v: v.cosine.minimum or 0.0)[:most]:
            lines.append(f"  {video.video_id}: {_text(video.cosine)}")
        return lines


def open_features(path: Path) -> Artifact:
    """Open a sealed features artifact by its folder, `<root>/features/<name>`.

    Raises:
        ConfigError: there is none.
        NotSealed: it is unfinished.
    """
    folder = path.absolute()
    directory = ArtifactDir(folder.parent.parent, folder.parent.name, folder.name)
    if directory.kind != "features" or not directory.description_path.is_file():
        raise ConfigError(f"{path}: this is no features artifact; expected a folder <root>/features/<name>")
    return require_sealed(Artifact(directory))


def compare_features(a: Artifact, b: Artifact) -> Comparison:
    """Compare two sealed features artifacts.

    Rows are matched by video id and by the start of their spans (to a millisecond). Damaged rows are compared as all
    others. Two zero rows have the cosine 1, a zero row and another one 0.
    """
    entries_a, entries_b = feature_entries(a, _backbone(a)), feature_entries(b, _backbone(b))
    videos, cosines = [], []
    for video_id in sorted(set(entries_a) & set(entries_b)):
        video, cosine = _compare_video(video_id, entries_a[video_id], entries_b[video_id])
        videos.append(video)
        cosines.append(cosine)
    return Comparison(
        a=a.directory.reference,
        b=b.directory.reference,
        weights_a=str(a.about.get("weights", "unknown")),
        weights_b=str(b.about.get("weights", "unknown")),
        only_a=tuple(sorted(set(entries_a) - set(entries_b))),
        only_b=tuple(sorted(set(entries_b) - set(entries_a))),
        videos=tuple(videos),
        cosine=cosine_stats(cosines),
    )


def row_cosines(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Cosines of two matrices' rows: (N, D), (N, D) -> (N,) float64."""
    left, right = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1)
    product = lengths[0] * lengths[1]
    safe = np.where(product > 0, product, 1.0)
    cosines: NDArray[np.float64] = np.where(
        product > 0, np.sum(left * right, axis=1) / safe, (lengths[0] == lengths[1]).astype(np.float64)
    )
    return cosines


def cosine_stats(parts: Sequence[NDArray[np.float64]]) -> CosineStats:
    """Statistics over all rows of all parts."""
    cosines = np.concatenate(parts) if parts else np.zeros(0)
    if not len(cosines):
        return CosineStats(num_rows=0, minimum=None, mean=None, percentiles={})
    return CosineStats(
        num_rows=len(cosines),
        minimum=float(cosines.min()),
        mean=float(cosines.mean()),
        percentiles={f"{p:g}": float(np.percentile(cosines, p)) for p in PERCENTILES},
    )


def _compare_video(video_id: str, a: FeatureEntry, b: FeatureEntry) -> tuple[VideoComparison, NDArray[np.float64]]:
    rows_a, rows_b = a.map_features(), b.map_features()
    in_a, in_b = _common_rows(a.read_spans()[:, 0], b.read_spans()[:, 0])
    comparable = rows_a.shape[1] == rows_b.shape[1]
    cosines = row_cosines(rows_a[in_a], rows_b[in_b]) if comparable else np.zeros(0)
    video = VideoComparison(
        video_id=video_id,
        shape_a=(rows_a.shape[0], rows_a.shape[1]),
        shape_b=(rows_b.shape[0], rows_b.shape[1]),
        only_a=len(rows_a) - len(in_a),
        only_b=len(rows_b) - len(in_b),
        mask_differs=int(np.sum(a.read_damaged()[in_a] != b.read_damaged()[in_b])),
        cosine=cosine_stats([cosines]),
    )
    return video, cosines


def _common_rows(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the rows whose starts agree."""
    keys = [np.round(starts / _SAME_START_S).astype(np.int64) for starts in (a, b)]
    _, in_a, in_b = np.intersect1d(keys[0], keys[1], return_indices=True)
    return in_a, in_b


def _backbone(artifact: Artifact) -> str:
    return artifact.label.partition(".")[2]


def _text(stats: CosineStats) -> str:
    if stats.minimum is None:
        return "no row to compare"
    percentiles = ", ".join(f"p{p} {value:.6f}" for p, value in stats.percentiles.items())
    return f"{stats.num_rows} rows, cosine min {stats.minimum:.6f}, mean {stats.mean:.6f}, {percentiles}"
