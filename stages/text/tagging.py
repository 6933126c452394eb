"""Which words of a sentence are nouns and verbs: what TACo looks at one by one.

The lexical tagger needs no model. It looks a word up (`lexicon`), reduces an inflected form to its base, and else goes
by its ending and its neighbours:

1. a number is NUM; a word of a closed class has that class;
2. a verb's form is a VERB, but a NOUN after an article, a possessive, an adjective, a number or a preposition, and
   where it is as often a noun also after another verb;
3. -ly is ADV; -ful, -ous, -less, -ish, -able, -ive are ADJ; -ing and -ed are VERB, after an article or adjective ADJ;
4. everything else is a NOUN, since unknown words are.

Names are nouns: speech recognition writes them in lower case. A local spaCy pipeline does better (`spacy_tagger`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stages.text.lexicon import CLASS_OF, NOUN_OR_VERB, VERB_BASES

_WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?")
_AFTER_THESE_A_NOUN = frozenset({"DET", "ADJ", "NUM", "ADP"})
_ADJECTIVE_ENDS = ("ful", "ous", "less", "ish", "able", "ible", "ive")


@dataclass(frozen=True, slots=True)
class TaggedWord:
    """One word of a text.

    Attributes:
        start: of its first character.
        end: behind its last one.
        word: lower case.
        tag: its class by Universal Dependencies.
    """

    start: int
    end: int
    word: str
    tag: str


class Tagger(Protocol):
    """Finds words and their classes."""

    def tag(self, texts: Sequence[str]) -> list[list[TaggedWord]]:
        """Return the words of each text, in order."""


class LexicalTagger:
    """Tags by lists and rules; see the module."""

    def tag(self, texts: Sequence[str]) -> list[list[TaggedWord]]:
        """See `Tagger`."""
        return [self._tag_one(text) for text in texts]

    def _tag_one(self, text: str) -> list[TaggedWord]:
        words: list[TaggedWord] = []
        end = 0
        for match in _WORD.finditer(text):
            begins = any(mark in text[end : match.start()] for mark in ".!?:;")
            before = "" if begins or not words else words[-1].tag
            word = match.group().lower().replace("’", "'")
            words.append(TaggedWord(match.start(), match.end(), word, _class_of(word, before)))
            end = match.end()
        return words


def _class_of(word: str, before: str) -> str:
    """The class of a lower-case word behind one of class `before`, '' at the start of a sentence."""
    if word[0].isdigit():
        return "NUM"
    known = CLASS_OF.get(word)
    if known is not None and not (known in ("ADJ", "ADV") and word in VERB_BASES and before in ("", "PART", "AUX")):
        return known
    base = _verb_base(word)
    if base is not None:
        is_noun = before in _AFTER_THESE_A_NOUN or (before == "VERB" and base in NOUN_OR_VERB)
        return "NOUN" if is_noun and not word.endswith(("ed", "ing")) else _form(word, before)
    if word.endswith("ly") and len(word) > 4:
        return "ADV"
    if word.endswith(_ADJECTIVE_ENDS) and len(word) > 5:
        return "ADJ"
    if word.endswith(("ing", "ed")) and len(word) > 4:
        return _form(word, before)
    return "NOUN"


def _form(word: str, before: str) -> str:
    """A verb, or its participle used as an adjective."""
    return "ADJ" if before in ("DET", "ADJ", "NUM") and word.endswith(("ed", "ing")) else "VERB"


def _verb_base(word: str) -> str | None:
    """The base of a regular form of a known verb: stirs, stirring, stirred -> stir; dries -> dry; slicing -> slice."""
    if word in VERB_BASES:
        return word
    for ending, longest in (("ies", 3), ("ied", 3), ("es", 2), ("s", 1), ("ing", 3), ("ed", 2)):
        if not word.endswith(ending) or len(word) < longest + 2:
            continue
        stem = word[:-longest]
        tried = [stem + "y"] if ending in ("ies", "ied") else [stem, stem + "e"]
        if ending in ("ing", "ed") and len(stem) > 2 and stem[-1] == stem[-2]:
            tried.append(stem[:-1])
        found = next((base for base in tried if base in VERB_BASES), None)
        if found is not None:
            return found
    return None
