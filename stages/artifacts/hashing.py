"""Content hashes (xxh3-128, hex) and canonical JSON, on which all fingerprints rest."""

import json
from pathlib import Path
from typing import Any

import xxhash

CHUNK_BYTES = 1 << 20


def canonical_json(value: Any) -> bytes:
    """The one byte string of a JSON value: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def pretty_json(value: Any) -> bytes:
    """The same for files that people open: sorted keys, indented, newline at the end."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def fingerprint(value: Any) -> str:
    """32 hex digits of a JSON value's canonical form."""
    return hash_bytes(canonical_json(value))


def hash_bytes(content: bytes) -> str:
    """32 hex digits of a byte string."""
    return xxhash.xxh3_128_hexdigest(content)


def hash_word(text: str, seed: int) -> int:
    """64 bits of a text and a seed, as a number: what draws by name rather than by place."""
    return xxhash.xxh3_64_intdigest(text.encode(), seed)


def hash_file(path: Path) -> str:
    """32 hex digits of a file's content, read in pieces of 1 MiB."""
    state = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            state.update(chunk)
    return state.hexdigest()


def hash_files(path: Path) -> dict[str, str]:
    """The hash of a file, or of each file of a folder, by its name there."""
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    return {file.name: hash_file(file) for file in files}
