"""JPEGs are plain, and the same pixels give the same bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from stages.media.jpeg import decode_picture, encode_jpeg


def test_same_pixels_same_bytes_and_any_reader_opens_them():
    rgb = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    data = encode_jpeg(rgb, 80)
    assert data == encode_jpeg(rgb.copy(), 80)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size, image.info.get("exif")) == ("JPEG", (160, 90), None)


def test_decoding_gives_the_pixels_that_any_reader_gives():
    rgb = np.linspace(0, 255, 64 * 48 * 3).reshape(48, 64, 3).astype(np.uint8)
    data = encode_jpeg(rgb, 90)
    assert np.array_equal(decode_picture(data), np.asarray(Image.open(io.BytesIO(data))))
    assert np.abs(decode_picture(data).astype(int) - rgb).mean() < 4
    grey = io.BytesIO()
    Image.fromarray(rgb[..., 0]).save(grey, "PNG")
    assert decode_picture(grey.getvalue()).shape == (48, 64, 3)


@pytest.mark.parametrize("content", [b"", b"no picture at all", "half"])
def test_what_is_no_picture_is_refused(content):
    whole = encode_jpeg(np.zeros((64, 64, 3), np.uint8), 80)
    with pytest.raises(ValueError, match="no picture that can be read"):
        decode_picture(whole[: len(whole) // 2] if content == "half" else content)
