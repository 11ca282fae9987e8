"""The server around the app."""

from __future__ import annotations

import ctypes
import socket
import warnings
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from geoclip_lite.encoders import TextWarning
from geoclip_lite.service.limits import Limits
from geoclip_lite.service.protocol import protocol

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # as malloc.h numbers them
LARGE, ARENAS = 2**20, 2  # bytes of an array that is given back; heaps that threads share
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def server(app: FastAPI, limits: Limits) -> uvicorn.Server:
    """Stops when told to (SIGTERM, SIGINT): takes on nothing more, and finishes what it has accepted."""
    config = uvicorn.Config(
        app,
        http=protocol(limits.head_seconds),
        ws="none",
        log_config=None,
        access_log=False,  # the guard writes a line for every request
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=limits.stop_seconds,
    )
    return uvicorn.Server(config)


def listening(host: str, port: int) -> socket.socket:
    """A socket on an address; port 0 takes a free one.

    Connections send what they have at once. Otherwise the second part of an answer waits for the client's
    word that it has the first, 40 ms on many systems; asyncio sees to that only where a socket names its
    protocol.

    Raises:
        OSError: the address is not this machine's, or in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.create_server((host, port), family=family, backlog=256)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
    return sock


def address(sock: socket.socket) -> str:
    """How a browser reaches it."""
    host, port = sock.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def names(host: str) -> tuple[str, ...]:
    """By which names a service on this address may be called: on loopback its own, else any."""
    return LOOPBACK if host in ("127.0.0.1", "localhost", "::1") else ()


def thrifty() -> None:
    """Has the C library give large arrays back when they are done with, where it is GNU's.

    By itself it would take ever larger ones for small, and put them among things that stay: under load the
    service would then grow by a megabyte a minute, without holding on to anything.
    """
    with suppress(OSError, AttributeError):  # another system, another library
        adjust = ctypes.CDLL("libc.so.6").mallopt
        for what in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            adjust(what, LARGE)
        adjust(ARENA_MAX, ARENAS)


def quiet() -> None:
    """No warning of unknown words on standard error: clients are told, and words of theirs are not logged."""
    warnings.simplefilter("ignore", TextWarning)
