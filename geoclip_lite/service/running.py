"""The server around the app, and its logs."""

from __future__ import annotations

import json
import logging
import socket
import sys

import uvicorn
from starlette.types import ASGIApp

from geoclip_lite.service.guard import LOG

CONNECTIONS, HEAD_BYTES = 500, 16_384  # open at a time; of a request's head
STOP_SECONDS = 30  # to finish what was accepted


def server(app: ASGIApp) -> uvicorn.Server:
    """Stops when told to (SIGTERM, SIGINT): takes on nothing more, and finishes what it has accepted.

    uvicorn waits for ever for the rest of a head: on the open internet, a reverse proxy does not.
    """
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return uvicorn.Server(config)


def listening(host: str, port: int) -> socket.socket:
    """A socket on an address; port 0 takes a free one. Raises OSError for one that cannot be had.

    Its connections inherit TCP_NODELAY: else the second part of an answer waits, 40 ms on many systems, for
    the client's word that it has the first. asyncio sees to that only where a socket names its protocol.
    """
    sock = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def address(sock: socket.socket) -> str:
    """How a browser reaches it."""
    host, port = sock.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class JsonLines(logging.Formatter):
    """One JSON object a line; what `extra={"details": {...}}` holds is part of it."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": self.formatTime(record), "level": record.levelname, "event": record.getMessage()}
        line |= getattr(record, "details", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_as_json() -> None:
    """The service's and uvicorn's lines to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in (LOG.name, "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
