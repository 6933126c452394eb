"""How much each word of interest counts: rare nouns and verbs more than frequent ones.

Source: TACo, arXiv:2108.09980, section 3: idf(word) = log(|D| / (1 + df)) over the training captions. The paper does
not say what a word counts that stands in nearly all of them; we cut at 0.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.errors import SchemaMismatch
from stages.text.tagging import LexicalTagger, TaggedWord, Tagger

SCHEMA = 1
NOT_OF_INTEREST = -1.0
"""The mark of a token whose word is of no interest; an idf is at least 0."""


@dataclass(frozen=True, slots=True)
class WeighedWord:
    """A word of interest in a text: from character `start` up to `end`, with its idf, at least 0."""

    start: int
    end: int
    idf: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WordWeights:
    """Document frequencies, and which words are of interest.

    Attributes:
        documents: captions that were counted.
        frequency: in how many of them a word of interest stands.
        classes: of words that are of interest.
        by_majority: decide by what a word mostly was when it was counted, since the tagger that saw it is not at hand;
            a word that was never seen is left to the lexical tagger.
        others: words that were seen and mostly were of no interest; empty unless decided by majority.
    """

    documents: int
    frequency: Mapping[str, int]
    classes: tuple[str, ...]
    by_majority: bool = False
    others: frozenset[str] = frozenset()

    def weigh(self, tagged: Iterable[TaggedWord]) -> list[WeighedWord]:
        """Return the words of interest of a tagged text."""
        return [WeighedWord(word.start, word.end, self.idf(word.word)) for word in tagged if self._is_of_interest(word)]

    def weigh_texts(self, texts: Sequence[str]) -> list[list[WeighedWord]]:
        """Return the words of interest of texts that were never tagged: of queries."""
        return [self.weigh(tagged) for tagged in LexicalTagger().tag(texts)]

    def idf(self, word: str) -> float:
        """log(|D| / (1 + df)), at least 0."""
        return max(0.0, math.log(self.documents / (1 + self.frequency.get(word, 0))))

    def _is_of_interest(self, word: TaggedWord) -> bool:
        if self.by_majority and word.word in self.frequency:
            return True
        return word.tag in self.classes and word.word not in self.others

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON; equal tables give equal JSON."""
        return {
            "schema": SCHEMA,
            "documents": self.documents,
            "classes": list(self.classes),
            "by_majority": self.by_majority,
            "frequency": dict(sorted(self.frequency.items())),
            "others": sorted(self.others),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "WordWeights":
        """Read what `to_json` gave.

        Raises:
            SchemaMismatch: it is something else.
        """
        try:
            if values["schema"] != SCHEMA:
                raise SchemaMismatch(f"word weights have schema {values['schema']}, this version reads {SCHEMA}")
            return cls(
                documents=int(values["documents"]),
                frequency={str(word): int(count) for word, count in values["frequency"].items()},
                classes=tuple(values["classes"]),
                by_majority=bool(values["by_majority"]),
                others=frozenset(values["others"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise SchemaMismatch(f"these are no word weights ({type(error).__name__}: {error})") from error


def count_words(texts: Sequence[str], tagger: Tagger, classes: Collection[str]) -> WordWeights:
    """Count in how many texts each word of interest stands.

    Args:
        texts: captions, at least one.
        tagger: finds and tags words.
        classes: those of interest, by Universal Dependencies.

    Returns:
        The weights; by majority unless the tagger is the lexical one, which every query can have again.
    """
    frequency: Counter[str] = Counter()
    interest: Counter[str] = Counter()
    for tagged in tagger.tag(texts):
        frequency.update({word.word for word in tagged if word.tag in classes})
        for word in tagged:
            interest[word.word] += 1 if word.tag in classes else -1
    by_majority = not isinstance(tagger, LexicalTagger)
    others = frozenset(word for word, balance in interest.items() if balance < 0) if by_majority else frozenset()
    kept = {word: count for word, count in frequency.items() if word not in others}
    return WordWeights(
        documents=len(texts), frequency=kept, classes=tuple(classes), by_majority=by_majority, others=others
    )


def mark_pieces(spans: Sequence[tuple[int, int]], words: Sequence[WeighedWord]) -> NDArray[np.float32]:
    """Give each word piece the weight of the word that it is part of.

    Args:
        spans: first character of each piece, and the one behind its last.
        words: of interest, in order.

    Returns:
        One mark a piece: its word's idf, or NOT_OF_INTEREST.
    """
    marks = np.full(len(spans), NOT_OF_INTEREST, dtype=np.float32)
    for place, (start, end) in enumerate(spans):
        for word in words:
            if word.start < end and start < word.end:
                marks[place] = word.idf
    return marks
