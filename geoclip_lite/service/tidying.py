"""Tidying up after writes, in the background: a store of many small writes is slow to search.

Each picture that is sent in is a write of its own. After some hundred of them a search takes ten times as
long as it should, until the store is optimised.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from geoclip_lite.index import VectorStoreError
from geoclip_lite.service.desk import BusyError, Desk
from geoclip_lite.service.watching import LOG

WRITES = 64  # after which it is time
REST = 10  # times as long as tidying took it rests: a large store is not tidied all day
LONGEST = 3600.0  # seconds


class Tidier:
    """Calls `tidy` on the writers' desk, where it waits for its turn as any write.

    Args:
        writes: the desk.
        tidy: what to call; may take minutes.
    """

    def __init__(self, writes: Desk, tidy: Callable[[], None]):
        self.writes, self.tidy = writes, tidy
        self.count, self.rests_until = 0, 0.0
        self.task: asyncio.Task | None = None

    def written(self) -> None:
        """Notes a write; begins if it is time."""
        self.count += 1
        if self.count >= WRITES and time.monotonic() >= self.rests_until:
            self.begin()

    def begin(self) -> None:
        """Begins, unless it is at it."""
        if self.task is None or self.task.done():
            self.count = 0
            self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        began = time.monotonic()
        try:
            await self.writes.do(self.tidy, LONGEST)
        except (BusyError, VectorStoreError) as error:  # there will be another time
            LOG.warning("not tidied", extra={"about": {"reason": str(error)[:500]}})
        else:
            LOG.info("tidied", extra={"about": {"seconds": round(time.monotonic() - began, 3)}})
        self.rests_until = time.monotonic() + REST * (time.monotonic() - began)
