"""A paragraph as users write it."""

import io

import pytest

from stages.errors import ConfigError
from stages.retrieval.paragraph_query import read_sentences, split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Pour the milk.\nStir it. Well.\n\n  Serve  ", ["Pour the milk.", "Stir it. Well.", "Serve"]),
        ("Pour the milk. Stir it!  Serve?", ["Pour the milk.", "Stir it!", "Serve?"]),
        ("pour the milk. stir it", ["pour the milk.", "stir it"]),
        ("Add 2.5 cups, e.g. of milk. Stir.", ["Add 2.5 cups, e.g. of milk.", "Stir."]),
        ("1. Crack the eggs\n2) Whisk\n- Fry", ["Crack the eggs", "Whisk", "Fry"]),
        ("1. Crack the eggs. 2. Whisk.", ["Crack the eggs.", "Whisk."]),
        ("Heat it to 350. Stir it.", ["Heat it to 350.", "Stir it."]),  # a number that ends a sentence
        ('He says "stop." Then he goes.', ['He says "stop.', "Then he goes."]),
        ("倒牛奶。搅拌。", ["倒牛奶。", "搅拌。"]),
        ("one sentence", ["one sentence"]),
        ("pour\r\nstir\r\n", ["pour", "stir"]),
        ("...\n---\n", []),
        ("", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path) -> None:
    (tmp_path / "p.txt").write_bytes("Pour.\nStir.".encode("utf-8-sig"))
    assert read_sentences(tmp_path / "p.txt") == ["Pour.", "Stir."]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe\x00p", "not UTF-8 text: byte 0"), (b" \n\n", "no sentence"), (None, "cannot be read: No such file")],
)
def test_a_file_that_is_no_paragraph_is_named(tmp_path, content: bytes | None, message: str) -> None:
    path = tmp_path / "p.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_sentences(path)


def test_standard_input_is_read_like_a_file() -> None:
    assert read_sentences(io.BytesIO("\ufeffPour.\nStir it, café.".encode())) == ["Pour.", "Stir it, café."]
    with pytest.raises(ConfigError, match="on standard input is not UTF-8 text: byte 3"):
        read_sentences(io.BytesIO(b"caf\xe9"))
    with pytest.raises(ConfigError, match="on standard input holds no sentence"):
        read_sentences(io.BytesIO(b" .\n"))
