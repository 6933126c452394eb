"""Random weights that are the same everywhere: a function of a parameter's name, its shape and a seed."""

import math
import zlib

import torch
from torch import nn


def he_initialise(module: nn.Module, seed: int) -> None:
    """Fill a network with seeded He-normal weights, in place.

    Matrices and kernels get normal values of variance 2 / fan-in (He et al., arXiv:1502.01852), so that activations
    keep their size through ReLU layers; torch's default shrinks S3D's features to about 1e-8, which float16 cannot
    hold. Norm layers become the identity, biases 0. Each tensor draws from its own generator, seeded by its name, so
    that adding a layer does not change the others.

    Args:
        module: Any network; its tensors must live on the CPU.
        seed: Of the draw.
    """
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if not tensor.is_floating_point():
                continue
            if tensor.ndim > 1:
                generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) ^ (seed << 32))
                tensor.normal_(0.0, math.sqrt(2 / math.prod(tensor.shape[1:])), generator=generator)
            else:
                tensor.fill_(1.0 if name.endswith(("weight", "running_var")) else 0.0)
