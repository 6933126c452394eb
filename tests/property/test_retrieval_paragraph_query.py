"""Whatever the text: no sentence is empty, no word of prose is lost, and splitting the lines again changes nothing."""

from hypothesis import given
from hypothesis import strategies as st

from stages.retrieval.paragraph_query import split_sentences

words = st.text(alphabet=st.characters(categories=["Ll", "Lu"]), min_size=2, max_size=8)


@given(st.text())
def test_sentences_hold_words_and_no_line_breaks(text: str) -> None:
    for sentence in split_sentences(text):
        assert sentence == " ".join(sentence.split())
        assert any(character.isalnum() for character in sentence)


@given(st.lists(st.lists(words, min_size=1, max_size=5).map(" ".join), min_size=2, max_size=6))
def test_lines_are_sentences(lines: list[str]) -> None:
    assert split_sentences("\n".join(lines)) == lines
    assert split_sentences("\n".join(split_sentences("\n".join(lines)))) == lines


@given(st.lists(st.lists(words, min_size=1, max_size=5).map(" ".join), min_size=1, max_size=6))
def test_punctuation_loses_no_word(sentences: list[str]) -> None:
    found = split_sentences(". ".join(sentences) + ".")
    assert " ".join(found) == ". ".join(sentences) + "."
