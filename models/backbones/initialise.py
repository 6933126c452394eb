"""Random weights that are the same everywhere: a function of a parameter's name, its shape and a seed."""

import math
import zlib

import numpy as np
import torch
from torch import Tensor, nn


def fill_normal(tensor: Tensor, std: float, *, name: str, seed: int) -> None:
    """Fill a tensor in place with normal values that follow from its name, its shape and a seed.

    The values come from NumPy: torch's CPU generator keeps only the low 32 bits of a seed, too few for both.

    Args:
        tensor: Any shape, float; must live on the CPU.
        std: Standard deviation; the mean is 0.
        name: Of the tensor in its network; tensors of other names get independent values.
        seed: >= 0.
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    values = rng.standard_normal(tuple(tensor.shape), dtype=np.float32)
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(values).mul_(std))


def he_initialise(module: nn.Module, seed: int) -> None:
    """Fill a network with seeded He-normal weights, in place.

    Matrices and kernels get normal values of variance 2 / fan-in (He et al., arXiv:1502.01852), so that activations
    keep their size through ReLU layers; torch's default shrinks S3D's features to about 1e-8, which float16 cannot
    hold. Norm layers become the identity, biases 0. Each tensor draws from its own generator, seeded by its name, so
    that adding a layer does not change the others.

    Args:
        module: Any network; its tensors must live on the CPU.
        seed: Of the draw, >= 0.
    """
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if not tensor.is_floating_point():
                continue
            if tensor.ndim > 1:
                fill_normal(tensor, math.sqrt(2 / math.prod(tensor.shape[1:])), name=name, seed=seed)
            else:
                tensor.fill_(1.0 if name.endswith(("weight", "running_var")) else 0.0)
