"""Each fine-tuning objective improves on its zero-shot start on the small generated set of its protocol."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from pipeline.executors.inline import InlineExecutor
from pipeline.progress import LineProgress
from pipeline.run import RunContext, run_stages
from pipeline.runs import start_run
from stages.artifacts.layout import Store
from stages.train import Train, TrainConfig
from stages.training.objectives import Objective
from stages.training.opening import encoder_dir
from stages.training.optimisation import Optimisation
from tests import annotation_samples as files
from tests.annotation_samples import Scene
from tests.benchmark_samples import BACKGROUND, Corpus, CorpusConfig, SmallBenchmarks, scores_of, train_encoder
from tests.training_samples import STEPS

SCENE_S = 3
OTHER_WORDS = ("slice vegetables", "make omelettes", "clean dishes", "knead dough", "simmer broth", "scrape roots")
"""The steps in words that the start has never read."""
ORDERS = [(first, second) for first in range(6) for second in range(6) if first != second]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder that has begun to learn what six steps look like."""
    return train_encoder(tmp_path_factory.mktemp("start"), steps=4)


def scenes(shown: Sequence[int]) -> list[Scene]:
    """Scenes of a video that shows steps for SCENE_S seconds each, nothing annotated where it is BACKGROUND."""
    return [
        (float(place * SCENE_S), float((place + 1) * SCENE_S), step)
        for place, step in enumerate(shown)
        if step != BACKGROUND
    ]


def rows(shown: Sequence[int]) -> tuple[int, ...]:
    return tuple(step for step in shown for _ in range(SCENE_S))


def tune(small: SmallBenchmarks, objective: Mapping[str, Any], folder: Path, *, steps: int) -> Path:
    """Fine-tune the encoder of `small` on its videos; the folder of what comes out."""
    config = TrainConfig(
        objective=TypeAdapter(Objective).validate_python({"standardise_features": True, **objective}),
        start=small.encoder,
        optimisation=Optimisation(steps=steps, learning_rate=1e-3, warmup_steps=5, decay_steps=steps, threads=1),
    )
    store = Store(small.root)
    context = RunContext(
        name="tune",
        store=store,
        run=start_run(store, "beef", b""),
        make_executor=lambda: InlineExecutor(num_retries=0),
        view=LineProgress(),
    )
    outcome = run_stages([Corpus(small.corpus), Train(config)], context)
    with encoder_dir(outcome.artifacts["checkpoint"]) as made:
        folder.mkdir()
        for path in made.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def before_and_after(
    small: SmallBenchmarks, objective: Mapping[str, Any], benchmark: dict[str, Any], tuned: Mapping[str, Any], name: str
) -> tuple[float, float]:
    """A protocol's score of the start, and of what fine-tuning made of it; `tuned` changes the protocol for that."""
    protocol, _, metric = name.partition(":")
    encoder = tune(small, objective, small.root / "tuned", steps=60)
    first = scores_of(small.measure(benchmark), protocol)[metric]
    changed = {**benchmark, "protocol": {**benchmark["protocol"], **tuned}}
    second = scores_of(replace(small, encoder=encoder).measure(changed), protocol)[metric]
    return first, second


def corpus(root: Path, start: Path, shown: Mapping[str, Sequence[int]]) -> SmallBenchmarks:
    """A store of videos, and room for annotation files beside it."""
    (root / "store").mkdir()
    videos = {name: rows(steps) for name, steps in shown.items()}
    return SmallBenchmarks(root=root / "store", encoder=start, corpus=CorpusConfig(videos=videos))


def test_text_to_video(tmp_path: Path, start: Path) -> None:
    """YouCook2's form: annotated clips, each of two steps in an order that its sentence tells."""
    drawn = np.random.default_rng(0).permutation(len(ORDERS) * 4) % len(ORDERS)
    shown = {f"v{i:02d}": ORDERS[order] for i, order in enumerate(drawn.tolist())}
    clips = {name: [(0.0, 2.0 * SCENE_S, 0)] for name in shown}
    texts = {name: [f"{STEPS[a]} then {STEPS[b]}"] for name, (a, b) in shown.items()}
    names, measured = sorted(shown), [list(drawn).index(order) for order in range(len(ORDERS))]
    test = {names[place]: clips[names[place]] for place in measured}
    train = {name: clips[name] for name in names if name not in test}
    dataset = files.youcook2(tmp_path, train, test, texts)
    first, second = before_and_after(
        corpus(tmp_path, start, shown),
        {"kind": "captions", "dataset": dataset, "batch_examples": 30},
        {"name": "clips", "split": "val", "dataset": dataset, "protocol": {"name": "clip_retrieval"}},
        {},
        "text_to_clip:R@1",
    )
    assert second > first + 0.1


def test_video_to_text(tmp_path: Path, start: Path) -> None:
    """MSR-VTT's question answering: whole videos, one of several captions a time; five answers to choose from."""
    shown = {f"v{i:02d}": ORDERS[i % len(ORDERS)] for i in range(60)}
    asked = {f"video{i}": ORDERS[i] for i in range(len(ORDERS))}
    told = {name: [f"{a} then {b}", f"first {a} and {b}"] for name, (a, b) in _in_words(shown).items()}
    lines = ["vid_key\ta1\ta2\ta3\ta4\ta5\tanswer"]
    for i, (a, b) in enumerate(asked.values()):
        options = [f"{OTHER_WORDS[a]} then {OTHER_WORDS[c]}" for c in range(6) if c not in (a, b)]
        options.insert(i % 5, f"{OTHER_WORDS[a]} then {OTHER_WORDS[b]}")
        lines.append("\t".join([f"msr{i}", *options, str(i % 5)]))
    (tmp_path / "MSR_MC_test.csv").write_text("\n".join(lines) + "\n")
    first, second = before_and_after(
        corpus(tmp_path, start, {**shown, **asked}),
        {
            "kind": "captions",
            "dataset": files.msrvtt(tmp_path, told),
            "directions": "video_to_text",
            "example": "video",
            "batch_examples": 30,
        },
        {
            "name": "choice",
            "dataset": {"name": "msrvtt-qa", "annotations": str(tmp_path / "MSR_MC_test.csv")},
            "protocol": {"name": "multiple_choice"},
        },
        {},
        "multiple_choice:accuracy",
    )
    assert second > first + 0.1


def _in_words(shown: Mapping[str, Sequence[int]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(OTHER_WORDS[step] for step in steps) for name, steps in shown.items()}


def test_step_labels(tmp_path: Path, start: Path) -> None:
    """COIN's form: a label for every row, the background among them."""
    generator = np.random.default_rng(1)
    shown = {
        f"v{i:02d}": [step for drawn in generator.permutation(6)[:3].tolist() for step in (BACKGROUND, drawn)]
        for i in range(24)
    }
    train, test = ({name: scenes(steps) for name, steps in shown.items() if (name < "v16") == is_train}
                   for is_train in (True, False))  # fmt: skip
    dataset = files.coin(tmp_path, train, test)
    windows = {"window_rows": 12, "stride_rows": 6}
    first, second = before_and_after(
        corpus(tmp_path, start, shown),
        {"kind": "step_labels", "dataset": dataset, "windows": {"rows": 12, "stride": 6}, "batch_videos": 4},
        {"name": "rows", "dataset": dataset, "protocol": {"name": "action_segmentation", **windows}},
        {"head": "checkpoint"},
        "action_segmentation:frame_accuracy",
    )
    assert second > first + 0.1


@pytest.mark.parametrize("weight", [0.0, 0.12])
def test_step_sequences(tmp_path: Path, start: Path, weight: float) -> None:
    """CrossTask: the steps of a task in their order; VideoCLIP's loss, and TempCLR's with its shuffled orders."""
    generator = np.random.default_rng(2)
    tasks = {"1": (0, 1, 3), "2": (2, 5, 4), "3": (4, 0, 2)}
    shown: dict[str, list[int]] = {}
    by_task: dict[str, dict[str, list[Scene]]] = {task: {} for task in tasks}
    for task, number in itertools.product(tasks, range(10)):
        gaps = generator.integers(1, 3, len(tasks[task])).tolist()
        name = f"{task}-{number}"
        shown[name] = [step for gap, own in zip(gaps, tasks[task], strict=True) for step in (*[BACKGROUND] * gap, own)]
        by_task[task][name] = scenes(shown[name])
    dataset = files.crosstask(tmp_path, tasks, by_task, num_train=5, words=OTHER_WORDS)
    first, second = before_and_after(
        corpus(tmp_path, start, shown),
        {"kind": "step_sequences", "dataset": dataset, "weight": weight, "windows": {"rows": 12, "stride": 6}},
        {
            "name": "steps",
            "dataset": dataset,
            "protocol": {"name": "step_localisation", "window_rows": 12, "stride_rows": 6},
        },
        {},
        "step_localisation:step_recall",
    )
    assert second > first + 0.1


def test_episodes(tmp_path: Path, start: Path) -> None:
    """Few-shot: a class is an order of two of four steps, and long scenes of the other two say nothing.

    The orders that are measured are others than those that are trained on.
    """
    orders = [order for order in ORDERS if max(order) < 4]
    shown, train, test = {}, {}, {}
    generator = np.random.default_rng(3)
    for number, order in enumerate(orders):
        for copy in range(8):
            name = f"v{number:02d}-{copy}"
            between = [generator.integers(4, 6, int(count)).tolist() for count in generator.integers(0, 4, 3)]
            shown[name] = [*between[0], order[0], *between[1], order[1], *between[2]]
            (train if number % 3 else test)[name] = f"class{number}"
    dataset = files.fewshot(tmp_path, train, test)
    windows = {"window_rows": 32, "stride_rows": 16}
    first, second = before_and_after(
        corpus(tmp_path, start, shown),
        {"kind": "episodes", "dataset": dataset, "ways": 4, "weight": 0.2, "negatives": 15},
        {
            "name": "few",
            "dataset": dataset,
            "protocol": {"name": "few_shot_states", "ways": 4, "shots": [1], "num_episodes": 300, **windows},
        },
        {},
        "few_shot.1_shot.otam:accuracy",
    )
    assert second > first + 0.1
