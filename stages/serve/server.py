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
        host: address to listen on, or a name of one; other machines reach the server only if it is no loopback one.
        port: 0 takes a free one.
        on_ready: told the address once requests are answered and a signal stops the server in order.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    shown = f"[{host}]" if ":" in host else host
    try:
        listening = _listen(host, port)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"serve: cannot listen on {shown}:{port} ({_reason(error)}); give another --port or --host"
        ) from error
    address, port = listening.getsockname()[:2]
    app = create_app(library, hosts=_allowed_hosts(shown, address))
    url = f"http://{shown}:{port}/"
    with listening, contextlib.suppress(KeyboardInterrupt):  # how somebody at the keyboard ends it
        _Server(uvicorn.Config(app, log_level="warning"), on_ready=lambda: on_ready(url)).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """A socket on the host's address: its IPv4 one where it has both, since a browser tries both."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return socket.create_server(address, family=family)


def _reason(error: OSError | UnicodeError) -> str:
    """What the system says of it; a name that is not found has error numbers of its own."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)  # without the address, which `create_server` adds
    return str(error.strerror if isinstance(error, OSError) else error)


class _Server(uvicorn.Server):
    """Says that it is ready once a signal stops it in order: not before uvicorn has its handlers in place."""

    def __init__(self, config: uvicorn.Config, *, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


def _allowed_hosts(host: str, address: str) -> list[str]:
    """A loopback server answers to loopback names only: a foreign page must not reach it through a name of its own.

    Args:
        host: as it stands in a URL.
        address: that it means.
    """
    return ["localhost", "127.0.0.1", "[::1]", host] if ipaddress.ip_address(address).is_loopback else ["*"]
