"""The conformance list of papers.md, section 11, point by point, as far as it speaks of what is trained: 2-7, 9, 10.

Points 1 and 8, of S3D-G and of metrics, are tested with those.
"""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.alignment.soft_dtw import soft_dtw, soft_dtw_reference
from models.alignment.soft_otam import SoftOTAM, soft_otam_reference
from models.backbones.resnet import RESNETS
from models.backbones.vclr import HEADS, VCLRNet
from models.encoders.build import random_encoder
from models.encoders.config import DualConfig
from models.encoders.dual import DualEncoder
from models.losses.taco import SentenceLoss, TokenLoss, hard_negatives, token_weights
from models.losses.tempclr import (
    SequenceContrast,
    contrast,
    cosine_similarity,
    layer_norm_names,
    permutation_negatives,
    tune_layer_norms_only,
)
from models.losses.vclr import (
    QUEUE_SIZE,
    MomentumQueue,
    draw_frame_orders,
    inter_logits,
    intra_logits,
    order_features,
    queue_logits,
)
from models.losses.videoclip import VideoCLIPLoss
from stages.retrieval.vectors import nearest_rows
from stages.training.objectives.retrieval import RetrievalSettings
from stages.training.sampling import (
    Captions,
    OverlapSampling,
    draw_centre,
    rows_of_span,
    sample_generator,
    sample_pair,
    usable_captions,
)
from tests.generators import seeded
from tests.unit.test_training_similar import GROUPS, IDS, batches, open_layout, vectors_of


def test_point_2_counts_of_the_published_encoder() -> None:
    with torch.device("meta"):
        full = DualEncoder(DualConfig())
    assert sum(parameter.numel() for parameter in full.parameters()) == 177_423_360
    names = list(full.state_dict())
    assert len(names) == 310
    assert sum(name.endswith("position_ids") for name in names) == 2
    norms = [module for name, module in full.named_modules() if name.endswith("LayerNorm")]
    assert all(isinstance(module, nn.LayerNorm) for module in norms)
    assert len(norms) == 39
    assert len(layer_norm_names(full)) == 2 * 39
    assert tune_layer_norms_only(full) == 59_904


@pytest.fixture(scope="module")
def small() -> DualEncoder:
    sizes = DualConfig(
        hidden_size=24, num_heads=2, intermediate_size=40, video_layers=2, text_layers=2, vocab_size=60, feature_dim=10,
        max_positions=80, cls_id=2, sep_id=3,
    )  # fmt: skip
    encoder = random_encoder(sizes, 0)
    assert isinstance(encoder, DualEncoder)
    return encoder


WINDOWS = torch.randn(4, 32, 10, generator=torch.Generator().manual_seed(2))
TEXTS = torch.randint(4, 60, (4, 20), generator=torch.Generator().manual_seed(3))
ROWS = torch.arange(32) < torch.tensor([[32], [7], [3], [1]])
WORDS = torch.arange(20) < torch.tensor([[20], [7], [3], [2]])


@torch.inference_mode()
def test_point_2_what_stands_in_padding_changes_no_vector(small: DualEncoder) -> None:
    video, text = small.encode_video(WINDOWS, ROWS), small.encode_text(TEXTS, WORDS)
    other = small.encode_video(WINDOWS.masked_fill(~ROWS[..., None], 37.0), ROWS)
    torch.testing.assert_close(other, video, atol=1e-6, rtol=0)
    torch.testing.assert_close(small.encode_text(TEXTS.masked_fill(~WORDS, 9), WORDS), text, atol=1e-6, rtol=0)
    assert not torch.allclose(small.encode_video(WINDOWS + ROWS[..., None] * 1.0, ROWS), video, atol=1e-3)


@torch.inference_mode()
def test_point_2_the_end_of_a_window_has_one_position_however_short_it_is(small: DualEncoder) -> None:
    cut = small.encode_video(WINDOWS[1:, :7], ROWS[1:, :7])
    torch.testing.assert_close(cut, small.encode_video(WINDOWS, ROWS)[1:], atol=1e-6, rtol=0)
    seen: list[Tensor] = []
    handle = small.video_encoder.bert.embeddings.position_embeddings.register_forward_hook(
        lambda module, args, output: seen.append(args[0].flatten())
    )
    for length in (1, 7, 32):
        small.encode_video(WINDOWS[:, :length], ROWS[:, :length])
    handle.remove()
    assert [positions.tolist() for positions in seen] == [[*range(n + 1), 33] for n in (1, 7, 32)]


@torch.inference_mode()
def test_point_2_the_order_of_a_batch_does_not_matter(small: DualEncoder) -> None:
    order = torch.tensor([2, 0, 3, 1])
    video, text = small.encode_video(WINDOWS, ROWS), small.encode_text(TEXTS, WORDS)
    torch.testing.assert_close(small.encode_video(WINDOWS[order], ROWS[order]), video[order], atol=1e-6, rtol=0)
    torch.testing.assert_close(small.encode_text(TEXTS[order], WORDS[order]), text[order], atol=1e-6, rtol=0)


def drawn_video(generator: np.random.Generator, num_rows: int) -> tuple[Captions, np.ndarray]:
    """Captions of a talking video, and its rows of a second each, which may end before the talk does."""
    num = int(generator.integers(1, 25))
    starts = np.cumsum(generator.uniform(0.5, 6.0, num))
    lengths = generator.integers(1, 33, num)
    captions = Captions(
        start_s=starts, end_s=starts + generator.uniform(0.2, 8.0, num),
        tokens=np.arange(lengths.sum(), dtype=np.int32), bounds=np.concatenate([[0], np.cumsum(lengths)]),
        narrations=np.arange(num, dtype=np.int32),
    )  # fmt: skip
    rows = np.arange(float(num_rows))
    return captions, np.stack([rows, rows + 1], axis=1)


def test_point_3_what_the_clip_sampler_promises() -> None:
    generator, lengths = np.random.default_rng(0), set()
    for number in range(150):
        captions, spans = drawn_video(generator, 1 + number % 50)
        intact = np.zeros(len(spans), dtype=bool)
        usable = usable_captions(captions, spans, intact)
        for draw in range(8):
            pair = sample_pair(
                captions, usable, spans, intact, OverlapSampling(), sample_generator(0, number, "v", draw)
            )
            own = captions.between(pair.first_caption, pair.last_caption)
            np.testing.assert_array_equal(own, np.arange(own[0], own[0] + len(own)))  # neighbours, none left out
            np.testing.assert_array_equal(pair.tokens, own[:61])
            num_rows = pair.end_row - pair.start_row
            assert min(3, len(spans)) <= num_rows <= min(32, len(spans))
            assert 0 <= pair.start_row < pair.end_row <= len(spans)
            lengths.add(num_rows)
    assert lengths == set(range(1, 33))


def test_point_3_the_centre_lies_in_the_span_of_the_text() -> None:
    spans = np.stack([np.arange(40.0), np.arange(40.0) + 1], axis=1)
    low, high = rows_of_span(spans, 7.3, 12.6)
    assert (low, high) == (7, 13)
    generator = np.random.default_rng(1)
    drawn = [draw_centre(low, high, np.zeros(40, dtype=bool), generator) for _ in range(7000)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=14)[7:] / 7000, 1 / 7, atol=0.02)
    assert min(drawn) == 7
    assert draw_centre(50, 60, np.zeros(40, dtype=bool), generator) == 39  # a text beyond the features


def test_point_4_loss_of_scaled_identities() -> None:
    for scale in (0.5, 1.0, 2.0):
        vectors = torch.eye(512) * scale
        expected = 2 * math.log(1 + 511 * math.exp(-(scale**2)))
        assert VideoCLIPLoss()(vectors, vectors).item() == pytest.approx(expected, rel=1e-5)
    video, text = torch.randn(2, 16, 8, generator=seeded())
    assert VideoCLIPLoss()(video, text).item() == pytest.approx(VideoCLIPLoss()(text, video).item(), rel=1e-6)


def test_point_5_an_epoch_of_clusters() -> None:
    asked: list[tuple[int, int]] = []

    def watched(video_ids: list[str], number: int) -> np.ndarray:
        asked.append((len(video_ids), number))
        return vectors_of(video_ids, number)

    layout = open_layout(vectors=watched)
    found = batches(layout)
    assert asked == [(640, 0)]
    assert layout.batches_per_epoch == len(found) == 640 // 32  # one centre for each batch's worth of videos
    for batch in found:
        assert len(batch) == len(set(batch)) == 32
        assert len({int(video_id[1:]) % GROUPS for video_id in batch}) == 1  # all of one group of 64: 64 candidates
    assert batches(open_layout()) == found
    assert batches(open_layout(), epoch=1) != found
    assert batches(open_layout(seed=4)) != found


def test_point_5_the_centre_may_drop_out_and_fewer_candidates_make_a_smaller_batch() -> None:
    vectors = vectors_of(IDS, 0)
    rows = nearest_rows(vectors, np.arange(640), 64, lists=1, probes=1, seed=0)
    assert (rows[:, 0] == np.arange(640)).all()  # itself first
    few = open_layout(RetrievalSettings(lists=1, candidates=20))
    sizes = {len(batch) for batch in batches(few)}
    assert sizes == {20}
    one_list = RetrievalSettings(lists=16, probes=1, candidates=640)
    assert min(len(batch) for batch in batches(open_layout(one_list))) >= 1
    missing = nearest_rows(vectors, np.arange(5), 640, lists=16, probes=1, seed=0)
    assert (missing == -1).any()
    assert all(video_id in IDS for batch in batches(open_layout(one_list)) for video_id in batch)


def test_point_6_values_of_the_table() -> None:
    matrix = torch.tensor([[0.1, 0.9, 0.8], [0.7, 0.2, 0.6], [0.9, 0.5, 0.3]], dtype=torch.float64)
    assert soft_dtw(matrix[None]).item() == pytest.approx(0.59897436, abs=2e-7)
    assert SoftOTAM()(matrix[None]).item() == pytest.approx(1.16570014, abs=2e-7)


def test_point_6_batch_equals_loop_and_gradients_are_exact() -> None:
    costs = torch.rand(40, 5, 5, generator=seeded(), dtype=torch.float64).requires_grad_()
    both = SoftOTAM()(costs)
    for cost, dtw, otam in zip(costs, soft_dtw(costs), both, strict=True):
        assert dtw.item() == pytest.approx(soft_dtw_reference(cost).item(), abs=1e-12)
        assert otam.item() == pytest.approx((soft_otam_reference(cost) + soft_otam_reference(cost.T)).item(), abs=1e-12)
    few = costs.detach()[:2].requires_grad_()
    assert torch.autograd.gradcheck(soft_dtw, (few,))
    assert torch.autograd.gradcheck(SoftOTAM(), (few,))


def test_point_7_negatives_are_31_distinct_orders_of_the_rows() -> None:
    drawn = permutation_negatives(5, 31, seeded())
    assert {tuple(row) for row in drawn.tolist()} <= set(itertools.permutations(range(5))) - {(0, 1, 2, 3, 4)}
    assert len({tuple(row) for row in drawn.tolist()}) == 31

    seen: list[torch.Tensor] = []

    def record(cost: torch.Tensor, num_rows: object = None, num_columns: object = None) -> torch.Tensor:
        seen.append(cost)
        return soft_dtw(cost)

    text, video = torch.randn(2, 1, 5, 8, generator=seeded())
    SequenceContrast(record)(text, video, seeded())
    (costs,) = seen
    distance = (1 - cosine_similarity(text, video))[0]
    assert costs.shape == (32, 5, 5)
    assert torch.equal(costs[0], distance)
    rows = {tuple(row) for row in distance.tolist()}
    for cost in costs[1:]:
        assert not torch.equal(cost, distance)
        assert {tuple(row) for row in cost.tolist()} == rows  # whole rows move, columns never


def test_point_7_value_of_the_cross_entropy() -> None:
    identity = 1 - torch.eye(5)
    assert contrast(torch.stack((identity, *[identity.flip(0)] * 31))[None], soft_dtw).item() == pytest.approx(
        0.44967025, abs=1e-5
    )


def test_point_9_counts() -> None:
    with torch.device("meta"):
        network = VCLRNet(RESNETS["resnet50"])
    assert sum(p.numel() for p in network.parameters()) == 41_345_604
    names = list(network.state_dict())
    heads = [name for name in names if name.startswith("fc_")]
    assert len(names) - len(heads) == 318
    assert set(heads) == {
        *(f"{head}.{layer}.{kind}" for head in HEADS for layer in (0, 2) for kind in ("weight", "bias")),
        "fc_order_classifier.weight", "fc_order_classifier.bias",
    }  # fmt: skip
    assert network.state_dict()["fc_order_classifier.weight"].shape == (4, 768)


def test_point_9_labels_and_shuffles() -> None:
    drawn = draw_frame_orders(4000, seeded())
    share = drawn.labels.bincount(minlength=4) / 4000
    assert float((share - 0.25).abs().max()) < 0.03
    for orders, flags in ((drawn.query, drawn.labels % 2 == 1), (drawn.key, drawn.labels >= 2)):
        shuffled = {tuple(row) for row in orders[flags].tolist()}
        assert shuffled == set(itertools.permutations(range(3))) - {(0, 1, 2), (2, 1, 0)}
        counts = [int((orders[flags] == torch.tensor(order)).all(dim=1).sum()) for order in sorted(shuffled)]
        assert min(counts) > 0.2 * int(flags.sum())


def test_point_9_queue_and_shapes_of_the_logits() -> None:
    num = 2
    memory = MomentumQueue(generator=seeded())
    assert memory.memory.shape == (QUEUE_SIZE, 128) == (131_072, 128)
    query, keys = F.normalize(torch.randn(4, num, 128, generator=seeded()), dim=-1).split((1, 3))
    assert inter_logits(query[0], keys, memory.memory).shape == (3 * num, 131_073)
    assert intra_logits(query[0], keys).shape == (2 * num, 2)
    assert queue_logits(query[0], keys[0], memory.memory).shape == (num, 131_073)
    assert torch.nn.Linear(768, 4)(torch.cat([order_features(torch.randn(num, 3, 128))] * 2, dim=1)).shape == (num, 4)
    memory.enqueue(keys.flatten(0, 1))
    assert torch.equal(memory.memory[: 3 * num], torch.cat((keys[0], keys[1], keys[2])))
    assert int(memory.pointer) == 3 * num


def test_point_10_candidates_weights_and_one_token() -> None:
    scores = torch.randn(12, 12, generator=seeded())
    negatives = hard_negatives(scores)
    assert negatives.videos.shape == negatives.texts.shape == (12, 9)
    assert len(negatives.pairs()[0]) == 2 * 12 * 9
    idf, interest = torch.rand(12, 6, generator=seeded()) * 9, torch.rand(12, 6, generator=seeded(1)) < 0.7
    sums = token_weights(idf, interest).sum(dim=1)
    assert torch.allclose(sums, interest.any(dim=1).float())
    loss = TokenLoss()
    text, video = torch.randn(12, 1, 8, generator=seeded()), torch.randn(12, 5, 8, generator=seeded(1))
    best = loss.scores(text, video, torch.ones(12, 5, dtype=torch.bool))
    one = loss(best, token_weights(torch.full((12, 1), 3.0), torch.ones(12, 1, dtype=torch.bool)))
    expected = F.cross_entropy(best[:, 0], torch.arange(12), reduction="sum")
    assert one.item() == pytest.approx(expected.item(), rel=1e-5)
    single = loss.scores(text, video[:, :1], torch.ones(12, 1, dtype=torch.bool))
    assert torch.allclose(single[:, 0], SentenceLoss().scores(text[:, 0], video[:, 0]), atol=1e-5)
