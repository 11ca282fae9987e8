"""What stands between the network and the routes.

Limits, Pool      how much may be asked for; threads that turn away whom they cannot serve
Guard, Visit      middleware: hosts, slow answers, long bodies, one form of problems, logs and metrics
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geoclip_lite.images import FORMATS, PictureError, TooManyPixelsError, UnknownFormatError
from geoclip_lite.index import BadInputError, VectorStoreError
from geoclip_lite.service.models import Problem

T = TypeVar("T")
LOG = logging.getLogger("geoclip_lite.service")
PROBLEM = "application/problem+json"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PICTURES = (  # what clients call a picture; what it is, its content says
    *(f"image/{name.lower()}" for name in FORMATS),
    *("image/jpg", "image/pjpeg", "image/x-ms-bmp", "application/octet-stream"),
)
BOUNDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.5, 1, 2, 5, 10)  # seconds
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


@dataclass(frozen=True)
class Limits:
    """What the service takes on at a time.

    Args:
        workers, waiting: searches that run side by side, and that wait; more are sent away with 429.
        seconds: from a request's head to the beginning of its answer.
        text_bytes, picture_bytes, held_bytes: of a body, of one that is a picture, of all that are here.
    """

    workers: int = 2
    waiting: int = 16
    seconds: float = 10.0
    text_bytes: int = 32_000
    picture_bytes: int = 10_000_000
    held_bytes: int = 100_000_000

    def __post_init__(self):
        if self.workers < 1 or self.waiting < 0:
            got = f"{self.workers} and {self.waiting}"
            raise ValueError(f"workers must be at least 1 and waiting at least 0, got {got}")


class Pool:
    """Threads with a short queue. A long one hides that a service is too slow: all wait, and give up."""

    def __init__(self, workers: int, waiting: int):
        self.room, self.accepted = workers + waiting, 0
        self.threads = ThreadPoolExecutor(workers)

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns. Work whose caller has given up keeps its place until it ends.

        Raises:
            HTTPException: 429 where threads and queue are full.
        """
        if self.accepted >= self.room:
            raise HTTPException(429, "the service is busy: try again", {"Retry-After": "1"})
        self.accepted += 1
        loop, future = asyncio.get_running_loop(), self.threads.submit(work)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave))
        return await asyncio.wrap_future(future)

    def _leave(self) -> None:
        self.accepted -= 1


class Guard:
    """ASGI middleware: whatever happens in the routes, there is an answer, a line in the log and a count.

    Args:
        readers: host names under which the service may be asked; empty: any.
    """

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics, readers: tuple[str, ...]):
        self.app, self.limits, self.metrics, self.readers = app, limits, metrics, readers
        self.held = 0  # bytes of all bodies that are here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        visit = Visit(scope, receive, send)
        try:
            async with asyncio.timeout(self.limits.seconds) as visit.deadline:
                if self.readers:
                    check_host(visit.headers, self.readers)
                await self.app(scope, lambda: self.receive(visit), visit.answer)
        except Exception as error:
            if visit.status:  # too late to say so
                raise
            await problem(error, visit.id)(scope, receive, visit.answer)
        finally:
            self.held -= visit.taken
            self.metrics.note(visit)

    async def receive(self, visit: Visit) -> Message:
        """The next part of a body; one that is too long, or one too many, ends while it arrives."""
        message = await visit.receive()
        size = len(message.get("body", b""))
        visit.taken, self.held = visit.taken + size, self.held + size
        picture = media_type(visit.headers) in PICTURES
        most = self.limits.picture_bytes if picture else self.limits.text_bytes
        if visit.taken > most:
            raise HTTPException(413, f"a body of this kind must have at most {most:,} bytes: send less")
        if self.held > self.limits.held_bytes:
            raise HTTPException(429, "too much is arriving at once: try again", {"Retry-After": "1"})
        return message


class Visit:
    """One request on its way. Status 0: not answered yet."""

    def __init__(self, scope: Scope, receive: Receive, send: Send):
        self.scope, self.receive, self.send, self.headers = scope, receive, send, Headers(scope=scope)
        self.id, self.began, self.status, self.taken = uuid4().hex[:16], time.perf_counter(), 0, 0
        self.deadline: asyncio.Timeout | None = None

    async def answer(self, message: Message) -> None:
        """Passes an answer on, with the headers that all have. Once begun, it may take its time."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            with suppress(RuntimeError):  # it is over where a problem is told
                self.deadline.reschedule(None)
            headers = MutableHeaders(raw=message["headers"])
            for name, value in (HEADERS | {"x-request-id": self.id}).items():
                headers.setdefault(name, value)
        await self.send(message)


# --- who asks ---


def media_type(headers: Headers) -> str:
    """The kind of a body."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def host_of(header: str) -> str:
    """The name in a Host header, in lower case, without port and brackets; "" for nonsense."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def check_host(headers: Headers, names: tuple[str, ...]) -> None:
    """Refuses a call under a foreign name: a page of another site may have its own name lead here."""
    if host_of(headers.get("host", "")) not in names:
        raise HTTPException(421, "host: this service has other names: give it this one with --name")


def check_writer(headers: Headers, names: tuple[str, ...]) -> None:
    """Refuses a write under a foreign name, or by a page of another site."""
    host, origin = headers.get("host", ""), headers.get("origin")
    try:
        ip_address(host_of(host))  # which nobody else can have lead here
    except ValueError:
        check_host(headers, names)
    foreign = headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
    if foreign or (origin is not None and origin.lower().rpartition("//")[2] != host.lower()):
        raise HTTPException(403, "origin: pages of other sites may not write here")


# --- what goes wrong ---


def refusal(error: Exception) -> HTTPException:
    """How an error is told to a client."""
    match error:
        case HTTPException():
            return error
        case RequestValidationError():
            faults = [(".".join(map(str, one["loc"]))[:100], one["msg"]) for one in error.errors()]
            return HTTPException(400, "; ".join(f"{place}: {message}" for place, message in faults))
        case PictureError():
            statuses = {UnknownFormatError: 415, TooManyPixelsError: 413, PictureError: 422}
            status = next(status for kind, status in statuses.items() if isinstance(error, kind))
            return HTTPException(status, f"the picture cannot be read: {error}")
        case BadInputError():
            return HTTPException(422, str(error))
        case TimeoutError() if not isinstance(error, VectorStoreError):
            return HTTPException(503, "this took too long: try again", {"Retry-After": "2"})
        case VectorStoreError() | OSError():  # gone, locked, or no room
            return HTTPException(503, "the store cannot be used now: try again later", {"Retry-After": "5"})
        case ClientDisconnect():
            return HTTPException(400, "the body did not arrive")
    return HTTPException(500, "something went wrong that should not: the log says what")


def problem(error: Exception, request_id: str) -> JSONResponse:
    """An error as an answer; the log has what the client is not told."""
    known = refusal(error)
    if known.status_code >= 500:
        details = {"request_id": request_id, "reason": str(error)[:500]}
        LOG.error("failed", extra={"details": details}, exc_info=error if known.status_code == 500 else None)
    title = HTTPStatus(known.status_code).phrase
    body = Problem(title=title, status=known.status_code, detail=known.detail, request_id=request_id)
    return JSONResponse(body.model_dump(), known.status_code, known.headers, PROBLEM)


class Metrics:
    """What an operator sees: no query, picture or id, for what people look for is theirs."""

    def __init__(self):
        self.registry = CollectorRegistry()  # its own, so that several services fit in a process
        ProcessCollector(registry=self.registry)
        own = {"namespace": "geoclip", "registry": self.registry}
        self.requests = Histogram("request_seconds", "Answered", ("route", "status"), buckets=BOUNDS, **own)
        self.stages = Histogram("stage_seconds", "Stages of a search", ("stage",), buckets=BOUNDS, **own)
        self.accepted = Gauge("accepted", "Searches that run or wait", **own)

    def note(self, visit: Visit) -> None:
        """Counts and logs a request, by the template of its path: there are few. Status 0: it was hung up."""
        seconds, route = time.perf_counter() - visit.began, getattr(visit.scope.get("route"), "path", "none")
        self.requests.labels(route, str(visit.status)).observe(seconds)
        details = {"request_id": visit.id, "method": visit.scope["method"], "route": route}
        details |= {"status": visit.status, "ms": round(1e3 * seconds, 1)}
        LOG.info("request", extra={"details": details})
