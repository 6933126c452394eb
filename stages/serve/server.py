"""Running the application: a socket of its own, stopped by Ctrl-C or SIGTERM."""

import contextlib
import ipaddress
import os
import socket
from collections.abc import Callable

import uvicorn

from stages.errors import ConfigError
from stages.serve.api import create_app
from stages.serve.library import Library


def serve_forever(library: Library, *, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Answer requests until the process is told to stop.

    Args:
        library: what is asked.
        host: address to listen on; other machines reach the server only if it is not a loopback one.
        port: 0 takes a free one.
        on_ready: told the address once requests are answered and a signal stops the server in order.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    try:
        listening = socket.create_server((host, port))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError(f"serve: cannot listen on {host}:{port} ({reason}); give another --port or --host") from error
    app = create_app(library, hosts=_allowed_hosts(host))
    url = f"http://{host}:{listening.getsockname()[1]}/"
    with listening, contextlib.suppress(KeyboardInterrupt):  # how somebody at the keyboard ends it
        _Server(uvicorn.Config(app, log_level="warning"), on_ready=lambda: on_ready(url)).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Says that it is ready once a signal stops it in order: not before uvicorn has its handlers in place."""

    def __init__(self, config: uvicorn.Config, *, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


def _allowed_hosts(host: str) -> list[str]:
    """A loopback server answers to loopback names only: a foreign page must not reach it through a name of its own."""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    return ["localhost", "127.0.0.1", host] if is_loopback else ["*"]
