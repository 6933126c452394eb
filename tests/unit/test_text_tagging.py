"""Nouns and verbs: the lexical tagger on sentences tagged by hand, and a spaCy pipeline that is trained here."""

from pathlib import Path

import pytest

from stages.corpus.steps import NUM_STEPS, appearance_of, wordings
from stages.errors import ConfigError
from stages.text.spacy_tagger import SpacyTagger
from stages.text.tagging import LexicalTagger, TaggedWord
from tests.tiny_spacy import train_pipeline

BY_HAND = """
add:V the chopped onions:N to the pan:N and stir:V
then you want:V to mix:V it well
bring:V a pot:N of water:N to a boil:N
pour:V the batter:N into a greased cake:N pan:N
now place:V it on the grill:N
next fry:V the egg:N in olive:N oil:N
a shepherd:N stands:V among a flock:N of sheep:N
three brown bears:N sit:V and play:V on grass:N
two hands:N chop:V a head:N of cabbage:N with a kitchen:N knife:N on a white cutting board:N
a kitten:N plays:V on a blanket:N
a man:N in a white shirt:N pours:V coffee:N from a kettle:N into a blue mug:N
so yeah let's move:V on
the cut:N is deep
cut:V it in half and remove:V the seeds:N
first you wash:V the rice:N until the water:N runs:V clear
I'm going:V to tighten:V these two screws:N by hand:N
carefully lift:V the lid:N off the box:N
she was dancing:V in a beautiful dress:N
it doesn't taste:V salty
the dog:N catches:V the ball:N quickly
"""


def test_the_lexical_tagger_on_sentences_tagged_by_hand() -> None:
    found = wanted = both = 0
    for line in BY_HAND.strip().splitlines():
        words = [token.partition(":") for token in line.split()]
        tagged = LexicalTagger().tag([" ".join(word for word, _, _ in words)])[0]
        assert [word.word for word in tagged] == [word.lower() for word, _, _ in words]
        for (_, _, mark), word in zip(words, tagged, strict=True):
            is_wanted, is_found = mark != "", word.tag in ("NOUN", "VERB")
            wanted, found, both = wanted + is_wanted, found + is_found, both + (is_wanted and word.tag[0] == mark)
    assert both / wanted > 0.95
    assert both / found > 0.95


def test_every_step_of_the_corpus_has_its_noun() -> None:
    for step in range(NUM_STEPS):
        nouns = {noun.split()[-1] for noun in appearance_of(step).nouns} - {"plus"}
        for text in wordings(step):
            words = {word.word: word.tag for word in LexicalTagger().tag([text])[0]}
            assert all(words[noun] == "NOUN" for noun in nouns & words.keys()), (text, words)


def test_places_numbers_and_what_has_no_word() -> None:
    text = "Fry 2 eggs. Don’t touch them!"
    (words,) = LexicalTagger().tag([text])
    assert [text[word.start : word.end] for word in words] == ["Fry", "2", "eggs", "Don’t", "touch", "them"]
    assert [word.tag for word in words] == ["VERB", "NUM", "NOUN", "AUX", "VERB", "PRON"]
    assert LexicalTagger().tag(["", "...", "—"]) == [[], [], []]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("spacy", reason="spaCy is not installed: pip install 'fabula[spacy]'")
    return train_pipeline(tmp_path_factory.mktemp("spacy") / "tiny")


def test_a_spacy_pipeline_by_its_path(pipeline: Path) -> None:
    text = "the cook stirs the soup ."
    (words,) = SpacyTagger(pipeline).tag([text])
    assert [word.tag for word in words] == ["DET", "NOUN", "VERB", "DET", "NOUN"]
    assert words[1] == TaggedWord(4, 8, "cook", "NOUN")


def test_what_is_no_pipeline_is_named(tmp_path: Path, pipeline: Path) -> None:
    import spacy

    with pytest.raises(ConfigError, match=r"words\.spacy = .*nowhere: spaCy cannot load it"):
        SpacyTagger(tmp_path / "nowhere")
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(ConfigError, match="sets no classes of words"):
        SpacyTagger(tmp_path / "blank")
