"""Small JPEGs that show what a search window holds."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_QUALITY = 80


def encode_thumbnail(rgb: NDArray[np.uint8]) -> bytes:
    """Encode a picture; the same pixels give the same bytes.

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        A baseline JPEG without metadata, quality 80, 4:2:0.
    """
    file = io.BytesIO()
    Image.fromarray(rgb, mode="RGB").save(file, format="JPEG", quality=_QUALITY, subsampling="4:2:0", optimize=False)
    return file.getvalue()
