"""Opening the encoder that a bundle asks for: from the bundle's own files, from a seed, or from a given path."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stages.errors import ConfigError
from stages.retrieval.bundle import Bundle

if TYPE_CHECKING:
    from models.encoders.joint import JointEncoder


@contextmanager
def open_query_encoder(
    bundle: Bundle, path: str | None = None, tokenizer: str | None = None
) -> Iterator["JointEncoder"]:
    """The encoder for questions to a bundle.

    Args:
        bundle: The index; a trained encoder lies in it.
        path: Of a frozen encoder's weights (a CLIP folder or hub id, S3D-G's weights), which no bundle holds.
        tokenizer: What such weights need for text: a published checkpoint's vocabulary, S3D-G's word list.

    Yields:
        The encoder, checked against the bundle's record.

    Raises:
        ConfigError: the weights lie outside of the bundle and no path is given, or they cannot be read.
        SchemaMismatch: it is another encoder than the index was made by.
    """
    from models.encoders.joint import EncoderSpec, open_encoder

    record = bundle.record.encoder
    with bundle.encoder_dir() as own:
        where = str(own) if own is not None else path
        if where is None and not (record.kind == "s3d-text" and record.random_weights):
            raise ConfigError(
                f"the index {bundle.folder} was made by {record.description!r}, whose weights are not in it; "
                f"give their path: --encoder {record.kind}:PATH"
            )
        # The bundle's own files were checked already, and a published checkpoint lies in it under our layout.
        sha256 = record.sha256 if own is None else None
        try:
            encoder = open_encoder(
                EncoderSpec(kind=record.kind, path=where, sha256=sha256, seed=record.seed, tokenizer=tokenizer)
            )
        except (ValueError, OSError) as error:
            raise ConfigError(f"the encoder of the index {bundle.folder} cannot be opened: {error}") from error
        bundle.require_encoder(encoder)
        yield encoder
