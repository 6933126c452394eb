"""A spaCy pipeline that tags words, trained here in a second on three sentences."""

from pathlib import Path

SENTENCES = (
    (("the", "DET"), ("cook", "NOUN"), ("stirs", "VERB"), ("the", "DET"), ("soup", "NOUN"), (".", "PUNCT")),
    (("a", "DET"), ("hot", "ADJ"), ("pan", "NOUN"), ("waits", "VERB"), (".", "PUNCT")),
    (("stir", "VERB"), ("the", "DET"), ("hot", "ADJ"), ("soup", "NOUN"), (".", "PUNCT")),
)


def train_pipeline(folder: Path) -> Path:
    """Train the pipeline and write it; the folder."""
    import spacy
    from spacy.tokens import Doc
    from spacy.training import Example
    from spacy.util import fix_random_seed

    fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("morphologizer")
    examples = []
    for sentence in SENTENCES:
        words, tags = [word for word, _ in sentence], [tag for _, tag in sentence]
        reference = Doc(nlp.vocab, words=words, pos=tags, morphs=[""] * len(words))
        examples.append(Example(Doc(nlp.vocab, words=words), reference))
    nlp.initialize(lambda: examples)
    for _ in range(30):
        nlp.update(examples)
    nlp.to_disk(folder)
    return folder
