"""Step localisation: one row for each step of a task, the steps in their order.

Of all ways to give each of a task's K steps one row, in order, the cheapest is taken; a cost is minus the log-softmax
of row state . step text over the task's steps, and background costs nothing. A step counts as found if its row lies in
one of its annotated segments. Recall is found / annotated steps of a task's videos, then the plain mean over the tasks.

Source: papers.md 7.7 and A.6 (CrossTask, arXiv:1903.08225; VideoCLIP's windows of 32 rows every 16). Where two ways
cost the same, the earlier row is kept, as the published recursion does. Departs from it in that a video with fewer rows
than steps is counted and left out, where the published code returns what lies in memory. Letters: T rows, K steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.artifacts.report_sections import Section, Table
from stages.datasets.records import Annotations, DatasetVideo, Segment, Task
from stages.evaluation.encoding import DatasetEncoder, RowStates
from stages.evaluation.material import Material
from stages.evaluation.numbers import write_number
from stages.evaluation.protocol_configs import StepLocalisationConfig
from stages.evaluation.records import F32, F64, I64, Outcome, ProtocolResult
from stages.evaluation.retrieval import Definition
from stages.evaluation.scoring import ProtocolSettings, outcome_score
from stages.training.embedder import rows_over

_EVENLY = "evenly spaced"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedVideo:
    """The steps of one video.

    Attributes:
        source_id: which.
        task: id of its task.
        annotated: steps that occur in it.
        found: of these, how many have their row in one of their segments.
        spaced: how many would if the steps were spread evenly.
        by_chance: how many would on average if each step had a row drawn alone.
    """

    source_id: str
    task: str
    annotated: int
    found: int
    spaced: int
    by_chance: float


def ordered_assignment(cost: F64) -> I64:
    """Choose one row for each step, in order, at the least total cost.

    Args:
        cost: (T, K) cost of each step at each row, T >= K.

    Returns:
        (K,) int64 rows, strictly ascending; of equal ways the one whose last step, then the one before, is earliest.

    Raises:
        ValueError: there are fewer rows than steps, or a cost is NaN.
    """
    num_rows, num_steps = cost.shape
    if num_rows < num_steps or bool(np.isnan(cost).any()):
        raise ValueError(f"cost: got shape {cost.shape}, expected at least as many rows as steps and no NaN")
    totals = np.empty((num_steps, num_rows))
    totals[0] = cost[:, 0]
    for step in range(1, num_steps):
        before = np.concatenate([[np.inf], np.minimum.accumulate(totals[step - 1])[:-1]])
        totals[step] = cost[:, step] + before
    rows = np.empty(num_steps, dtype=np.int64)
    end = num_rows
    for step in range(num_steps - 1, -1, -1):
        rows[step] = end = int(totals[step, :end].argmin())
    return rows


def step_costs(states: F32, texts: F32) -> F64:
    """Minus the log-softmax over a task's steps of row . text: (T, E) and (K, E) -> (T, K) float64."""
    logits = states.astype(np.float64) @ texts.astype(np.float64).T
    logits -= logits.max(axis=1, keepdims=True)
    found: F64 = np.log(np.exp(logits).sum(axis=1, keepdims=True)) - logits
    return found


def step_localisation(
    material: Material, config: StepLocalisationConfig, settings: ProtocolSettings
) -> list[ProtocolResult]:
    """Measure the recall of steps.

    Args:
        material: a data set with tasks and their segments.
        config: windows of rows.
        settings: bootstrap.

    Returns:
        `step_localisation`, with the step recall.
    """
    definition = Definition(
        name="step_localisation",
        title="Step localisation",
        definition="query = a video with the steps of its task in order; each step gets one row, in order; found = "
        "that row lies in a segment of the step; mean over tasks",
        similarity="least sum of minus log-softmax over the task's steps of row state . step text",
    )
    located, num_short = _locate_all(material.open_encoder, material.measured, config)
    missing = {"videos_with_fewer_rows_than_steps": num_short}
    if not located:
        return [definition.result(not_evaluated="no video with features has an annotated step", missing=missing)]
    outcome = Outcome(
        metric="step_recall",
        unit_ids=tuple(f"{video.task}/{video.source_id}" for video in located),
        values=np.array([video.found / video.annotated for video in located]),
        weights=np.array([float(video.annotated) for video in located]),
        groups=tuple(video.task for video in located),
    )
    score = outcome_score(
        outcome,
        settings,
        settings.generator(definition.name),
        chance=_mean_over_tasks(located, [video.by_chance for video in located]),
        baselines={_EVENLY: _mean_over_tasks(located, [video.spaced for video in located])},
    )
    return [
        definition.result(
            scores=(score,),
            outcomes=(outcome,),
            unit="video",
            num_units=len(located),
            missing=missing,
            sections=(_by_task(located, material.measured.tasks),),
        )
    ]


def _locate_all(
    encoder: DatasetEncoder, measured: Annotations, config: StepLocalisationConfig
) -> tuple[list[LocatedVideo], int]:
    """Every video of a primary task with annotation, and how many have fewer rows than their task has steps."""
    tasks = {task.task_id: task for task in measured.tasks if task.is_primary}
    texts = {task.task_id: encoder.texts(task.steps) for task in tasks.values()}
    segments: dict[tuple[str, str], list[Segment]] = {}
    for segment in measured.segments:
        segments.setdefault((segment.group, segment.source_id), []).append(segment)
    located, num_short = [], 0
    for video in measured.videos:
        own = segments.get((video.group, video.source_id))
        if video.group not in tasks or not own:
            continue
        states = encoder.states(
            video.source_id,
            window_rows=config.window_rows,
            stride_rows=config.stride_rows,
            cls_visible=config.cls_visible,
        )
        if states.real.sum() < len(tasks[video.group].steps):
            num_short += 1
            continue
        located.append(_locate(video, states, texts[video.group], own))
    return located, num_short


def _locate(video: DatasetVideo, states: RowStates, texts: F32, segments: Sequence[Segment]) -> LocatedVideo:
    real = np.flatnonzero(states.real)
    inside = np.zeros((len(states.spans), len(texts)), dtype=np.bool_)
    for segment in segments:
        ((start, end),) = rows_over(states.spans, np.array([[segment.start_s, segment.end_s]])).tolist()
        inside[start:end, segment.label_index] = True
    inside = inside[real]
    steps = np.arange(len(texts))
    rows = ordered_assignment(step_costs(states.states[real], texts))
    spaced = ((steps + 0.5) * len(real) / len(texts)).astype(np.int64)
    annotated = sorted({segment.label_index for segment in segments})
    return LocatedVideo(
        source_id=video.source_id,
        task=video.group,
        annotated=len(annotated),
        found=int(inside[rows, steps][annotated].sum()),
        spaced=int(inside[spaced, steps][annotated].sum()),
        by_chance=float(inside.mean(axis=0)[annotated].sum()),
    )


def _mean_over_tasks(located: Sequence[LocatedVideo], found: Sequence[float]) -> float:
    tops: dict[str, float] = {}
    bottoms: dict[str, float] = {}
    for video, number in zip(located, found, strict=True):
        tops[video.task] = tops.get(video.task, 0.0) + number
        bottoms[video.task] = bottoms.get(video.task, 0.0) + video.annotated
    return float(np.mean([tops[task] / bottoms[task] for task in tops]))


def _by_task(located: Sequence[LocatedVideo], tasks: Sequence[Task]) -> Section:
    titles = {task.task_id: task.title for task in tasks}
    rows = []
    for task in dict.fromkeys(video.task for video in located):
        own = [video for video in located if video.task == task]
        recall = sum(video.found for video in own) / sum(video.annotated for video in own)
        rows.append((titles[task], str(len(own)), write_number("step_recall", recall)))
    return Section(title="Step recall by task", tables=(Table(columns=("task", "videos", "recall"), rows=tuple(rows)),))
