"""Clients for a service that runs: each asks, waits for the answer, and asks again.

    load = drive("http://127.0.0.1:8000", descriptions, clients=8, seconds=10)
    load.percentile(95), load.throughput, load.share(429)

A client that is sent away (429) comes back when it was told to.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

import numpy as np

from geoclip_lite.datasets import shapes

PATIENCE = 30.0  # seconds for an answer


@dataclass(frozen=True)
class Call:
    """A request.

    Args:
        kind: content type of the body.
    """

    method: str
    path: str
    body: bytes = b""
    kind: str = "application/json"


@dataclass(frozen=True)
class Reply:
    """What came back. Status 0: nothing did."""

    status: int
    seconds: float
    body: bytes = b""
    retry_after: float = 1.0


Asking = Callable[[random.Random], Call]


class Client:
    """A connection that is kept, and made again when it was closed."""

    def __init__(self, address: str):
        place = urlsplit(address)
        self._connection = http.client.HTTPConnection(place.hostname, place.port, timeout=PATIENCE)

    def ask(self, call: Call) -> Reply:
        """One request and its answer."""
        began = time.perf_counter()
        headers = {"Content-Type": call.kind} if call.body else {}
        try:
            self._connection.request(call.method, call.path, call.body or None, headers)
            response = self._connection.getresponse()
            body, after = response.read(), float(response.headers.get("Retry-After") or 1)
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return Reply(0, time.perf_counter() - began)
        return Reply(response.status, time.perf_counter() - began, body, after)

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Load:
    """What clients saw.

    Args:
        wall: seconds from the first request to the last answer.
    """

    clients: int
    wall: float
    replies: tuple[Reply, ...]

    @cached_property
    def statuses(self) -> Counter[int]:
        return Counter(reply.status for reply in self.replies)

    @property
    def answered(self) -> list[float]:
        """Seconds of the requests that were answered with 200."""
        return [reply.seconds for reply in self.replies if reply.status == 200]

    def percentile(self, p: float) -> float:
        """Milliseconds of the answers with 200."""
        return 1000 * float(np.percentile(self.answered, p))

    @property
    def throughput(self) -> float:
        """Answers with 200 a second."""
        return len(self.answered) / self.wall

    def share(self, status: int) -> float:
        """Of all replies."""
        return self.statuses[status] / len(self.replies)


def drive(address: str, asking: Asking, clients: int, seconds: float, seed: int = 0) -> Load:
    """So many clients for so long."""
    replies: list[list[Reply]] = [[] for _ in range(clients)]
    began = time.perf_counter()
    threads = [
        threading.Thread(target=_client, args=(address, asking, began + seconds, seed + i, replies[i]))
        for i in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(clients, time.perf_counter() - began, tuple(reply for some in replies for reply in some))


def _client(address: str, asking: Asking, until: float, seed: int, replies: list[Reply]) -> None:
    client, rng = Client(address), random.Random(seed)
    while time.perf_counter() < until:
        reply = client.ask(asking(rng))
        replies.append(Reply(reply.status, reply.seconds))  # without its body: a soak brings thousands
        if reply.status != 200:
            wait = reply.retry_after if reply.status == 429 else 0.05
            time.sleep(max(0.0, min(wait, until - time.perf_counter())))
    client.close()


# --- what they ask --------------------------------------------------------------------------------


def descriptions(rng: random.Random) -> Call:
    """A description of one to three objects of the Shapes world."""
    return search(
        ", ".join(primitive.phrase for primitive in rng.choices(shapes.PRIMITIVES, k=rng.randint(1, 3)))
    )


def mixed(rng: random.Random) -> Call:
    """Descriptions for the most part; every tenth is pushed or ordered otherwise."""
    call = descriptions(rng)
    if rng.random() < 0.9:
        return call
    source, target = rng.sample(sorted(shapes.COLOURS), 2)
    push = {"source": source, "target": target, "strength": rng.random()}
    return search(json.loads(call.body)["query"], push=push, reranker=rng.choice(("none", "max-sim")))


def search(query: str, **wishes: object) -> Call:
    """A search by a text."""
    return Call("POST", "/api/search", json.dumps({"query": query, **wishes}).encode())
