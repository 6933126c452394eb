"""Retrieval: indexes of window vectors, the bundle that makes them answers, and the questions that it takes.

::

    from stages.retrieval import open_bundle
    from stages.retrieval.search import search_like, search_paragraph, search_sentence

    bundle = open_bundle(Path("out/index/4f0c9a1be2d7"))
    search_like(bundle, "my-video.mp4", k=5).hits
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from stages.retrieval.bundle import Bundle

__all__ = ["open_bundle"]


def open_bundle(folder: "Path") -> "Bundle":
    """Open an index; see `stages.retrieval.bundle.open_bundle`, which this imports when it is called.

    Planning and the typed results must not import faiss, so that this package does not either.

    Args:
        folder: An `index` artifact of a store, or a plain copy in which the files have their logical names.

    Raises:
        NotSealed: there is no finished index in the folder.
        Corrupt: a file differs from its record, or a table is shuffled or stale.
        SchemaMismatch: another version wrote it, or vectors have another width or metric than recorded.
    """
    from stages.retrieval.bundle import open_bundle as open_checked

    return open_checked(folder)
