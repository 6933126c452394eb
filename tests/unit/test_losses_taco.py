"""TACo: idf weights, token and sentence losses against loops, hard negatives, fused candidates, the options."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.losses.taco import (
    FusionLoss,
    SentenceLoss,
    TACoLoss,
    TokenLoss,
    cascade_scores,
    hard_negatives,
    pack_tokens,
    token_scores,
    token_weights,
    weighted_token_scores,
)

B, P, T, E = 6, 4, 5, 8


def vectors(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def video_mask() -> Tensor:
    return torch.arange(T) < torch.tensor([5, 1, 3, 5, 2, 4])[:, None]


@pytest.fixture
def weights() -> Tensor:
    interest = torch.arange(P) < torch.tensor([4, 1, 0, 2, 3, 2])[:, None]
    return token_weights(vectors(B, P, seed=9).abs(), interest)


def test_weights_sum_to_one_and_subwords_share_their_words() -> None:
    idf = torch.tensor([[2.0, 2.0, 4.0, 9.0], [0.0, 0.0, 5.0, 5.0], [1.0, 2.0, 3.0, 4.0]])
    interest = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    assert token_weights(idf, interest).tolist() == [[0.25, 0.25, 0.5, 0.0], [0.5, 0.5, 0.0, 0.0], [0.0] * 4]
    tokens = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]]).bool()
    uniform = token_weights(idf, interest, tokens, empty="uniform")
    assert uniform.tolist() == [[0.25, 0.25, 0.5, 0.0], [0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]]
    soft = token_weights(idf, interest, normalisation="softmax")
    assert soft[0, :3].tolist() == pytest.approx(torch.tensor([2.0, 2.0, 4.0]).softmax(0).tolist())
    assert soft[2].tolist() == [0.0] * 4
    assert token_weights(idf, interest, normalisation="none").tolist()[0] == [2.0, 2.0, 4.0, 0.0]
    with pytest.raises(ValueError, match="normalisation: got 'max'"):
        token_weights(idf, interest, normalisation="max")  # type: ignore[arg-type]
    for empty in ("uniform", "skip"):
        with pytest.raises(ValueError, match="empty: got"):
            token_weights(idf, interest, empty=empty)  # type: ignore[arg-type]


def test_token_scores_are_the_best_real_video_token(video_mask: Tensor) -> None:
    text, video = vectors(B, P, E), vectors(B, T, E, seed=1)
    found = token_scores(text, video, video_mask)
    for i, p, j in ((0, 0, 1), (3, 2, 2), (5, 3, 4)):
        expected = max(float(video[j, k] @ text[i, p]) for k in range(T) if video_mask[j, k])
        assert found[i, p, j].item() == pytest.approx(expected, rel=1e-5)
    video[~video_mask] = 1e4
    assert torch.equal(found, token_scores(text, video, video_mask))


def test_token_loss_equals_a_loop(video_mask: Tensor, weights: Tensor) -> None:
    loss = TokenLoss(temperature=0.5)
    scores = loss.scores(vectors(B, P, E), vectors(B, T, E, seed=1), video_mask)
    expected = 0.0
    for i in range(B):
        for p in range(P):
            expected -= float(weights[i, p] * scores[i, p].log_softmax(0)[i])
    assert loss(scores, weights).item() == pytest.approx(expected, rel=1e-5)
    both = TokenLoss(temperature=0.5, symmetric=True)(scores, weights).item()
    columns = weighted_token_scores(scores, weights)
    backwards = -sum(float(columns[:, j].log_softmax(0)[j]) for j in range(B))
    assert both == pytest.approx(expected + backwards, rel=1e-5)


def test_text_may_be_kept_from_the_token_gradient(video_mask: Tensor, weights: Tensor) -> None:
    for detach in (False, True):
        text, video = vectors(B, P, E).requires_grad_(), vectors(B, T, E, seed=1).requires_grad_()
        loss = TokenLoss(detach_text=detach)
        loss(loss.scores(text, video, video_mask), weights).backward()
        assert video.grad is not None
        assert (text.grad is None) is detach
        assert bool((video.grad[~video_mask] == 0).all())


def test_sentence_loss_equals_cross_entropy() -> None:
    text, video = vectors(B, E), vectors(B, E, seed=1)
    logits = text @ video.T / 0.2
    one = F.cross_entropy(logits, torch.arange(B), reduction="sum").item()
    other = F.cross_entropy(logits.T, torch.arange(B), reduction="sum").item()
    assert SentenceLoss(temperature=0.2)(text, video).item() == pytest.approx(one, rel=1e-5)
    assert SentenceLoss(temperature=0.2, symmetric=True)(text, video).item() == pytest.approx(one + other, rel=1e-5)


def test_normalised_scores_ignore_length(video_mask: Tensor) -> None:
    text, video = vectors(B, P, E), vectors(B, T, E, seed=1)
    sentence, token = SentenceLoss(normalise=True), TokenLoss(normalise=True)
    assert torch.allclose(sentence.scores(text[:, 0], video[:, 0]), sentence.scores(text[:, 0] * 3, video[:, 0] * 5))
    assert torch.allclose(
        token.scores(text, video, video_mask), token.scores(text * 3, video * 5, video_mask), atol=1e-6
    )


def test_packing_keeps_order_and_cuts_the_rest() -> None:
    tokens = torch.arange(10).view(2, 5)
    packed, mask = pack_tokens(tokens, torch.tensor([[0, 1, 0, 1, 1], [1, 0, 0, 0, 0]]).bool())
    assert packed[0].tolist() == [1, 3, 4]
    assert packed[1, 0].item() == 5
    assert mask.tolist() == [[True, True, True], [True, False, False]]
    assert pack_tokens(vectors(2, 5, 3), torch.zeros(2, 5).bool())[0].shape == (2, 1, 3)


def test_cheap_scores_add_the_tokens_or_weigh_them(weights: Tensor) -> None:
    sentence, token = vectors(B, B), vectors(B, P, B, seed=1)
    mask = weights > 0
    plain, weighed = (cascade_scores(sentence.clone().requires_grad_(), token, mask, w) for w in (None, weights))
    i, j = 4, 1
    expected = float(sentence[i, j]) + sum(float(token[i, p, j]) for p in range(P) if mask[i, p])
    assert plain[i, j].item() == pytest.approx(expected, rel=1e-5)
    expected = float(sentence[i, j]) + sum(float(token[i, p, j] * weights[i, p]) for p in range(P))
    assert weighed[i, j].item() == pytest.approx(expected, rel=1e-5)
    assert not plain.requires_grad


def test_hard_negatives_are_the_best_wrong_ones() -> None:
    scores = vectors(B, B)
    found = hard_negatives(scores, 3)
    for i in range(B):
        others = [j for j in range(B) if j != i]
        assert found.videos[i].tolist() == [i, *sorted(others, key=lambda j: -float(scores[i, j]))[:3]]
        assert found.texts[i].tolist() == [i, *sorted(others, key=lambda j: -float(scores[j, i]))[:3]]
    assert bool(found.videos_mask.all())
    assert bool(found.texts_mask.all())


def test_equal_scores_follow_the_batch_and_equal_captions_may_be_masked() -> None:
    scores = torch.zeros(4, 4)
    assert hard_negatives(scores, 2).videos.tolist() == [[0, 1, 2], [1, 0, 2], [2, 0, 1], [3, 0, 1]]
    found = hard_negatives(scores, 2, caption_ids=torch.tensor([7, 7, 7, 8]))
    assert found.videos_mask.tolist() == [[True, True, False]] * 3 + [[True, True, True]]
    assert found.videos[:3, 1].tolist() == [3, 3, 3]
    only = hard_negatives(scores, 2, caption_ids=torch.zeros(4, dtype=torch.int64))
    assert FusionLoss()(vectors(24), only).item() == 0.0


@pytest.mark.parametrize(("shape", "num"), [((4, 4), 4), ((4, 4), -1), ((4, 5), 2), ((4,), 1)])
def test_a_batch_too_small_for_the_negatives_is_refused(shape: tuple[int, ...], num: int) -> None:
    with pytest.raises(ValueError, match="more pairs than negatives"):
        hard_negatives(torch.zeros(shape), num)


def test_a_pair_alone_has_no_negatives_and_nothing_to_lose() -> None:
    alone = hard_negatives(torch.ones(1, 1), 0)
    assert [each.tolist() for each in alone.pairs()] == [[0, 0], [0, 0]]
    assert FusionLoss()(vectors(2), alone).item() == 0.0


def test_fusion_loss_equals_a_loop_over_candidates() -> None:
    scores, fused = vectors(B, B), vectors(B, B, seed=1)
    found = hard_negatives(scores, 3, caption_ids=torch.tensor([0, 0, 0, 0, 1, 2]))
    texts, videos = found.pairs()
    assert len(texts) == 2 * B * 4
    given = fused[texts, videos]
    for_texts = for_videos = 0.0
    for i in range(B):
        row = [fused[i, j] for j, real in zip(found.videos[i], found.videos_mask[i], strict=True) if real]
        column = [fused[j, i] for j, real in zip(found.texts[i], found.texts_mask[i], strict=True) if real]
        for_texts -= float(torch.stack(row).log_softmax(0)[0])
        for_videos -= float(torch.stack(column).log_softmax(0)[0])
    assert FusionLoss()(given, found).item() == pytest.approx(for_texts + for_videos, rel=1e-5)
    assert FusionLoss(symmetric=False)(given, found).item() == pytest.approx(for_texts, rel=1e-5)


def test_the_total_has_the_published_weights() -> None:
    terms = torch.tensor(1.0), torch.tensor(10.0), torch.tensor(100.0)
    assert TACoLoss()(*terms).item() == 106.0
    assert TACoLoss(token_weight=1.0, fusion_weight=0.0)(*terms).item() == 11.0
