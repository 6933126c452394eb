"""The door to spaCy: a local pipeline, by its path, as a `stages.text.tagging.Tagger`. spaCy is an optional extra."""

from collections.abc import Sequence
from pathlib import Path

from stages.errors import ConfigError
from stages.text.tagging import TaggedWord


class SpacyTagger:
    """Tags with `Token.pos_`."""

    def __init__(self, path: Path) -> None:
        """Load a pipeline from a folder.

        Raises:
            ConfigError: spaCy is not installed, the folder is no pipeline of it, or it sets no classes of words.
        """
        try:
            import spacy
        except ImportError as error:
            raise ConfigError(
                f"words.spacy = {path}: spaCy is not installed; pip install 'fabula[spacy]', or leave spacy out"
            ) from error
        try:
            self._pipeline = spacy.load(path)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"words.spacy = {path}: spaCy cannot load it ({error}); give a pipeline's folder"
            ) from error
        if not any(token.pos_ for token in self._pipeline("the cook stirs the soup")):
            raise ConfigError(
                f"words.spacy = {path}: the pipeline sets no classes of words (Token.pos_); give one with a tagger or "
                "morphologizer"
            )

    def tag(self, texts: Sequence[str]) -> list[list[TaggedWord]]:
        """See `Tagger`; punctuation and spaces are left out."""
        return [
            [
                TaggedWord(token.idx, token.idx + len(token.text), token.text.lower(), token.pos_)
                for token in document
                if not (token.is_punct or token.is_space)
            ]
            for document in self._pipeline.pipe(texts)
        ]
