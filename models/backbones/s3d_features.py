"""S3D-G for inference: batch norm folded away, convolutions in the form that is fast on few CPU threads.

Letters: B clips, F frames a clip, H W pixels, C channels, T time of a feature map, D feature width.
"""

import copy
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.backbones.s3d import MIXED_5C_DIM, S3D, VIDEO_EMBEDDING_DIM, ConvNorm, space_to_depth

Output = Literal["video_embedding", "mixed_5c"]
Precision = Literal["float32", "bfloat16"]


class PlanarConv(nn.Module):
    """A 3-D convolution that extends over space only or over time only, done as a matrix product or in 2-D.

    Single-threaded float32 `conv3d` avoids oneDNN where the last two kernel axes are 1 and the batch is below 16,
    which costs a factor of 2.5 over the whole network; the same arithmetic in 2-D never takes that path. On tensors
    that are laid out channels last, every change of shape here is a view.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        time, height, width = conv.kernel_size
        self.kind = "point" if time == height == width == 1 else "time" if height == width == 1 else "space"
        if self.kind == "space" and time != 1:
            raise ValueError(f"planar convolution: got kernel {conv.kernel_size}, expected 1 in time or 1x1 in space")
        weight = conv.weight.detach()
        if self.kind == "point":
            weight = weight[:, :, 0, 0, 0].contiguous()
        else:
            weight = (weight[:, :, 0] if self.kind == "space" else weight[:, :, :, 0]).contiguous(
                memory_format=torch.channels_last
            )
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach(), requires_grad=False)
        self.padding = (time // 2, 0) if self.kind == "time" else (height // 2, width // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, T, H, W) to (B, C_out, T, H, W), both laid out channels last."""
        last = x.permute(0, 2, 3, 4, 1)
        if self.kind == "point":
            return F.linear(last, self.weight, self.bias).permute(0, 4, 1, 2, 3)
        batch, time, height, width, channels = last.shape
        planes = (batch, time, height * width) if self.kind == "time" else (batch * time, height, width)
        plane = last.reshape(*planes, channels).permute(0, 3, 1, 2)
        plane = F.conv2d(plane, self.weight, self.bias, padding=self.padding).permute(0, 2, 3, 1)
        return plane.reshape(batch, time, height, width, -1).permute(0, 4, 1, 2, 3)


def fold_batch_norm(model: S3D) -> S3D:
    """Return a copy for inference: each batch norm is folded into its convolution, layout channels last.

    Outputs equal those of `model.eval()` up to rounding (float32: about 1e-5 of a row's length). The copy's state dict
    is no longer the published one.
    """
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    for module in folded.modules():
        if isinstance(module, ConvNorm):
            module.conv1, module.bn1 = _fold(module.conv1, module.bn1), nn.Identity()
            if module.separable:
                module.conv2, module.bn2 = _fold(module.conv2, module.bn2), nn.Identity()
    return folded


def _fold(conv: nn.Module, norm: nn.Module) -> nn.Module:
    if not isinstance(conv, nn.Conv3d) or not isinstance(norm, nn.BatchNorm3d):
        raise ValueError(f"S3D is folded already: got {type(conv).__name__} and {type(norm).__name__}")
    fused = fuse_conv_bn_eval(conv, norm)
    time, height, width = fused.kernel_size
    if time == 1 or height == width == 1:
        return PlanarConv(fused)
    fused.weight.data = fused.weight.data.contiguous(memory_format=torch.channels_last_3d)
    return fused


class S3DFeatures:
    """The frozen video tower as a function from decoded frames to feature rows."""

    def __init__(
        self,
        model: S3D,
        *,
        output: Output = "video_embedding",
        l2_normalise: bool = False,
        precision: Precision = "float32",
        device: torch.device | str = "cpu",
    ) -> None:
        """Prepare a copy of the model; `model` itself is left as it is.

        Args:
            model: With its weights loaded.
            output: Which of the two pooled outputs becomes the feature.
            l2_normalise: Scale each row to length 1, as VideoCLIP's extractor does (papers: fact sheet 2.3).
            precision: Of the convolutions; the mean over the last map and `fc` are float32 in either case.
            device: Where to compute.

        Raises:
            ValueError: `output` or `precision` is none of the names above.
        """
        if output not in ("video_embedding", "mixed_5c"):
            raise ValueError(f"S3D output: got {output!r}, expected 'video_embedding' or 'mixed_5c'")
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"S3D precision: got {precision!r}, expected 'float32' or 'bfloat16'")
        self.output = output
        self.l2_normalise = l2_normalise
        self.dim = VIDEO_EMBEDDING_DIM if output == "video_embedding" else MIXED_5C_DIM
        self._dtype = torch.float32 if precision == "float32" else torch.bfloat16
        self._model = fold_batch_norm(model).to(device=device, dtype=self._dtype)
        self._model.fc.float()
        self._device = torch.device(device)

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Tensor:
        """Encode clips.

        Args:
            frames: (B, F, H, W, 3) uint8, RGB; F, H and W even.

        Returns:
            (B, D) float32 on the CPU, D = `dim`.

        Raises:
            ValueError: The shape or the dtype is another one.
        """
        if frames.dtype != torch.uint8 or frames.ndim != 5 or frames.shape[4] != 3:
            raise ValueError(f"S3D frames: got {frames.dtype} {tuple(frames.shape)}, expected uint8 (B, F, H, W, 3)")
        if any(size % 2 or not size for size in frames.shape[1:4]):
            raise ValueError(f"S3D frames: got {tuple(frames.shape[1:4])}, expected even F, H, W")
        blocks = space_to_depth(frames.to(self._device)).to(torch.float32).div_(255.0)
        result = self._model.encode_blocks(blocks.to(self._dtype))
        features = result.video_embedding if self.output == "video_embedding" else result.mixed_5c
        if self.l2_normalise:
            features = F.normalize(features, dim=1)
        return features.float().cpu()
