"""How fast is training? Ours and the plain way take turns in one run; medians count, and nothing is asserted of them.

Run with::

    python -m pytest tests/benchmarks/bench_train.py tests/benchmarks/bench_soft.py -s

(a) a whole step of VideoCLIP at BERT-base's size, optimiser and clipping included: 32 pairs as the sampler draws them,
    through the loop, packed, in bfloat16 where the CPU computes in it; against the same pairs padded to 34 and 63
    tokens in float32 with eager attention.
(b) how long a batch takes to prepare by one thread, and how long the loop waits for it, as shares of that step.
(c) soft-DTW forward and backward at TempCLR's (512, 5, 5) and at (64, 32, 64), as shares of that step.
(d) features in random order, mapped at the offsets of the commit records, against webdataset's default loader on the
    same cached shards; and one window of each video, which is what a step reads.
(e) on a card: pairs a second, and the share of the speed of a bfloat16 matrix product.

FABULA_BENCH_STEPS: steps that are counted (default 8, behind two for warming up).
"""

import os
import statistics
import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import torch
import webdataset
from torch.utils.flop_counter import FlopCounterMode

from models.alignment.soft_dtw import soft_dtw
from stages.training.loop import StepReport, fixed_arithmetic
from stages.training.team import Part
from tests.benchmarks.bench_gpu import matmul_flops
from tests.benchmarks.bench_soft import seconds
from tests.benchmarks.measuring import CORES, alternate, apart, computes_in, say
from tests.benchmarks.training_runs import (
    NUM_PAIRS,
    PublishedTask,
    TrainingCorpus,
    make_training_corpus,
    padded,
    plain_step,
    run_loop,
)

STEPS, WARM = int(os.environ.get("FABULA_BENCH_STEPS", "8")), 2
SOFT_SHAPES = ((512, 5, 5), (64, 32, 64))
CARD_VIDEOS = 32
"""Of a batch on a card, with the published 16 pairs each."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TrainingCorpus:
    return make_training_corpus(tmp_path_factory.mktemp("corpus"))


def cpu_precision() -> str:
    """bfloat16 where the CPU computes in it."""
    return "bfloat16" if computes_in("bfloat16") else "float32"


def soft_share(step_s: float, shape: tuple[int, int, int]) -> float:
    """Of soft-DTW forward and backward in a step."""
    cost = torch.rand(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    run = partial(soft_dtw, method="lanes")
    seconds(run, cost, 1)
    return min(seconds(run, cost, 10) for _ in range(3)) / step_s


def test_a_step_its_data_and_its_alignment(corpus: TrainingCorpus) -> None:
    task = PublishedTask(corpus, batch_videos=NUM_PAIRS, draws_per_video=1)
    ours: list[StepReport] = []
    theirs: list[float] = []
    prepared: list[float] = []

    def turn(report: StepReport) -> None:
        """Between two of our steps: prepare a batch alone, and do a plain step on it."""
        ours.append(report)
        began = time.perf_counter()
        index = (report.record.step - 1) % task.source.batches_per_epoch
        task.source.batch(index, Part())
        prepared.append(time.perf_counter() - began)
        theirs.append(measure_apart(plain_step, padded(task, index)).wall)

    precision = cpu_precision()
    with apart() as measure_apart:
        measure_apart(torch.set_num_threads, CORES)
        run_loop(task, steps=WARM + STEPS, precision=precision, device="cpu", threads=CORES, on_step=turn)
    step_s = statistics.median(report.spent_s for report in ours[WARM:])
    plain_s, batch_s = statistics.median(theirs[WARM:]), statistics.median(prepared[WARM:])
    waited = statistics.median(report.waited_s / report.spent_s for report in ours[WARM:])
    with fixed_arithmetic(CORES):
        shares = {shape: soft_share(step_s, shape) for shape in SOFT_SHAPES}
    say(f"(a) {NUM_PAIRS} pairs on {CORES} cores: a step packed in {precision} {step_s:.2f} s, padded in float32 "
        f"{plain_s:.2f} s, {plain_s / step_s:.2f} times; asked of bfloat16: 3")  # fmt: skip
    say(f"(b) a batch is prepared in {1e3 * batch_s:.1f} ms, {100 * batch_s / step_s:.2f} % of a step; waited for "
        f"{100 * waited:.2f} %; asked 5 %")  # fmt: skip
    for shape, share in shares.items():
        say(f"(c) soft-DTW {shape}: {1e3 * share * step_s:.2f} ms, {100 * share:.2f} % of a step; asked 1 %")


def read_mapped(corpus: TrainingCorpus, video_ids: Sequence[str], rows: int | None = None) -> list[np.ndarray]:
    """Copy the features of videos into memory, or `rows` of each from the middle on."""
    entries, found = corpus.entries, []
    for video_id in video_ids:
        mapped = entries[video_id].map_features()
        start = 0 if rows is None else len(mapped) // 2
        found.append(np.array(mapped[start : None if rows is None else start + rows]))
    return found


def read_by_loader(corpus: TrainingCorpus) -> dict[str, np.ndarray]:
    """What webdataset gives, in the order of the shards."""
    loader = webdataset.WebDataset([str(path) for path in corpus.shards], shardshuffle=False).decode()
    return {sample["__key__"]: sample["s3d.npy"] for sample in loader}


def test_reading_features(corpus: TrainingCorpus) -> None:
    order = np.random.default_rng(0).permutation(sorted(corpus.entries)).tolist()
    by_loader = read_by_loader(corpus)
    for video_id, rows in zip(order, read_mapped(corpus, order), strict=True):
        np.testing.assert_array_equal(rows, by_loader[video_id])
    forms = {
        "mapped": lambda: read_mapped(corpus, order),
        "window": lambda: read_mapped(corpus, order, rows=32),
        "loader": lambda: read_by_loader(corpus),
    }
    costs = alternate(forms, rounds=15)
    spent = {name: cost.wall for name, cost in costs.items()}
    ratio = spent["loader"] / spent["mapped"]
    say(f"(d) features of {len(order)} videos in random order: mapped {1e3 * spent['mapped']:.1f} ms, by webdataset's "
        f"loader {1e3 * spent['loader']:.1f} ms, {ratio:.2f} times, asked 2.5; a window of each "
        f"{1e3 * spent['window']:.1f} ms, {spent['loader'] / spent['window']:.0f} times")  # fmt: skip


@pytest.mark.gpu
def test_a_step_on_a_card(corpus: TrainingCorpus) -> None:
    task = PublishedTask(corpus, batch_videos=CARD_VIDEOS, draws_per_video=16)
    reports: list[StepReport] = []
    run_loop(task, steps=30, precision="bfloat16", device="cuda", threads=CORES, on_step=reports.append)
    step_s = statistics.median(report.spent_s for report in reports[10:])
    task.source.begin_epoch(0)
    batch = task.source.batch(0, Part()).to(torch.device("cuda"))
    with FlopCounterMode(display=False) as counter, torch.autocast("cuda", dtype=torch.bfloat16):
        task.module.train()(batch).total.backward()
    flops, ceiling, pairs = counter.get_total_flops(), matmul_flops(), 16 * CARD_VIDEOS
    waited = statistics.median(report.waited_s / report.spent_s for report in reports[10:])
    say(f"(e) {pairs} pairs a step: {pairs / step_s:.0f} pairs/s, {flops / step_s / ceiling:.2f} of the "
        f"{ceiling / 1e12:.0f} TFLOP/s of a matrix product; waited for batches {100 * waited:.1f} %")  # fmt: skip
