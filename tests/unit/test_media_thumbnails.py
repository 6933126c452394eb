"""Thumbnails are plain small JPEGs."""

import io

import numpy as np
from PIL import Image

from stages.media.thumbnails import encode_thumbnail


def test_same_pixels_same_bytes_and_any_reader_opens_them():
    rgb = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    data = encode_thumbnail(rgb)
    assert data == encode_thumbnail(rgb.copy())
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size, image.info.get("exif")) == ("JPEG", (160, 90), None)
