"""Action segmentation: a step, or the background, for every row of a video, zero-shot or by a fine-tuned head.

Zero-shot: a row's state against the texts of the steps of the measured split (their labels, no prompt); the best one is
predicted where it exceeds gamma, else background. With a head: the best of its labels. Rows that are damaged are not
measured. Micro accuracy over all rows, background included, is the published metric; because a published 58.9 % turned
out to be all background (fairseq#4940), the share of predicted background, the accuracy of predicting nothing else, and
the F1 without background always stand beside it.

Source: papers.md 7.5 (VideoCLIP on COIN: windows of 32 rows every 16, [CLS] masked out, gamma the largest dot product
of two different labels). Departs from it in the other thresholds that may be chosen.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from stages.artifacts.report_sections import Section, Table
from stages.datasets.records import Annotations, Segment
from stages.evaluation.encoding import DatasetEncoder
from stages.evaluation.material import Material
from stages.evaluation.numbers import write_number
from stages.evaluation.protocol_configs import SegmentationConfig
from stages.evaluation.records import F32, F64, I64, Outcome, ProtocolResult
from stages.evaluation.retrieval import Definition
from stages.evaluation.scoring import ProtocolSettings, outcome_score
from stages.evaluation.segmentation import (
    RowCounts,
    RowGuesses,
    Similarity,
    count_rows,
    gamma_of_labels,
    gamma_of_training,
    similarities,
)
from stages.training.row_windows import BACKGROUND, row_targets

_ALWAYS = "always background"

_DEGENERATE = 0.95
"""Share of predicted background from which on a prediction says nothing."""

_ONE_STEP = 0.5
"""Share of one step among all predicted steps above which it is named."""

Guess = Callable[[F32], tuple[I64, F64]]
"""(N, E) states -> (N,) labels and (N,) strengths."""


def action_segmentation(
    material: Material, config: SegmentationConfig, settings: ProtocolSettings
) -> list[ProtocolResult]:
    """Measure how rows are labelled.

    Args:
        material: a data set with segments whose steps are shared; its training split, if gamma is chosen on that.
        config: windows, head and threshold.
        settings: bootstrap.

    Returns:
        `action_segmentation`, with frame accuracy, frame F1 without background, and the share of background.

    Raises:
        ConfigError: the encoder has no head, or takes fewer rows than a window has.
    """
    definition = Definition(
        name="action_segmentation",
        title="Action segmentation",
        definition="query = a row of a video; gallery = the background and the steps of the split; rows count alike, "
        "whatever their video",
        similarity=_words(config),
    )
    measured = material.measured
    if not measured.segments:
        return [definition.result(not_evaluated="no video with features has an annotated step")]
    if config.head == "checkpoint":
        guesses = list(_guesses(material.open_encoder, measured, config, _head(material.open_encoder)))
        return [_result(definition, measured, guesses, [guess.label for guess in guesses], settings)]
    if config.gamma == "train" and not material.usable.of_split("train").segments:
        why = "gamma = 'train' needs videos of the training split with features and annotation; there are none"
        return [definition.result(not_evaluated=why)]
    return [_zero_shot(definition, material, config, settings)]


def _zero_shot(
    definition: Definition, material: Material, config: SegmentationConfig, settings: ProtocolSettings
) -> ProtocolResult:
    encoder, measured = material.open_encoder, material.measured
    names = {segment.label_index: segment.label for segment in measured.segments}
    steps = np.array(sorted(names), dtype=np.int64)
    texts = encoder.texts([names[step] for step in steps.tolist()])
    guesses = list(_guesses(encoder, measured, config, _by_text(steps, texts, config.similarity)))
    gamma = config.gamma
    if gamma == "labels":
        gamma = gamma_of_labels(texts, config.similarity)
    elif gamma == "train":
        train = material.usable.of_split("train")
        gamma = gamma_of_training(list(_guesses(encoder, train, config, _by_text(steps, texts, config.similarity))))
    predicted = [guess.above(float(gamma)) for guess in guesses]
    result = _result(definition, measured, guesses, predicted, settings)
    return replace(result, sections=(_threshold_section(guesses, float(gamma), config),))


def _by_text(steps: I64, texts: F32, similarity: Similarity) -> Guess:
    """The step whose text is most like a row, and how much."""

    def guess(states: F32) -> tuple[I64, F64]:
        found = similarities(states, texts, similarity)
        best = found.argmax(axis=1)
        return steps[best], found[np.arange(len(found)), best]

    return guess


def _head(encoder: DatasetEncoder) -> Guess:
    """The best label of the encoder's own head, of which label 0 is the background."""

    def guess(states: F32) -> tuple[I64, F64]:
        logits = encoder.label_logits(states)
        return logits.argmax(axis=1).astype(np.int64), logits.max(axis=1).astype(np.float64)

    return guess


def _guesses(
    encoder: DatasetEncoder, annotations: Annotations, config: SegmentationConfig, guess: Guess
) -> Iterator[RowGuesses]:
    """What is said of the real rows of each video, in the order of the videos."""
    segments: dict[str, list[Segment]] = {video.source_id: [] for video in annotations.videos}
    for segment in annotations.segments:
        segments[segment.source_id].append(segment)
    for source_id, own in segments.items():
        video = encoder.states(
            source_id,
            window_rows=config.window_rows,
            stride_rows=config.stride_rows,
            cls_visible=config.cls_visible,
        )
        label, strength = guess(video.states[video.real])
        yield RowGuesses(target=row_targets(video.spans, own)[video.real], label=label, strength=strength)


def _result(
    definition: Definition,
    measured: Annotations,
    guesses: Sequence[RowGuesses],
    predicted: Sequence[I64],
    settings: ProtocolSettings,
) -> ProtocolResult:
    source_ids = list(dict.fromkeys(video.source_id for video in measured.videos))
    counts = count_rows([guess.target for guess in guesses], predicted)
    outcomes = _outcomes(source_ids, counts)
    baselines = {
        "frame_accuracy": {_ALWAYS: counts.always_background},
        "frame_f1": {_ALWAYS: 0.0},
        "predicted_background": {"annotated background": counts.always_background},
    }
    rng = settings.generator(definition.name)
    return definition.result(
        scores=tuple(outcome_score(found, settings, rng, baselines=baselines[found.metric]) for found in outcomes),
        outcomes=outcomes,
        unit="video",
        num_units=len(source_ids),
        warnings=_warnings(counts, predicted),
    )


def _outcomes(source_ids: Sequence[str], counts: RowCounts) -> tuple[Outcome, ...]:
    """Accuracy and background over all rows; F1 over the videos in which there is anything to find or was found.

    There is no F1 where no video has any: every row of a step may be damaged.
    """

    def outcome(metric: str, top: F64, bottom: F64) -> Outcome:
        kept = np.flatnonzero(bottom)
        ids = tuple(source_ids[place] for place in kept.tolist())
        return Outcome(metric=metric, unit_ids=ids, values=top[kept] / bottom[kept], weights=bottom[kept])

    found = (
        outcome("frame_accuracy", counts.right, counts.rows),
        outcome("frame_f1", 2 * counts.hits, counts.said + counts.steps),
        outcome("predicted_background", counts.rows - counts.said, counts.rows),
    )
    return tuple(outcome for outcome in found if outcome.unit_ids)


def _warnings(counts: RowCounts, predicted: Sequence[I64]) -> tuple[str, ...]:
    found = []
    if counts.background >= _DEGENERATE:
        found.append(
            f"{counts.background:.1%} of the rows are predicted as background; predicting nothing else has an accuracy "
            f"of {counts.always_background:.1%}"
        )
    elif counts.accuracy <= counts.always_background:
        found.append(
            f"the accuracy of {counts.accuracy:.1%} is not above {counts.always_background:.1%}, that of predicting "
            "nothing but background"
        )
    said = np.concatenate(predicted)
    labels, times = np.unique(said[said != BACKGROUND], return_counts=True)
    if len(labels) > 1 and times.max() > _ONE_STEP * times.sum():
        found.append(f"step {labels[times.argmax()]} is {times.max() / times.sum():.0%} of all predicted steps")
    return tuple(found)


def _threshold_section(guesses: Sequence[RowGuesses], gamma: float, config: SegmentationConfig) -> Section:
    """What other thresholds would have come to, among them the best there is for these rows."""
    every = np.sort(np.concatenate([guess.strength for guess in guesses]))
    thresholds = {
        f"gamma = {config.gamma}": gamma,
        "no background": -np.inf,
        "best F1 here": gamma_of_training(guesses),
    }
    thresholds |= {f"{share:.0%} background": float(np.quantile(every, share)) for share in (0.25, 0.5, 0.75)}
    rows = []
    for words, value in thresholds.items():
        counts = count_rows([guess.target for guess in guesses], [guess.above(value) for guess in guesses])
        numbers = (("frame_accuracy", counts.accuracy), ("frame_f1", counts.f1), ("", counts.background))
        rows.append((words, f"{value:.3f}", *(write_number(name, number) for name, number in numbers)))
    columns = ("threshold", "value", "frame accuracy", "frame F1", "predicted background")
    return Section(
        title="What the threshold decides",
        note="The best F1 is looked for on these very rows: no threshold can reach more.",
        tables=(Table(columns=columns, rows=tuple(rows)),),
    )


def _words(config: SegmentationConfig) -> str:
    if config.head == "checkpoint":
        return "the largest logit of the encoder's own head on the row's state"
    return f"{config.similarity} of the row's state and the step's text; background where none exceeds {config.gamma}"
