"""What stands between the network and the routes.

Every request gets an id, and a line in the log. Its body is read here, as a whole, so much and so long: a
route begins when all that it needs has arrived, and slow clients hold up nobody. What goes wrong further in
becomes an answer here.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geoclip_lite.service.limits import Limits
from geoclip_lite.service.problems import MEDIA, Refusal, refusal_of
from geoclip_lite.service.watching import LOG, Figures

LINGER = 2.0  # seconds in which a refused client may go on sending: cut off, it would not read the reason
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class GoneError(Exception):
    """The client has hung up."""


@dataclass
class Visit:
    """One request on its way through."""

    scope: Scope
    send: Send
    id: str = field(default_factory=lambda: uuid4().hex[:16])
    began: float = field(default_factory=time.perf_counter)
    status: int = 0

    @property
    def route(self) -> str:
        """The template of the path: there are few, so it can be counted by."""
        return getattr(self.scope.get("route"), "path", "none")

    async def answer(self, message: Message) -> None:
        """Passes the answer on, with the headers that all have."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            ours = HEADERS | {"x-request-id": self.id}
            message = message | {"headers": [*message.get("headers", ()), *encoded(ours)]}
        await self.send(message)

    async def refuse(self, refusal: Refusal, more: bool = False) -> None:
        """Answers with a problem; `more` leaves the answer open, and the connection has no further use."""
        body = refusal.body(self.id)
        about = {"content-type": MEDIA, "content-length": str(len(body))}
        headers = encoded(about | refusal.headers | ({"connection": "close"} if more else {}))
        await self.answer({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self.answer({"type": "http.response.body", "body": body, "more_body": more})


class Guard:
    """ASGI middleware; see above."""

    def __init__(self, app: ASGIApp, limits: Limits, figures: Figures, hosts: tuple[str, ...] = ()):
        self.app, self.limits, self.figures, self.hosts = app, limits, figures, hosts
        self.held = 0  # bytes of bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        visit = Visit(scope, send)
        try:
            with self._room() as room:
                await self._handle(visit, receive, room)
        finally:
            self._note(visit)

    async def _handle(self, visit: Visit, receive: Receive, room: Room) -> None:
        try:
            body = await self._arrived(visit.scope, receive, room)
        except Refusal as refusal:
            await visit.refuse(refusal, more=True)
            await linger(receive)
            await visit.answer({"type": "http.response.body", "body": b""})
            return
        except GoneError:
            return
        try:
            await self.app(visit.scope, replay(body, receive), visit.answer)
        except Exception as error:
            if visit.status:  # too late to say so
                raise
            await visit.refuse(self._expected(error, visit))

    async def _arrived(self, scope: Scope, receive: Receive, room: Room) -> bytes:
        """The body of a request that may come in."""
        self._check_host(scope)
        seconds = self.limits.body_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._body(scope, receive, room)
        except TimeoutError:
            raise Refusal(408, f"the body did not arrive within {seconds:g} s: send it again") from None

    def _expected(self, error: Exception, visit: Visit) -> Refusal:
        """How an error is told; the log has what the client is not told."""
        refusal = refusal_of(error)
        unexpected = refusal is None
        if unexpected or refusal.status >= 500:
            about = {"request_id": visit.id, "reason": str(error)[:500]}
            LOG.error("failed", extra={"about": about}, exc_info=error if unexpected else None)
        if unexpected:
            return Refusal(500, f"something went wrong that should not: the log has it under {visit.id}")
        return refusal

    def _check_host(self, scope: Scope) -> None:
        """Refuses a call under a name that is not the service's."""
        called = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        name, colon, port = called.rpartition(":")
        name = name if colon and port.isdigit() else called
        if self.hosts and name not in self.hosts:
            raise Refusal(421, f"this service is called {' or '.join(self.hosts)}: name another with --host")

    async def _body(self, scope: Scope, receive: Receive, room: Room) -> bytes:
        """All of it, while there is room."""
        headers = dict(scope["headers"])
        picture = headers.get(b"content-type", b"").startswith(b"image/")
        most = self.limits.picture_bytes if picture else self.limits.text_bytes
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > most:
            raise too_large(most, picture)
        parts, more = [], True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise GoneError
            parts.append(message.get("body", b""))
            room.take(len(parts[-1]))
            if room.taken > most:
                raise too_large(most, picture)
            if self.held > self.limits.held_bytes:
                raise Refusal(429, "too much is arriving at once: try again", {"Retry-After": "1"})
            more = message.get("more_body", False)
        return b"".join(parts)

    @contextmanager
    def _room(self):
        room = Room(self)
        try:
            yield room
        finally:
            self.held -= room.taken

    def _note(self, visit: Visit) -> None:
        """One line and one count."""
        seconds = time.perf_counter() - visit.began
        self.figures.answered(visit.route, visit.status, seconds)
        about = {"request_id": visit.id, "method": visit.scope["method"], "route": visit.route}
        about |= {"status": visit.status, "ms": round(1000 * seconds, 1)}
        LOG.info("request" if visit.status else "gone", extra={"about": about})


@dataclass
class Room:
    """What one body takes of the memory for all of them."""

    guard: Guard
    taken: int = 0

    def take(self, size: int) -> None:
        self.taken += size
        self.guard.held += size


def too_large(most: int, picture: bool) -> Refusal:
    what = "a picture" if picture else "a body that is no picture"
    return Refusal(413, f"{what} must have at most {most:,} bytes: send less")


def encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def linger(receive: Receive) -> None:
    """Lets a client finish, for a while; what it sends is thrown away."""
    try:
        async with asyncio.timeout(LINGER):
            while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                pass
    except TimeoutError:
        pass


def replay(body: bytes, receive: Receive) -> Receive:
    """A body that has arrived, as if it came from the network."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message
