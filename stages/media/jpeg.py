"""Pictures as JPEGs: the same pixels give the same bytes."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError


def encode_jpeg(rgb: NDArray[np.uint8], quality: int) -> bytes:
    """Encode a picture.

    Args:
        rgb: (H, W, 3) uint8.
        quality: 1 to 95.

    Returns:
        A baseline JPEG without metadata, 4:2:0.
    """
    file = io.BytesIO()
    Image.fromarray(rgb, mode="RGB").save(file, format="JPEG", quality=quality, subsampling="4:2:0", optimize=False)
    return file.getvalue()


def decode_picture(content: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG or another picture that Pillow knows.

    Returns:
        (H, W, 3) uint8 RGB, grey and palette pictures converted.

    Raises:
        ValueError: it is none, or it is cut.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.array(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f"no picture that can be read: {error}") from error
