"""The frozen networks as functions from frames to rows. Never imported by a decode process: this loads torch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from models.backbones.resnet import RESNETS, ResNet, random_resnet
from models.backbones.resnet_features import ResNetFeatures
from models.backbones.resnet_weights import load_resnet as load_resnet_file
from models.backbones.s3d import random_s3d
from models.backbones.s3d_features import S3DFeatures
from models.backbones.weights import load_s3d as load_s3d_file
from stages.errors import ConfigError
from stages.media.consumers import clip_geometry
from stages.media.encoders import Encode, FillingEncoder
from stages.media.geometry import Geometry
from stages.media.presets import CLIP_PRESETS
from stages.media.settings import (
    CLIP,
    RESNET,
    Arithmetic,
    OutputsConfig,
    Precision,
    ResNetConfig,
    ResNetWeights,
    S3DConfig,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBackbone:
    """A network that is ready.

    Attributes:
        encode: (B, F, H, W, 3) uint8 RGB -> (B, D) float32.
        geometry: the picture size that it wants.
        dim: D.
        compute: the same as `encode`, of tensors on the network's device.
    """

    encode: Encode
    geometry: Geometry
    dim: int
    compute: Callable[[torch.Tensor], torch.Tensor] | None = None


def open_backbone(config: OutputsConfig, label: str) -> LoadedBackbone:
    """Load the network behind a features label; ConfigError if its weights are not what they should be."""
    precision, device = config.precision, config.device
    if label == CLIP and config.clip is not None:
        return load_clip(config.clip.model, precision=precision, device=device)
    if label == RESNET:
        return load_resnet(config.resnet, precision=precision, device=device)
    return load_s3d(config.s3d, precision=precision, device=device)


def cuda_encoder(loaded: LoadedBackbone, batch_size: int, frames_per_clip: int) -> FillingEncoder | None:
    """Let a network on a card fill its batches across videos; None if the size of its pictures depends on the video."""
    from models.backbones.cuda_batches import CudaBatches

    side = loaded.geometry.crop
    if side is None or loaded.compute is None:
        return None
    return FillingEncoder(CudaBatches(loaded.compute, (batch_size, frames_per_clip, side, side, 3)))


def load_s3d(config: S3DConfig, *, precision: Precision, device: str) -> LoadedBackbone:
    """Load S3D-G.

    Raises:
        ConfigError: the weights are not there, not those of the checksum, or of another network; or this CPU does not
            compute in bfloat16, or in whole numbers.
    """
    check_precision(precision, device)
    check_arithmetic(config.arithmetic)
    preset = CLIP_PRESETS[config.preset]
    path = config.weights
    try:
        model = random_s3d(config.seed) if path is None else load_s3d_file(path, sha256=config.sha256)
    except ValueError as error:
        raise ConfigError(f"[extract.s3d] {error}") from error
    features = S3DFeatures(
        model,
        output=preset.output,
        l2_normalise=preset.l2_normalise,
        precision=precision,
        arithmetic=config.arithmetic,
        device=device,
    )
    return LoadedBackbone(
        encode=lambda clips: features(torch.from_numpy(clips)).numpy(),
        compute=features.compute,
        geometry=clip_geometry(preset),
        dim=features.dim,
    )


def load_clip(model: str, *, precision: Precision, device: str) -> LoadedBackbone:
    """Load the image tower of a CLIP or SigLIP model: a folder in the hub's layout, or a hub id.

    Raises:
        ConfigError: there is no such model, or it is no CLIP; or this CPU does not compute in bfloat16.
    """
    check_precision(precision, device)
    from models.backbones.clip import ClipTowers  # transformers takes seconds to import

    try:
        towers = ClipTowers(model, precision=precision, device=device)
    except ValueError as error:
        raise ConfigError(f"[extract.clip] {error}") from error
    shape = towers.preprocess
    if shape.short_side is not None and shape.height == shape.width <= shape.short_side:
        geometry = Geometry(short_side=shape.short_side, crop=shape.height)
    else:  # a model that stretches (SigLIP) wants the whole picture
        geometry = Geometry(short_side=max(shape.height, shape.width))
    return LoadedBackbone(
        encode=lambda frames: towers.encode_frames(torch.from_numpy(frames[:, 0])).numpy(),
        compute=lambda frames: towers.compute(frames[:, 0]),
        geometry=geometry,
        dim=towers.dim,
    )


def load_resnet(config: ResNetConfig, *, precision: Precision, device: str) -> LoadedBackbone:
    """Load a ResNet.

    Raises:
        ConfigError: as `open_resnet`; or this CPU does not compute in bfloat16.
    """
    check_precision(precision, device)
    features = ResNetFeatures(open_resnet(config, "[extract.resnet]"), precision=precision, device=device)
    return LoadedBackbone(
        encode=lambda frames: features(torch.from_numpy(frames[:, 0])).numpy(),
        compute=lambda frames: features.compute(frames[:, 0]),
        geometry=Geometry(short_side=config.short_side, crop=config.crop),
        dim=features.dim,
    )


def open_resnet(chosen: ResNetWeights, where: str) -> ResNet:
    """Return the network with its weights, plain.

    Args:
        chosen: which.
        where: the section of a configuration that chose it, for messages.

    Raises:
        ConfigError: the weights are not there, not those of the checksum, or of another network.
    """
    try:
        if chosen.weights is None:
            return random_resnet(RESNETS[chosen.size], chosen.seed)
        return load_resnet_file(chosen.weights, RESNETS[chosen.size], sha256=chosen.sha256)
    except ValueError as error:
        raise ConfigError(f"{where} {error}") from error


def check_precision(precision: Precision, device: str) -> None:
    """Refuse bfloat16 where it would be emulated, many times slower than float32.

    Raises:
        ConfigError: the CPU has neither avx512_bf16 nor amx_bf16.
    """
    if precision != "bfloat16" or device != "cpu":
        return
    able = torch.cpu.get_capabilities()
    if not (able.get("avx512_bf16") or able.get("amx_bf16")):
        name = able.get("cpu_name", "this CPU")
        raise ConfigError(
            f"[extract] precision = 'bfloat16': {name} has neither avx512_bf16 nor amx_bf16; set precision = 'float32'"
            " (features of the two precisions are different artifacts), or run on a machine that has one of them"
        )


def check_arithmetic(arithmetic: Arithmetic) -> None:
    """Refuse whole numbers where they would be emulated.

    Raises:
        ConfigError: the CPU has no AVX2.
    """
    able = torch.cpu.get_capabilities()
    if arithmetic == "int8" and not able.get("avx2"):
        name = able.get("cpu_name", "this CPU")
        raise ConfigError(
            f"[extract.s3d] arithmetic = 'int8': {name} has no AVX2; set arithmetic = 'float' (features of the two are "
            "different artifacts), or run on a machine that has it"
        )
