"""HTTP as uvicorn speaks it, with one more rule: a request's head must arrive in time.

uvicorn waits forever for the rest of a head. A client that sends a byte a minute would keep its connection
for as long as it likes.
"""

from __future__ import annotations

import asyncio
from uuid import uuid4

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from geoclip_lite.service.problems import MEDIA, Refusal

LATE = Refusal(408, "the request's head did not arrive in time: send it again")


def protocol(head_seconds: float) -> type[H11Protocol]:
    """The class of uvicorn's protocols that wait so long and no longer."""

    class Punctual(H11Protocol):
        """The clock starts with the connection, and with the first byte after an answer."""

        clock: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._start()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._stop()
            elif self.clock is None:
                self._start()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _start(self) -> None:
            self.clock = self.loop.call_later(head_seconds, self._late)

        def _stop(self) -> None:
            if self.clock is not None:
                self.clock.cancel()
            self.clock = None

        def _late(self) -> None:
            """Says so, and hangs up."""
            if self.transport.is_closing() or self.conn.our_state is not h11.IDLE:
                return
            name = uuid4().hex[:16]
            body = LATE.body(name)
            headers = [("content-type", MEDIA), ("content-length", str(len(body)))]
            headers += [("connection", "close"), ("x-request-id", name)]
            response = h11.Response(status_code=LATE.status, headers=headers, reason=b"Request Timeout")
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
            self.transport.close()

    return Punctual
