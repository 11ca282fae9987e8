"""A few workers and a short queue: whoever finds both full is sent away at once.

A queue without an end only hides that a service is too slow: everyone waits, and gives up, and the work is
done for nobody. A short one keeps what is accepted quick, and tells the rest when to come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class BusyError(Exception):
    """Workers and queue are full."""


class TooSlowError(Exception):
    """The answer did not come in time."""


class Desk:
    """Runs functions on threads, so many side by side and so many waiting.

    Args:
        name: of the threads.
        workers, waiting: see `Limits`.
    """

    def __init__(self, name: str, workers: int, waiting: int):
        self.workers, self.room = workers, workers + waiting
        self.accepted = 0  # running or waiting
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name)

    @property
    def waiting(self) -> int:
        """How many wait for a worker."""
        return max(0, self.accepted - self.workers)

    async def do(self, work: Callable[[], T], seconds: float) -> T:
        """What `work` returns.

        Time that is up frees the caller. A place at the desk is free once its work has ended: work that has
        begun cannot be called back, and counts until then.

        Raises:
            BusyError: no place.
            TooSlowError: no answer in time. Work that has not begun never will.
        """
        if self.accepted >= self.room:
            raise BusyError
        self.accepted += 1
        loop = asyncio.get_running_loop()
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave))
        waited = asyncio.wrap_future(future)
        await asyncio.wait([waited], timeout=seconds)
        if not waited.done():
            waited.cancel()
            raise TooSlowError
        return waited.result()

    def _leave(self) -> None:
        self.accepted -= 1

    def close(self) -> None:
        """Waits for what runs; what waits is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
