"""The application without a server: what it refuses before it reads on, and what it does not wait for."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from stages.media.proxies import stream_moment
from stages.serve.api import MOST_BODY_BYTES, MOST_MOMENTS, create_app
from stages.serve.library import Library
from tests.retrieval_samples import WordEncoder, bundle_of


@pytest.fixture
def app(tmp_path: Path) -> Any:
    (tmp_path / "media" / "kitchen").mkdir(parents=True)
    (tmp_path / "media" / "kitchen" / "tea.mp4").touch()
    bundle = bundle_of(tmp_path / "bundle", {"tea": ["wash", "pour"]})
    return create_app(
        Library(
            bundle=bundle,
            encoder=WordEncoder(),
            media_dir=tmp_path / "media",
            thumbnails=None,
            asking=threading.Lock(),
        ),
        hosts=["localhost"],
    )


class Client:
    """One request to an application, its body in pieces; counts what is read of them and keeps the answer."""

    def __init__(self, method: str, target: str, pieces: Iterable[bytes] = (b"",), **headers: str) -> None:
        path, _, query = target.partition("?")
        told = {"host": "localhost", "content-type": "application/json", **headers}
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in told.items()],
        }
        self.pieces = iter(pieces)
        self.num_read, self.status, self.body = 0, 0, b""
        self.headers: dict[bytes, bytes] = {}

    async def receive(self) -> dict[str, Any]:
        piece = next(self.pieces, None)
        if piece is None:
            await asyncio.sleep(3600)
        self.num_read += 1
        return {"type": "http.request", "body": piece, "more_body": piece != b""}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        self.body += message.get("body", b"")

    def ask(self, app: Any) -> "Client":
        asyncio.run(app(self.scope, self.receive, self.send))
        return self


def test_a_body_whose_length_is_told_as_too_much_is_not_read(app: Any) -> None:
    client = Client("POST", "/api/sentence", [b"x" * 1000], content_length=str(MOST_BODY_BYTES + 1)).ask(app)
    assert (client.status, client.num_read) == (413, 0)
    assert json.loads(client.body) == {"error": f"the request has more than {MOST_BODY_BYTES} bytes"}
    assert client.headers[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize("target", ["/api/sentence", "/api/index", "/"])
def test_a_body_in_pieces_is_read_until_it_is_too_much(app: Any, target: str) -> None:
    client = Client("POST", target, [b"x" * (MOST_BODY_BYTES // 4)] * 1000, transfer_encoding="chunked").ask(app)
    assert (client.status, client.num_read) == (413, 5)


def test_the_longest_question_fits_however_it_is_written(app: Any) -> None:
    text = "pour " + "\N{GRINNING FACE}" * (20_000 - 5)
    body = json.dumps({"text": text}).encode()
    assert len(body) > 12 * 19_000
    client = Client("POST", "/api/sentence", [body[:5], body[5:], b""]).ask(app)
    assert (client.status, json.loads(client.body)["query"]) == (200, text)
    assert Client("GET", "/api/index").ask(app).status == 200


def hanging(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program that says its id and hangs in the place of ffmpeg; return where it says it."""
    told, program = folder / "pid", folder / "hangs"
    program.write_text(f"#!/bin/sh\necho $$ >{told}\nprintf begun\nexec sleep 600\n")
    program.chmod(0o700)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(program))
    return told


def test_a_maker_of_moments_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, started = hanging(tmp_path, monkeypatch), time.monotonic()
    assert b"".join(stream_moment(tmp_path / "x.mp4", 0, 1, deadline_s=1.0)) == b"begun"
    assert time.monotonic() - started < 60
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


def test_places_of_moments_are_given_back_where_nobody_makes_or_reads_on(
    app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the clients wait for a maker that hangs, the others never take what they are sent."""
    hanging(tmp_path, monkeypatch)
    monkeypatch.setattr("stages.serve.api.DEADLINE_S", 3.0)
    monkeypatch.setattr("stages.serve.api.stream_moment", lambda *times: stream_moment(*times, deadline_s=2.0))

    class Idle(Client):
        async def send(self, message: dict[str, Any]) -> None:
            await super().send(message)
            if self.status == 200:
                await asyncio.sleep(3600)

    async def ask_all(clients: list[Client]) -> list[int]:
        await asyncio.gather(*(app(client.scope, client.receive, client.send) for client in clients))
        return sorted(client.status for client in clients)  # any of them may be the one too many

    target = "/moments/tea?start_s=0&end_s=1"
    clients = [(Client, Idle)[number % 2]("GET", target) for number in range(MOST_MOMENTS)]
    assert asyncio.run(ask_all([*clients, Client("GET", target)])) == [200] * MOST_MOMENTS + [503]
    assert asyncio.run(ask_all([Client("GET", target)])) == [200]
