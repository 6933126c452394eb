"""The HTTP API: questions in, typed results out as JSON; media, moments and thumbnails by video id.

No request names a path: a video is asked for by its id, and only files that the index names are given out.
"""

from collections.abc import Callable, Generator
from pathlib import Path
from threading import BoundedSemaphore
from typing import Annotated, Any, cast

import anyio
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stages.errors import ArtifactError, ConfigError, TransientError
from stages.media.proxies import DEADLINE_S, stream_moment
from stages.serve.library import Library, UnknownVideo

PAGE_DIR = Path(__file__).parent / "page"

MOST_MOMENTS = 8
"""Moments that are made at once; each is a process of its own for as long as somebody reads it, up to a deadline."""

MOST_BODY_BYTES = 1 << 18
"""Of a request: the longest question fits, also where JSON writes each character as two escapes of six bytes."""

_SECURITY = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

NumHits = Annotated[int, Field(ge=1, le=100, description="How many hits at most.")]
Seconds = Annotated[float, Query(ge=0, allow_inf_nan=False)]


class TextQuestion(BaseModel):
    """A sentence, or a paragraph: one sentence a line, or a text that is split at its punctuation."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(min_length=1, max_length=20_000)
    hits: NumHits = 10


class LikeQuestion(BaseModel):
    """A video by source id, relative path, file name, stem or id."""

    model_config = ConfigDict(extra="forbid")
    video: str = Field(min_length=1, max_length=4_096)
    hits: NumHits = 10


def create_app(library: Library, *, hosts: list[str]) -> FastAPI:
    """Make the application.

    Args:
        library: what is asked.
        hosts: names that a request may be addressed to, so that no foreign page reaches a local server through a
            name of its own; `["*"]` allows all.
    """
    app = FastAPI(title="Fabula", description=__doc__, docs_url=None, redoc_url=None)
    app.add_middleware(BodyLimit)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    app.add_middleware(SecurityHeaders)
    _add_errors(app)
    _add_questions(app, library)
    _add_media(app, library)
    app.mount("/", StaticFiles(directory=PAGE_DIR, html=True))
    return app


def _add_questions(app: FastAPI, library: Library) -> None:
    @app.get("/api/index")
    def about() -> dict[str, Any]:
        """Encoder, whether its weights are random, and counts."""
        return library.about()

    @app.post("/api/sentence")
    def sentence(question: TextQuestion) -> dict[str, Any]:
        """Moments that show a sentence: `Answer` of `Hit`s."""
        return library.ask_sentence(question.text, question.hits).to_json()

    @app.post("/api/paragraph")
    def paragraph(question: TextQuestion) -> dict[str, Any]:
        """Videos in which the sentences happen in this order: `Answer` of `ParagraphHit`s."""
        return library.ask_paragraph(question.text, question.hits).to_json()

    @app.post("/api/like")
    def like(question: LikeQuestion) -> dict[str, Any]:
        """Videos that are most like one: `Answer` of `Hit`s."""
        return library.ask_like(question.video, question.hits).to_json()

    @app.get("/api/videos")
    def names(part: str = "", most: Annotated[int, Query(ge=1, le=100)] = 20) -> list[str]:
        """First paths of videos whose path holds a part."""
        return library.names(part, most)

    @app.get("/api/videos/{video_id}")
    def video(video_id: str) -> dict[str, Any]:
        """Names, end and narrations of a video."""
        return library.video(video_id)


def _add_media(app: FastAPI, library: Library) -> None:
    @app.api_route("/media/{video_id}", methods=["GET", "HEAD"])
    def media(video_id: str) -> FileResponse:
        """The file as it is; ranges are served, so that a player can jump."""
        return FileResponse(library.media_path(video_id))

    making = BoundedSemaphore(MOST_MOMENTS)

    @app.get("/moments/{video_id}")
    def moment(video_id: str, start_s: Seconds, end_s: Seconds) -> MomentResponse:
        """A moment as MP4 (H.264), for files that a browser cannot play."""
        path = library.media_path(video_id)
        try:
            chunks = cast(Generator[bytes], stream_moment(path, start_s, end_s))
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if not making.acquire(blocking=False):
            raise TransientError(f"{MOST_MOMENTS} moments are being made already; try again")
        return MomentResponse(chunks, making.release)

    @app.get("/thumbnails/{video_id}")
    def thumbnail(video_id: str, time_s: Seconds = 0.0) -> Response:
        """The JPEG of the search window nearest to a time."""
        return Response(library.thumbnail(video_id, time_s), media_type="image/jpeg")


class MomentResponse(StreamingResponse):
    """A moment while it is made; its maker is stopped, and its place given back, also when the client goes away.

    A client that stays and does not read holds the place until the maker's deadline.
    """

    def __init__(self, chunks: Generator[bytes], release: Callable[[], None]) -> None:
        super().__init__(chunks, media_type="video/mp4")
        self._chunks = chunks
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            with anyio.move_on_after(DEADLINE_S):
                await super().__call__(scope, receive, send)
        finally:
            self._chunks.close()
            self._release()


def _add_errors(app: FastAPI) -> None:
    for kind, status in ((UnknownVideo, 404), (ConfigError, 400), (ArtifactError, 409), (TransientError, 503)):
        app.add_exception_handler(kind, _refusal(status))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        """What is wrong, without repeating the question, which may be anything."""
        problems = (f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        return JSONResponse({"error": "; ".join(problems)}, status_code=422)


class SecurityHeaders:
    """Adds the headers to every response; a plain ASGI layer, so that a disconnect reaches whoever streams."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the headers to what comes back."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Refuses a body of more than `MOST_BODY_BYTES` with 413: unread if its length is told, else once so much came."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, and pass the request on with it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told, body, more = int(Headers(scope=scope).get("content-length", 0)), bytearray(), True
        while more and max(told, len(body)) <= MOST_BODY_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if max(told, len(body)) > MOST_BODY_BYTES:
            refused = JSONResponse({"error": f"the request has more than {MOST_BODY_BYTES} bytes"}, status_code=413)
            await refused(scope, receive, send)
            return
        read: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def receive_again() -> Message:
            return read.pop() if read else await receive()

        await self._app(scope, receive_again, send)


def _refusal(status: int) -> Any:
    def refuse(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=status)

    return refuse
