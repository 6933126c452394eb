"""Dropout whose random bits are cheap on a CPU, where torch draws a double for every element, one after the other.

Sixteen bits decide an element, four elements share a draw. So the probability is a multiple of 1 / 65,536 (0.1 becomes
0.100006), and what is kept is scaled by what it really is.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STEPS = 1 << 16


class Dropout(nn.Dropout):
    """Zeroes elements with probability `p` while training, and scales the others by 1 / (1 - p)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map a float tensor of any shape to one of that shape; the seed comes from torch's generator of its device."""
        if not self.training or self.p == 0.0:
            return x
        return x * _kept(x, round(self.p * _STEPS)) if x.device.type == "cpu" else F.dropout(x, self.p)


def use_cheap_dropout(module: nn.Module) -> None:
    """Put `Dropout` in the place of every nn.Dropout within a module."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p))


def _kept(x: Tensor, dropped: int) -> Tensor:
    """Zero in `dropped` of 65,536 places, elsewhere the scale; shape and dtype of `x`.

    numpy draws twice as fast as torch and compares with vector instructions; torch is slow with booleans, too, but not
    with the same bytes as integers.
    """
    seed = int(torch.randint(1 << 62, ()))
    draws = np.random.SFC64(seed).random_raw(-(-x.numel() // 4)).view(np.uint16)[: x.numel()]
    kept = torch.from_numpy((draws >= dropped).view(np.uint8)).view(x.shape)
    return kept.to(x.dtype).mul_(_STEPS / (_STEPS - dropped))
