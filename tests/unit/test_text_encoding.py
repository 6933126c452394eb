import codecs

import pytest

from stages.errors import BadTranscript
from stages.text.encoding import decode_text


@pytest.mark.parametrize(
    "content",
    [
        "é\nb".encode(),
        codecs.BOM_UTF8 + "é\nb".encode(),
        codecs.BOM_UTF16_LE + "é\nb".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "é\nb".encode("utf-16-be"),
        "é\r\nb".encode(),
        "é\rb".encode(),
    ],
)
def test_marks_and_line_endings(content: bytes) -> None:
    assert decode_text(content, "x.vtt") == "é\nb"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"x\.vtt: got an empty file"),
        (b" \r\n\n", r"x\.vtt: got an empty file"),
        (b"a\ncaf\xe9\n", r"x\.vtt:2: byte 5 \(0xe9\) is not utf-8.*save the file as UTF-8"),
        (codecs.BOM_UTF16_LE + b"a", r"x\.vtt:1: byte 0 .* is not utf-16|x\.vtt:1: byte 2"),
        (b"a\nb\0c", r"x\.vtt:2: got a NUL character"),
    ],
)
def test_what_is_no_text(content: bytes, message: str) -> None:
    with pytest.raises(BadTranscript, match=message):
        decode_text(content, "x.vtt")
