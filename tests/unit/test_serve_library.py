"""What a server answers without being one."""

import threading
from pathlib import Path

import pytest

from stages.errors import ConfigError
from stages.serve.library import MOST_SENTENCES, Library
from tests.retrieval_samples import WordEncoder, bundle_of


def test_a_paragraph_of_very_many_sentences_is_refused(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", {"tea": ["wash", "pour"], "cake": ["fold", "bake"]})
    library = Library(bundle=bundle, encoder=WordEncoder(), media_dir=None, thumbnails=None, asking=threading.Lock())
    assert library.ask_paragraph("fold\nbake", 1).hits[0].video_id == "cake"
    assert library.ask_paragraph("fold\n" * MOST_SENTENCES, 1).hits
    with pytest.raises(ConfigError, match="201 sentences, at most 200"):
        library.ask_paragraph("fold\n" * (MOST_SENTENCES + 1), 1)
