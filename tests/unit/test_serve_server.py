"""Where a server listens, and what is said where it cannot."""

import socket
import threading
from pathlib import Path

import pytest

from stages.errors import ConfigError
from stages.serve.library import Library
from stages.serve.server import serve_forever
from tests.retrieval_samples import WordEncoder, bundle_of


@pytest.fixture
def library(tmp_path: Path) -> Library:
    bundle = bundle_of(tmp_path / "bundle", {"tea": ["wash", "pour"]})
    return Library(bundle=bundle, encoder=WordEncoder(), media_dir=None, thumbnails=None, asking=threading.Lock())


@pytest.mark.parametrize(
    ("host", "shown"),
    [("no-such-name.invalid", "no-such-name.invalid:0"), ("x..y", "x..y:0"), ("2001:db8::1", "[2001:db8::1]:0")],
)
def test_a_host_that_is_not_of_this_machine_is_refused_in_words(library: Library, host: str, shown: str) -> None:
    with pytest.raises(ConfigError) as refused:
        serve_forever(library, host=host, port=0, on_ready=pytest.fail)
    assert str(refused.value).startswith(f"serve: cannot listen on {shown} (")
    assert "Unknown error" not in str(refused.value)
    assert "()" not in str(refused.value)


def test_a_port_in_use_is_refused_in_words(library: Library) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1:{port} \(Address already in use\);"):
            serve_forever(library, host="127.0.0.1", port=port, on_ready=pytest.fail)
