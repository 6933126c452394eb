"""VideoCLIP's objective: closed form, symmetry, and torch's cross entropy."""

import math

import pytest
import torch
import torch.nn.functional as F

from models.losses.videoclip import VideoCLIPLoss


def pairs(count: int = 5, width: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, width, generator=generator), torch.randn(count, width, generator=generator)


@pytest.mark.parametrize(("count", "scale"), [(1, 1.0), (2, 0.5), (8, 1.0), (512, 2.0), (512, 3.0)])
def test_closed_form_of_matching_unit_vectors(count: int, scale: float) -> None:
    vectors = scale * torch.eye(count, 512)
    expected = 2 * math.log(1 + (count - 1) * math.exp(-(scale**2)))
    assert float(VideoCLIPLoss()(vectors, vectors)) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_video_and_text_may_be_exchanged() -> None:
    video, text = pairs()
    assert torch.equal(VideoCLIPLoss()(video, text), VideoCLIPLoss()(text, video))


def test_the_order_of_the_pairs_does_not_matter() -> None:
    video, text = pairs()
    order = torch.tensor([3, 1, 4, 0, 2])
    assert torch.allclose(VideoCLIPLoss()(video[order], text[order]), VideoCLIPLoss()(video, text))


def test_it_is_both_cross_entropies_added() -> None:
    video, text = pairs()
    target = torch.arange(5)
    expected = F.cross_entropy(video @ text.T, target) + F.cross_entropy(text @ video.T, target)
    assert torch.allclose(VideoCLIPLoss()(video, text), expected)


def test_gradient() -> None:
    video, text = (x.double().requires_grad_() for x in pairs(3, 4))

    def in_double(v: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        logits = v @ t.T
        return -(logits.log_softmax(0).diagonal() + logits.log_softmax(1).diagonal()).mean()

    expected = torch.autograd.grad(in_double(video, text), (video, text))
    got = torch.autograd.grad(VideoCLIPLoss()(video, text), (video, text))
    for one, other in zip(got, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_half_precision_inputs_are_scored_in_float32() -> None:
    # Dot products of about 70, where float16 knows steps of 1/16 only.
    video, text = (F.normalize(x, dim=1).mul(8.4).half() for x in pairs())
    loss = VideoCLIPLoss()(video, text)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, VideoCLIPLoss()(video.float(), text.float()))


@pytest.mark.parametrize(
    ("one", "other"), [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((3, 4, 1), (3, 4, 1)), ((0, 4), (0, 4))]
)
def test_shapes_that_are_no_pairs_are_refused(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected two \(N, E\)"):
        VideoCLIPLoss()(torch.zeros(one), torch.zeros(other))
