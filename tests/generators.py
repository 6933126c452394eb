"""Sources of random tensors for tests."""

import torch


def seeded(seed: int = 0) -> torch.Generator:
    """A generator of its own, so that no test draws from what another has left."""
    return torch.Generator().manual_seed(seed)
