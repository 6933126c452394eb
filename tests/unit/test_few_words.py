"""The table that a tower hardly reads: the same vectors, states and updates as a whole `nn.Embedding`."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from models.encoders.build import build_encoder, random_encoder
from models.encoders.config import DualConfig
from models.encoders.few_words import FewWords

IDS = (7, 3)
SMALL = DualConfig(
    hidden_size=32, num_heads=2, intermediate_size=64, video_layers=1, text_layers=1, vocab_size=120, max_positions=64
)


def updated(words: nn.Module) -> torch.Tensor:
    """The table after three steps of Adam on the rows that are read, the norm of whose gradients is clipped."""
    optimiser = torch.optim.Adam([p for p in words.parameters() if p.requires_grad], lr=0.1, fused=True)
    target = torch.arange(10.0).view(2, 5)
    for _ in range(3):
        optimiser.zero_grad()
        (words(torch.tensor([3, 7])) - target).square().sum().backward()
        nn.utils.clip_grad_norm_([p for p in words.parameters() if p.requires_grad], 2.0)
        optimiser.step()
    return words.state_dict()["weight"]


def test_it_learns_what_a_whole_table_learns() -> None:
    torch.manual_seed(0)
    table = nn.Embedding(11, 5)
    few = FewWords(table, IDS)
    before = few.whole()
    assert torch.equal(before, table.weight)
    assert torch.equal(few(torch.tensor([[3, 7, 7]])), table(torch.tensor([[3, 7, 7]])))
    after = updated(few)
    torch.testing.assert_close(after, updated(table), rtol=1e-6, atol=1e-6)
    assert not torch.equal(after[list(IDS)], before[list(IDS)])
    assert [parameter.numel() for parameter in few.parameters() if parameter.requires_grad] == [2 * 5]
    assert sum(parameter.numel() for parameter in few.parameters()) == table.weight.numel()


def test_its_state_is_that_of_an_embedding() -> None:
    table, few = nn.Embedding(11, 5), FewWords(nn.Embedding(11, 5), IDS)
    assert few.state_dict().keys() == table.state_dict().keys()
    few.load_state_dict(table.state_dict())
    assert torch.equal(few.whole(), table.weight)
    assert torch.equal(few(torch.tensor([7])), table(torch.tensor([7])))
    with pytest.raises(RuntimeError, match="size mismatch"):
        few.load_state_dict(nn.Embedding(12, 5).state_dict())
    with pytest.raises(RuntimeError, match="Missing key"):
        few.load_state_dict({})


def test_a_row_that_is_not_read_is_refused() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        FewWords(nn.Embedding(11, 5), IDS)(torch.tensor([4]))


def test_only_a_tower_of_its_own_has_it() -> None:
    words = random_encoder(SMALL, seed=0).video_encoder.bert.get_input_embeddings()
    assert isinstance(words, FewWords)
    assert words.whole().std().item() == pytest.approx(0.02, rel=0.1)  # all of it as BERT begins
    shared = build_encoder(replace(SMALL, shared=True, max_positions=100))
    assert isinstance(shared.video_encoder.bert.get_input_embeddings(), nn.Embedding)
