"""Weights of words: counts, their JSON, and queries that the tagger of training never sees."""

import json
import math

import pytest

from stages.errors import SchemaMismatch
from stages.text.tagging import LexicalTagger, TaggedWord
from stages.text.word_weights import WordWeights, count_words

TEXTS = ["stir the soup", "the soup is hot", "a cook stirs the soup", "slowly"]


def test_idf_counts_captions_and_never_falls_below_0() -> None:
    words = count_words(TEXTS, LexicalTagger(), ("NOUN", "VERB"))
    assert words.documents == 4
    assert words.frequency == {"stir": 1, "soup": 3, "cook": 1, "stirs": 1}
    assert words.idf("stir") == pytest.approx(math.log(4 / 2))
    assert words.idf("soup") == 0.0
    assert words.idf("never") == pytest.approx(math.log(4))
    (weighed,) = words.weigh_texts(["stir the stew"])
    assert [(word.start, word.end) for word in weighed] == [(0, 4), (9, 13)]
    assert [word.idf for word in weighed] == pytest.approx([math.log(2), math.log(4)])


def test_json_brings_them_back() -> None:
    words = count_words(TEXTS, LexicalTagger(), ("DET",))
    assert words.frequency == {"the": 3, "a": 1}
    assert WordWeights.from_json(json.loads(json.dumps(words.to_json()))) == words
    with pytest.raises(SchemaMismatch, match="no word weights"):
        WordWeights.from_json({"documents": 3})
    with pytest.raises(SchemaMismatch, match="schema 9, this version reads 1"):
        WordWeights.from_json({**words.to_json(), "schema": 9})


class Odd:
    """Calls every word a noun, but `soup` an adverb once in three times and `the` always."""

    def tag(self, texts: list[str]) -> list[list[TaggedWord]]:
        return [[TaggedWord(0, len(word), word, self._of(word, text)) for word in text.split()] for text in texts]

    @staticmethod
    def _of(word: str, text: str) -> str:
        return "ADV" if word == "the" or (word == "soup" and "hot" in text) else "NOUN"


def test_words_of_a_tagger_that_is_not_at_hand_are_decided_by_majority() -> None:
    words = WordWeights.from_json(count_words(TEXTS, Odd(), ("NOUN",)).to_json())
    assert words.by_majority
    found = words.weigh_texts(["slowly the soup cooks is"])[0]
    text = "slowly the soup cooks is"
    # `is` and `slowly` were nouns to this tagger; `cooks` it never saw, and the lexical one says it is a verb.
    assert [text[word.start : word.end] for word in found] == ["slowly", "soup", "is"]
