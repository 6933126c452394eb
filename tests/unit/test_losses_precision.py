"""Losses compute the products that decide them in float32, within autocast, too."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.losses.taco import SentenceLoss, TokenLoss, cascade_scores, hard_negatives
from models.losses.tempclr import TempCLRLoss
from models.losses.tempclr_steps import EpisodeLoss, StepSequenceLoss
from models.losses.vclr import VCLREmbeddings, VCLRLoss
from models.losses.videoclip import VideoCLIPLoss

N, E = 12, 64
MASK = torch.ones(N, 3, dtype=torch.bool)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def videoclip(x: Tensor, y: Tensor) -> Tensor:
    loss: Tensor = VideoCLIPLoss()(x, y)
    return loss


def tempclr(x: Tensor, y: Tensor) -> Tensor:
    total: Tensor = TempCLRLoss()(x, y, torch.arange(10).view(2, 5), seeded()).total
    return total


def step_sequences(x: Tensor, y: Tensor) -> Tensor:
    targets = torch.eye(N, 4).roll(1, 0)
    total: Tensor = StepSequenceLoss().train()(x, y[:4], targets, torch.arange(4), seeded()).total
    return total


def episodes(x: Tensor, y: Tensor) -> Tensor:
    shots = y.view(2, 1, 6, E)
    total: Tensor = EpisodeLoss()(x.view(2, 6, E), shots, torch.arange(2), seeded()).total
    return total


def taco(x: Tensor, y: Tensor) -> Tensor:
    sentence, token = SentenceLoss(), TokenLoss()
    words, clips = x[:, None] * torch.arange(1, 3)[:, None], y[:, None] * torch.arange(1, 4)[:, None]
    scores = token.scores(words, clips, MASK)
    cheap = cascade_scores(sentence.scores(x, y), scores, MASK[:, :2])
    assert torch.equal(hard_negatives(cheap, 4).videos[:, 0], torch.arange(N))
    total: Tensor = sentence(x, y) + token(scores, torch.full((N, 2), 0.5)) + 0 * cheap.sum()
    return total + cheap.std()


def vclr(x: Tensor, y: Tensor) -> Tensor:
    keys = torch.stack((y, x.detach(), y.roll(1, 0)))
    batch = VCLREmbeddings(
        inter_query=x, inter_keys=keys, intra_query=x, intra_keys=keys, segment_query=x, segment_key=y,
        order_logits=x[:, :4], order_labels=torch.zeros(N, dtype=torch.int64),
    )  # fmt: skip
    total: Tensor = VCLRLoss()(batch, y.flip(0), x.detach().flip(0)).total
    return total


@pytest.mark.parametrize("loss", [videoclip, tempclr, step_sequences, episodes, taco, vclr])
def test_autocast_changes_no_bit(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Dot products of some 64, of which bfloat16 knows every half alone."""
    x = torch.randn(N, E, generator=seeded()).requires_grad_()
    y = (x + 0.1 * torch.randn(N, E, generator=seeded())).detach().requires_grad_()
    exact = loss(x, y)
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ y.T).dtype == torch.bfloat16
        found = loss(x, y)
    assert torch.equal(found, exact)
    assert found.dtype == torch.float32
    for one, other in zip(torch.autograd.grad(found, x), torch.autograd.grad(exact, x), strict=True):
        assert torch.equal(one, other)
