"""Products that a loss computes itself: autocast would take float32 and make bfloat16 of it.

Dot products of 60 to 75 decide these losses, and bfloat16 has steps of a half there.
"""

import torch
from torch import Tensor


def full_precision(inputs: Tensor) -> torch.autocast:
    """Give a context that leaves products on the device of `inputs` as precise as what goes into them."""
    return torch.autocast(inputs.device.type, enabled=False)
