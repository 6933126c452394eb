"""Sequence scores against the bare matrix product, the published way, and (where installed) dtaidistance's C code.

Run by `make bench-eval`. One run, float32, one thread (the Makefile says so) and, against others, all cores for each,
too; the ways in turn, the best of some rounds, because others may use the machine. Ours is measured whole, from raw
embeddings to scores; the product alone is given its rows at length 1 and in order. Nothing is asserted about time.
FABULA_BENCH_VIDEOS=1000,2000 names other sizes of the growth; the largest takes a minute a round.
"""

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.alignment.caption_average import caption_average_kernel, caption_average_matrix
from models.alignment.drop_dtw import drop_dtw_score_matrix
from models.alignment.dtw import dtw_kernel, dtw_reference, dtw_score_matrix, unit_rows
from models.alignment.lanes import Block, plan_blocks
from models.alignment.otam import otam_kernel, otam_score_matrix
from models.alignment.sequences import lengths_of, stack_unit_rows
from models.alignment.tiles import score_similarity, text_tiles
from stages.evaluation.numbers import write_number
from stages.evaluation.scoring import ProtocolSettings, rank_queries, retrieval_scores, with_legacy

DIM, NUM, ROUNDS, REST_S = 512, 436, 5, 0.05
CORES = len(os.sched_getaffinity(0))
SHAPES = {"3-16 windows": (3, 16), "3-52 windows": (3, 52), "60-320 rows": (60, 320)}
AIMS = {"dtw": 1.3, "otam": 1.5}
SIZES = [int(size) for size in os.environ.get("FABULA_BENCH_VIDEOS", "1000,2000,4000,8000").split(",")]

Arrays = list[np.ndarray]
Ways = dict[str, Callable[[], object]]


def say(line: str) -> None:
    sys.stdout.write(f"\n{line}")


def sequences(rng: np.random.Generator, count: int, least: int, most: int) -> Arrays:
    lengths = rng.integers(least, most + 1, count)
    return [rng.standard_normal((length, DIM), dtype=np.float32) for length in lengths]


def num_cells(texts: Arrays, videos: Arrays) -> int:
    return sum(map(len, texts)) * sum(map(len, videos))


def bare_product(texts: Arrays, videos: Arrays) -> Callable[[], None]:
    """The product of the same tiles and nothing else."""
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths_of(texts))])
    rows = stack_unit_rows(texts, "float32").copy()
    columns = [unit_columns(block, videos) for block in plan_blocks(lengths_of(videos))]

    def multiply() -> None:
        for block in columns:
            for first, last in text_tiles(starts, len(block)):
                rows[starts[first] : starts[last]] @ block.T

    return multiply


def unit_columns(block: Block, videos: Arrays) -> np.ndarray:
    columns = np.empty((int(block.starts[-1]), DIM), np.float32)
    block.place_unit_columns(videos, columns)
    return columns


def published_product(texts: Arrays, videos: Arrays) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(texts)) @ torch.from_numpy(np.concatenate(videos)).T


def published_blocks(similarity: torch.Tensor, texts: Arrays, videos: Arrays) -> torch.Tensor:
    """Blocks as the published code makes them of its product: every pair cut out, scaled, padded and stacked."""
    longest = max(map(len, texts)), max(map(len, videos))
    blocks = []
    for rows in similarity.split(list(map(len, texts))):
        for block in rows.split(list(map(len, videos)), dim=1):
            below, behind = longest[0] - block.shape[0], longest[1] - block.shape[1]
            cost = (1 - block) * (longest[0] * longest[1] / block.numel())
            cost = F.pad(cost, (0, behind, 0, below), value=torch.inf)
            cost[-below - 1 :, -behind:] = 0
            blocks.append(cost)
    return torch.stack(blocks).unflatten(0, (len(texts), len(videos)))


def padded_pairs(texts: Arrays, videos: Arrays) -> torch.Tensor:
    """The same number of cells without the loop over pairs in Python, which the published code could do without."""
    (text_rows, text_real), (video_rows, video_real) = padded(texts), padded(videos)
    cost = 1.0 - torch.einsum("pse,vne->pvsn", text_rows, video_rows)
    return cost.masked_fill_(~(text_real[:, None, :, None] & video_real[None, :, None, :]), torch.inf)


def padded(sequences: Arrays) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit rows (V, L, E), zero behind each sequence's end, and which are real (V, L)."""
    lengths = lengths_of(sequences)
    rows = np.zeros((len(sequences), int(lengths.max()), DIM), np.float32)
    for row, sequence in zip(rows, sequences, strict=True):
        row[: len(sequence)] = sequence / np.linalg.norm(sequence, axis=1, keepdims=True)
    return torch.from_numpy(rows), torch.arange(rows.shape[1]) < torch.from_numpy(lengths)[:, None]


def one_step_a_cell(cost: torch.Tensor) -> torch.Tensor:
    """Totals of all pairs, one tensor step a cell; those of shorter pairs stand at their own last cells."""
    total = cost.clone()
    for i in range(cost.shape[2]):
        for j in range(cost.shape[3]):
            before = [total[..., a, b] for a, b in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if a >= 0 and b >= 0]
            if before:
                total[..., i, j] = cost[..., i, j] + torch.stack(before).amin(0)
    return total


def seconds(ways: Ways, rounds: int = ROUNDS) -> dict[str, float]:
    """Best of each way, the ways in turn, each when the threads of the one before no longer spin, and warm."""
    best = dict.fromkeys(ways, np.inf)
    for _ in range(rounds):
        for name, way in ways.items():
            time.sleep(REST_S)
            way()  # its threads slept, and its memory left the caches
            started = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - started)
    return best


def our_ways(texts: Arrays, videos: Arrays) -> Ways:
    return {
        "dtw": lambda: dtw_score_matrix(texts, videos, precision="float32"),
        "otam": lambda: otam_score_matrix(texts, videos, precision="float32"),
        "caption average": lambda: caption_average_matrix(texts, videos, precision="float32"),
        "drop-dtw": lambda: drop_dtw_score_matrix(
            texts, videos, drop_clip=0.95, drop_sentence=0.95, precision="float32"
        ),
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_against_the_bare_product(shape: str) -> None:
    rng = np.random.default_rng(0)
    square = rng.standard_normal((2048, 2048), dtype=np.float32)
    ceiling = 2 * 2048**3 / seconds({"square": lambda: square @ square})["square"]
    texts, videos = sequences(rng, NUM, 3, 16), sequences(rng, NUM, *SHAPES[shape])
    cells = num_cells(texts, videos)
    ways = {"product": bare_product(texts, videos)} | our_ways(texts, videos)
    found = seconds(ways, rounds=ROUNDS if cells < 1e8 else 2)
    say(f"{NUM} x {NUM}, {shape}, {cells / 1e6:.0f} M cells; ceiling {ceiling / 1e9:.0f} GFLOP/s (2048 x 2048)")
    for name, taken in found.items():
        aim = f" (aim {AIMS[name]})" if name in AIMS else ""
        share = 2 * DIM * cells / taken / ceiling
        say(
            f"  {name:16}{taken:8.3f} s  {taken / found['product']:.2f} times the product{aim}, "
            f"{cells / taken / 1e6:.0f} M cells/s, {share:.0%} of the ceiling"
        )


# The aim is meant for the first: it is what the method scores. The last is the other way to read "100 x 100".
OTHERS = {
    "100 paragraphs of 3-16 and 100 videos of 3-16": (100, (3, 16), (3, 16)),
    "100 paragraphs of 3-16 and 100 videos of 3-52": (100, (3, 16), (3, 52)),
    "100 pairs of 100 sentences and 100 windows": (10, (100, 100), (100, 100)),
}


@pytest.mark.parametrize("threads", sorted({1, CORES}))
@pytest.mark.parametrize("kind", OTHERS)
def test_against_others_on_100_by_100(kind: str, threads: int) -> None:
    """The product alone is the floor of ours: where it takes most of the time, no ratio can grow much further."""
    torch.set_num_threads(threads)
    count, told, shown = OTHERS[kind]
    rng = np.random.default_rng(0)
    texts, videos = sequences(rng, count, *told), sequences(rng, count, *shown)
    total = one_step_a_cell(padded_pairs(texts, videos))[7, 9, len(texts[7]) - 1, len(videos[9]) - 1].item()
    assert dtw_reference(1.0 - unit_rows(texts[7]) @ unit_rows(videos[9]).T).total == pytest.approx(total, rel=1e-4)
    ways: Ways = {
        "ours": lambda: dtw_score_matrix(texts, videos, precision="float32", threads=threads),
        "the bare product, one thread": bare_product(texts, videos),
        "the published way": lambda: one_step_a_cell(published_blocks(published_product(texts, videos), texts, videos)),
        "the same without its loop over pairs": lambda: one_step_a_cell(padded_pairs(texts, videos)),
        **dtaidistance_way(texts, videos, parallel=threads > 1),
    }
    found = seconds(ways, rounds=8)
    say(f"DTW of {kind}, {threads} thread(s)")
    for name, taken in found.items():
        aim = f" (aim {OTHER_AIMS[name]})" if name in OTHER_AIMS else ""
        say(f"  {name:38}{taken * 1e3:8.1f} ms, {taken / found['ours']:.1f} times ours{aim}")
    product, lengths = published_product(texts, videos), (lengths_of(texts).tolist(), lengths_of(videos).tolist())
    aligning = seconds(
        {
            "ours": lambda: score_similarity(dtw_kernel, product.numpy(), *lengths),
            "published": lambda: one_step_a_cell(published_blocks(product, texts, videos)),
        }
    )
    say(
        f"  behind the product, alignment alone: ours {aligning['ours'] * 1e3:.1f} ms, the published way "
        f"{aligning['published'] * 1e3:.1f} ms, {aligning['published'] / aligning['ours']:.1f} times ours"
    )


OTHER_AIMS = {"the published way": 30, "dtaidistance, all pairs in C": 8}


def dtaidistance_way(texts: Arrays, videos: Arrays, *, parallel: bool) -> Ways:
    """All pairs by its own loop in C; nothing, and a line that says so, where it is not installed."""
    try:
        from dtaidistance import dtw_ndim
    except ImportError:
        say("NOT COMPARED with dtaidistance: it is not installed (pip install dtaidistance; aim 8 times faster)")
        return {}
    wide = [rows.astype(np.float64) for part in (texts, videos) for rows in part]
    block = ((0, len(texts)), (len(texts), len(wide)))
    return {
        "dtaidistance, all pairs in C": lambda: dtw_ndim.distance_matrix_fast(wide, DIM, block=block, parallel=parallel)
    }


@pytest.mark.timeout(1800)
def test_growth_of_time_and_memory() -> None:
    """Each size squared in pairs; memory above the inputs, of which the scores themselves are 8 bytes a pair."""
    rng = np.random.default_rng(0)
    for size in SIZES:
        texts, videos = sequences(rng, size, 3, 16), sequences(rng, size, 3, 16)
        ways: Ways = {"product": bare_product(texts, videos)}
        product = seconds(ways, rounds=1)["product"]
        ways.clear()
        before = _reset_peak()
        started = time.perf_counter()
        dtw_score_matrix(texts, videos, precision="float32")
        taken, cells = time.perf_counter() - started, num_cells(texts, videos)
        say(
            f"{size} x {size}: {cells / 1e6:.0f} M cells, product {product:.2f} s, DTW {taken:.2f} s "
            f"({taken / product:.2f} times), {taken / cells * 1e9:.2f} ns a cell; inputs {before:.0f} MiB, peak "
            f"{_memory('VmHWM') - before:.0f} MiB above, of which {size * size * 8 / 2**20:.0f} MiB scores"
        )


def _reset_peak() -> float:
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(key: str) -> float:
    """MiB of this process, as Linux counts them."""
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def test_what_a_constant_does_to_the_rankings() -> None:
    """60 videos whose paragraphs name their windows under noise; a constant is added to every similarity."""
    rng = np.random.default_rng(0)
    videos = [rng.standard_normal((n, 64)) for n in rng.integers(3, 17, 60)]
    texts = [video + 1.2 * rng.standard_normal(video.shape) for video in videos]
    rows, columns = (np.concatenate([unit_rows(part) for part in parts]) for parts in (texts, videos))
    lengths = [len(video) for video in videos]
    for name, kernel in (("caption average", caption_average_kernel), ("dtw", dtw_kernel), ("otam", otam_kernel)):
        plain, _ = score_similarity(kernel, rows @ columns.T, lengths, lengths)
        for constant in (0.0, 1.0, 60.0):
            scores, _ = score_similarity(kernel, rows @ columns.T + constant, lengths, lengths)
            same = (np.argsort(-scores, axis=1)[:, 0] == np.argsort(-plain, axis=1)[:, 0]).mean()
            right = (scores.argmax(axis=1) == np.arange(len(scores))).mean()
            say(f"{name}, similarity + {constant:g}: R@1 {right:.2f}, first answer as without it {same:.0%}")


@pytest.mark.shared
def test_ranks_of_a_published_model(shared_dir: Path) -> None:
    """MSR-VTT 1k-A as CAP4VIDEO scores it: our rule of ties with intervals, and the published one beside it."""
    matrix = np.load(shared_dir / "data" / "features" / "msrvtt_cap4video" / "msrvtt_video_matrix.npy")
    settings, ids = ProtocolSettings(), [str(row) for row in range(len(matrix))]
    own = [np.array([row]) for row in range(len(matrix))]
    for who, scores in (("texts", matrix), ("videos", matrix.T)):
        ranked = rank_queries(lambda rows, scores=scores: scores[rows], query_ids=ids, gallery_ids=ids, relevant=own)
        say(f"MSR-VTT 1k-A, {who} ask, {int(ranked.num_equal.sum())} ties")
        found = retrieval_scores(ranked, settings=settings, rng=settings.generator(who))
        for score in with_legacy(found, ranked)[:4]:
            value, low, high = (write_number(score.name, number) for number in (score.value, score.low, score.high))
            published = write_number(score.name, score.legacy or 0.0)
            say(f"  {score.name:12}{value:>8}  95% {low:>8} to {high:>8}   as published {published:>8}")
