"""How each output of extract is made: what decides its bytes, and which frames it wants. Planning reads this."""

from typing import TYPE_CHECKING, Any

from stages.media.decoders import KEYFRAMES
from stages.media.presets import CLIP_PRESETS
from stages.media.settings import CLIP, FRAMES, RESNET, S3D, THUMBNAILS, OutputsConfig

if TYPE_CHECKING:
    from stages.media.consumers import Consumer
    from stages.media.geometry import Geometry


def make_recipes(config: OutputsConfig) -> dict[str, dict[str, Any]]:
    """Everything that decides the bytes of each output beside the videos, by label."""
    seen = config.model_dump(mode="json", include={"decoder", "decode"})
    how = {**seen, **config.model_dump(mode="json", include={"tail", "precision", "device"})}
    recipes: dict[str, dict[str, Any]] = {}
    for label, settings in ((S3D, config.s3d), (CLIP, config.clip), (RESNET, config.resnet)):
        if label.partition(".")[2] in config.backbones and settings is not None:
            recipes[label] = {**how, **settings.recipe()}
    if config.frames is not None:
        recipes[FRAMES] = {**seen, **config.frames.model_dump(mode="json")}
    if config.thumbnails:
        recipes[THUMBNAILS] = {**seen, "window_s": config.window_s, "stride_s": config.stride_s}
    return recipes


def make_consumer(config: OutputsConfig, label: str, geometry: "Geometry | None" = None) -> "Consumer":
    """Which frames of a video an output is made of.

    Args:
        config: what is extracted.
        label: of the output.
        geometry: the picture size of an image backbone, which its model decides; None where only times matter.
    """
    from stages.media import consumers
    from stages.media.geometry import Geometry
    from stages.media.keyframes import KeyframeRows, NearestKeyframes

    if label == S3D:
        return consumers.clip_consumer(CLIP_PRESETS[config.s3d.preset], config.tail)
    inner: Consumer
    images = {CLIP: config.clip, RESNET: config.resnet}.get(label)
    if images is not None:
        inner = consumers.image_consumer(images.preset, config.tail, geometry)
    elif label == FRAMES and (frames := config.frames) is not None:
        size = Geometry(width=frames.width, height=frames.height)
        inner = consumers.frames_consumer(frames.num_frames, frames.fps, size, frames.quality)
    else:
        inner = consumers.window_consumer(config.window_s, config.stride_s)
    if config.decode == "all":
        return inner
    return NearestKeyframes(inner=inner) if label == THUMBNAILS else KeyframeRows(inner=inner)


def decoder_name(config: OutputsConfig) -> str:
    """The decoder of the pass (`stages.media.decoders.DECODERS`)."""
    return KEYFRAMES if config.decode == "keyframes" else config.decoder


def required_consumers(config: OutputsConfig) -> dict[str, dict[str, Any]]:
    """What every video must have something for, whatever is asked of a unit: the backbones, or else the frames.

    Returns:
        Their consumers' JSON by label. It decides which videos fail, in each output: it is part of what names them all.
    """
    labels = [f"features.{backbone}" for backbone in config.backbones] or [FRAMES]
    return {label: make_consumer(config, label).to_json() for label in labels}
