"""Questions to an index: one on the command line, or any number over HTTP."""

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.commands import find_newest, newest_artifact
from pipeline.config import RunConfig
from pipeline.plan import resolve
from stages.artifacts.sealed import Artifact
from stages.errors import ConfigError
from stages.media.candidates import find_folder
from stages.retrieval import open_bundle
from stages.retrieval.paragraph_query import read_sentences
from stages.retrieval.results import Answer
from stages.training.choice import parse_encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to ask.

    Attributes:
        bundle_dir: the index.
        encoder_path: weights of a frozen encoder, which no bundle holds.
        tokenizer: what they need for text.
        media_dir: where the videos lie, if they are to be shown.
        thumbnails: pictures of them, if there are any.
    """

    bundle_dir: Path
    encoder_path: str | None = None
    tokenizer: str | None = None
    media_dir: Path | None = None
    thumbnails: Artifact | None = None


def place_of_run(config: RunConfig) -> Place:
    """The newest index of a configuration, and the encoder that it names."""
    resolved = resolve(config)
    tokenizer = resolved.embed.tokenizer
    return Place(
        bundle_dir=newest_artifact(config, "index").directory.path,
        encoder_path=parse_encoder(resolved.encoder).path,
        tokenizer=str(tokenizer) if tokenizer else None,
        media_dir=find_folder(resolved.ingest.media),
        thumbnails=find_newest(config, "thumbnails"),
    )


def place_of_bundle(folder: Path, encoder: str | None, tokenizer: Path | None, media_dir: Path | None = None) -> Place:
    """A bundle's folder, with the weights and videos that it needs from outside."""
    path = parse_encoder(encoder).path if encoder else None
    if media_dir is not None and not media_dir.is_dir():
        raise ConfigError(f"--media {media_dir}: there is no such folder; give the one that the index was made from")
    return Place(
        bundle_dir=folder,
        encoder_path=path,
        tokenizer=str(tokenizer) if tokenizer else None,
        media_dir=media_dir,
    )


def ask_like(place: Place, video: str, *, num_hits: int) -> Answer:
    """The videos that are most like one; needs no encoder."""
    from stages.retrieval.search import search_like

    return search_like(open_bundle(place.bundle_dir), video, k=num_hits)


def ask_text(place: Place, *, sentence: str | None, paragraph: str | None, num_hits: int, rerank: int) -> Answer:
    """The moments that show a sentence, or the videos that show a paragraph.

    Args:
        place: where.
        sentence: the one,
        paragraph: or the other: a text file, or `-` for standard input.
        num_hits: how many.
        rerank: moments for the sentence that a fusion scores again; see `search_sentence`.
    """
    from stages.retrieval.query_encoder import open_query_encoder
    from stages.retrieval.search import search_paragraph, search_sentence

    sentences = _read_paragraph(paragraph) if paragraph is not None else []
    bundle = open_bundle(place.bundle_dir)
    bundle.require_windows()
    with open_query_encoder(bundle, place.encoder_path, place.tokenizer) as encoder:
        if sentence is not None:
            return search_sentence(bundle, encoder, sentence, k=num_hits, rerank=rerank)
        return search_paragraph(bundle, encoder, sentences, k=num_hits)


def serve(place: Place, *, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Answer questions over HTTP, with a page that asks them, until the process is told to stop.

    Args:
        place: where.
        host: address to listen on.
        port: 0 takes a free one.
        on_ready: told the address.
    """
    from stages.media.thumbnail_reader import Thumbnails
    from stages.retrieval.query_encoder import open_query_encoder
    from stages.serve.library import Library
    from stages.serve.server import serve_forever

    bundle = open_bundle(place.bundle_dir)
    bundle.require_windows()
    with open_query_encoder(bundle, place.encoder_path, place.tokenizer) as encoder:
        library = Library(
            bundle=bundle,
            encoder=encoder,
            media_dir=place.media_dir,
            thumbnails=Thumbnails(place.thumbnails) if place.thumbnails else None,
            asking=threading.Lock(),
        )
        serve_forever(library, host=host, port=port, on_ready=on_ready)


def _read_paragraph(paragraph: str) -> list[str]:
    return read_sentences(sys.stdin.buffer if paragraph == "-" else Path(paragraph))
