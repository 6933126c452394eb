"""Dropout as it is defined, from bits that are drawn four elements at a time."""

import pytest
import torch
from torch import nn

from models.encoders.bert import build_bert, run_packed
from models.encoders.config import DualConfig
from models.encoders.dropout import Dropout, use_cheap_dropout
from models.encoders.packed import Run

SMALL = DualConfig(
    hidden_size=32, num_heads=2, intermediate_size=64, video_layers=2, text_layers=1, vocab_size=120, max_positions=64
)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_share_scale_and_gradient(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(400_003, dtype=dtype, requires_grad=True)
    y = Dropout(p)(x)
    y.sum().backward()
    kept = y != 0
    for lane in range(4):  # each of the elements that share a draw
        assert kept[lane::4].float().mean().item() == pytest.approx(1 - p, abs=0.006)
    assert (kept[0::4][:100_000] & kept[3::4][:100_000]).float().mean().item() == pytest.approx((1 - p) ** 2, abs=0.006)
    assert y[kept].float().unique().item() == pytest.approx(1 / (1 - p), rel=4e-3 if dtype == torch.bfloat16 else 1e-4)
    assert torch.equal(x.grad, y.detach())  # of ones: what an element is multiplied with


def test_the_seed_decides_and_evaluation_changes_nothing() -> None:
    x, layer = torch.randn(7, 5, 3), Dropout(0.4)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(layer(x))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert layer.eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_every_dropout_of_a_bert_is_this_one() -> None:
    bert = build_bert(SMALL, num_layers=2)
    kinds = [type(module) for module in bert.modules() if isinstance(module, nn.Dropout)]
    assert kinds == [Dropout] * 7  # of the embeddings, and three a layer
    other = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3))
    use_cheap_dropout(other)
    assert (type(other[1]), other[1].p) == (Dropout, 0.3)


def test_attention_beside_dropout_is_the_fused_one_s() -> None:
    """A probability that no element meets: the way with dropout is taken, and nothing is dropped."""
    torch.manual_seed(0)
    bert = build_bert(SMALL, num_layers=2).train()
    tokens, runs = torch.randn(17, 32), (Run(0, 2, 3), Run(6, 1, 11))
    places = torch.cat([torch.arange(3), torch.arange(3), torch.arange(11)])
    for module in bert.modules():
        if isinstance(module, Dropout):
            module.p = 1e-9
    plain = run_packed(bert, tokens, runs, places)
    torch.testing.assert_close(plain, run_packed(bert.eval(), tokens, runs, places), rtol=1e-5, atol=1e-6)
