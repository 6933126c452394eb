"""Few-shot action recognition: which of five classes is a video, when one or five videos of each are shown?

A video is a sequence of 8 rows spread evenly over it. It is compared with each shown video by aligning the sequences,
and given the class whose shown videos are nearest on the mean. Beside it stands what forgets order: the cosine of the
two mean rows. All on the same episodes. Rows are frozen features, or the states that the encoder gives them.

Source: papers.md 3.7 (OTAM, arXiv:1906.11415, in the code that TempCLR's few-shot branch shares). We depart from it in
that nothing is trained here, that the alignment is exact instead of softened by a lambda of 0.1, and that a tie misses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from models.alignment.dtw import dtw_score_matrix
from models.alignment.otam import otam_score_matrix
from stages.evaluation.bootstrap import paired_bootstrap
from stages.evaluation.classification import labelled_videos
from stages.evaluation.encoding import DatasetEncoder
from stages.evaluation.frame_protocol_configs import EpisodesConfig, FewShotConfig, FewShotStatesConfig
from stages.evaluation.frame_rows import EvenRows, unit_length
from stages.evaluation.material import Material
from stages.evaluation.metrics import ranks_of_targets
from stages.evaluation.records import F32, F64, I64, Outcome, ProtocolResult, Score
from stages.evaluation.retrieval import Definition, inner_products
from stages.evaluation.scoring import ProtocolSettings, outcome_score
from stages.training.dataset import FeatureRows
from stages.training.episodes import EpisodeShape, class_scores, draw_episodes

_BASELINE = "mean_row"
_TITLES = {_BASELINE: "cosine of mean rows", "otam": "OTAM", "dtw": "DTW"}
_SIMILARITIES = {
    _BASELINE: "cosine of the means of the rows, averaged over the videos shown of a class",
    "otam": "hard OTAM on 1 - cosine, both orientations, negated, averaged over the videos shown of a class",
    "dtw": "hard DTW on 1 - cosine, minus the cost a cell, averaged over the videos shown of a class",
}


def few_shot(material: Material, config: FewShotConfig, settings: ProtocolSettings) -> list[ProtocolResult]:
    """Measure every scorer with every number of shots.

    Args:
        material: a data set whose videos have classes; only the measured split is used.
        config: episodes and sequences.
        settings: bootstrap.

    Returns:
        `few_shot.<n>_shot.` `mean_row`, `otam`, `dtw`; the latter two also hold the paired difference to the first.
    """
    return _measure(material, EvenRows(material.features, config.num_frames), config, settings)


def few_shot_states(
    material: Material, config: FewShotStatesConfig, settings: ProtocolSettings
) -> list[ProtocolResult]:
    """Measure the same with the encoder's states in place of frozen rows; see `few_shot`."""
    reader = EvenRows(_States(material.open_encoder, config), config.num_frames)
    return _measure(material, reader, config, settings)


class _States:
    """The encoder's states of rows, as if they were rows."""

    def __init__(self, encoder: DatasetEncoder, config: FewShotStatesConfig) -> None:
        self._encoder, self._config = encoder, config

    def rows(self, source_id: str) -> FeatureRows:
        """See `RowSource`."""
        config = self._config
        found = self._encoder.states(
            source_id,
            window_rows=config.window_rows,
            stride_rows=config.stride_rows,
            cls_visible=config.cls_visible,
        )
        return FeatureRows(features=found.states, spans=found.spans, damaged=~found.real)


def _measure(
    material: Material, reader: EvenRows, config: EpisodesConfig, settings: ProtocolSettings
) -> list[ProtocolResult]:
    videos = labelled_videos(material.measured)
    sequences = [reader.rows(source_id) for source_id in videos.source_ids]
    pair_scores = score_pairs(sequences) if sequences else {}
    results: list[ProtocolResult] = []
    for shots in config.shots:
        shape = EpisodeShape(ways=config.ways, shots=shots, queries=config.queries, num_episodes=config.num_episodes)
        try:
            right = shares_right(pair_scores, videos.labels, shape, np.random.default_rng([config.seed, shots]))
        except ValueError as error:
            results += [_definition(scorer, shape, config).result(not_evaluated=str(error)) for scorer in _TITLES]
        else:
            results += [_result(scorer, right, shape, config, settings) for scorer in _TITLES]
    missing = {"videos_with_several_classes": videos.num_ambiguous}
    return [replace(result, missing=missing, warnings=reader.warnings) for result in results]


def score_pairs(sequences: Sequence[F32]) -> Mapping[str, F64]:
    """Compare every video with every other one.

    Args:
        sequences: V arrays (F, D).

    Returns:
        (V, V) float64 by scorer, greater is better.
    """
    # Cosines in float32: the 23,000 rows of a test list have 500 million of them.
    scores = {
        "otam": otam_score_matrix(sequences, sequences, precision="float32"),
        "dtw": dtw_score_matrix(sequences, sequences, precision="float32"),
    }
    means = unit_length(np.stack([rows.mean(axis=0) for rows in sequences]))
    return {_BASELINE: inner_products(means, means)(slice(None)).astype(np.float64), **scores}


def shares_right(
    pair_scores: Mapping[str, F64], labels: I64, shape: EpisodeShape, rng: np.random.Generator
) -> dict[str, F64]:
    """Share of each episode's videos that get their class, by scorer; all scorers see the same episodes.

    Args:
        pair_scores: (V, V) float64 by scorer.
        labels: (V,) int64.
        shape: of the episodes.
        rng: source of the draw.

    Returns:
        (E,) float64 in [0, 1] by scorer.

    Raises:
        ValueError: too few classes have enough videos.
    """
    episodes = draw_episodes(labels, shape, rng)
    targets = np.tile(np.repeat(np.arange(shape.ways), shape.queries), shape.num_episodes)
    right = {}
    for scorer, scores in pair_scores.items():
        ranks = ranks_of_targets(class_scores(scores, episodes).reshape(-1, shape.ways), targets)
        right[scorer] = np.asarray((ranks <= 1).reshape(shape.num_episodes, -1).mean(axis=1))
    return right


def _result(
    scorer: str, right: Mapping[str, F64], shape: EpisodeShape, config: EpisodesConfig, settings: ProtocolSettings
) -> ProtocolResult:
    """Accuracy over episodes, and how much of it order is worth."""
    definition, own = _definition(scorer, shape, config), right[scorer]
    generator = settings.generator(definition.name)
    ids = tuple(f"e{number:05d}" for number in range(len(own)))
    outcome = Outcome(metric="accuracy", unit_ids=ids, values=own, weights=np.ones(len(own)))
    scores: tuple[Score, ...] = (outcome_score(outcome, settings, generator, chance=1.0 / shape.ways),)
    if scorer != _BASELINE:
        gain = paired_bootstrap(own, right[_BASELINE], rng=generator, settings=settings.bootstrap)
        name = f"accuracy_minus_{_BASELINE}"
        scores += (Score(name=name, value=gain.value, low=gain.low, high=gain.high, chance=None),)
    return definition.result(scores=scores, outcomes=(outcome,), unit="episode", num_units=len(own))


def _definition(scorer: str, shape: EpisodeShape, config: EpisodesConfig) -> Definition:
    return Definition(
        name=f"few_shot.{shape.shots}_shot.{scorer}",
        title=f"{shape.ways}-way {shape.shots}-shot, {_TITLES[scorer]}",
        definition=f"query = a video of a {shape.ways}-way {shape.shots}-shot episode; gallery = its {shape.ways} "
        f"classes; a video is {config.num_frames} rows spread over it; {shape.num_episodes} episodes",
        similarity=_SIMILARITIES[scorer],
    )
