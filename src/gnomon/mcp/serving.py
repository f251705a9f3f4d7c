"""The server on its two transports: standard input and output, and HTTP with a token."""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Callable

import uvicorn
from mcp.server.mcpserver import MCPServer

from gnomon._errors import GnomonError
from gnomon.mcp.bearer import BearerGate

PATH = "/mcp"
# Streams that clients keep open would hold up the end of the program.
GRACE_S = 2


def over_stdio(server: MCPServer[None]) -> None:
    """Serve the client that started this process, until it closes our standard input."""
    # A thread waits for input and would outlast the SDK's own way to end; nothing is left undone.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    server.run("stdio")


def over_http(
    server: MCPServer[None], host: str, port: int, token: str, tell: Callable[[str], None]
) -> None:
    """Serve streamable HTTP until SIGINT or SIGTERM; ``tell`` is given the address.

    Raises GnomonError where the address cannot be had.
    """
    application = BearerGate(
        server.streamable_http_app(streamable_http_path=PATH, host=host), token
    )
    with _listening(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        tell(f"http://{shown}:{listener.getsockname()[1]}{PATH}")
        config = uvicorn.Config(
            application, log_level="warning", timeout_graceful_shutdown=GRACE_S, ws="none"
        )
        uvicorn.Server(config).run(sockets=[listener])


def is_local(host: str) -> bool:
    """Tell whether only this host can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, OverflowError) as error:
        raise GnomonError(
            f"cannot listen on {host} port {port}: {error}; --port 0 takes one that is free"
        ) from error
