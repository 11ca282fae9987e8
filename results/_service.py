"""A service in a process of its own, its clients, and what is done to it.

Running  `python -m geoclip_lite.service` on a free port
drive    so many clients for so long: each asks, waits for the answer, and asks again
soak     its memory while it is asked
crash    kill -9 while pictures are sent in: is anything lost that was acknowledged?
outage   its store is gone, and back
"""

from __future__ import annotations

import http.client
import io
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np
from scipy import stats

from geoclip_lite.datasets import shapes
from geoclip_lite.scenes import Scene

PATIENCE, START = 30.0, 180.0  # seconds for an answer, and until a service answers, its gallery drawn
BLOCKS, WARM = 20, 0.2  # of a soak, each with its median; the share of it that is not counted


@dataclass(frozen=True)
class Call:
    """A request."""

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


# --- clients --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """What clients saw, in `wall` seconds."""

    wall: float
    replies: tuple[Reply, ...]

    @property
    def statuses(self) -> Counter[int]:
        return Counter(reply.status for reply in self.replies)

    @property
    def throughput(self) -> float:
        """Answers with 200 a second."""
        return self.statuses[200] / self.wall

    def percentile(self, p: float) -> float:
        """Milliseconds of the answers with 200."""
        return 1000 * float(
            np.percentile([reply.seconds for reply in self.replies if reply.status == 200], p)
        )

    def share(self, status: int) -> float:
        """Of all replies."""
        return self.statuses[status] / len(self.replies)


def drive(address: str, asking: Asking, clients: int, seconds: float, seed: int = 0) -> Load:
    """So many clients for so long. Who is sent away (429) comes back when it was told to."""
    replies: list[Reply] = []
    began = time.perf_counter()

    def client(number: int) -> None:
        connection, rng = Client(address), random.Random(seed + number)
        while (left := began + seconds - time.perf_counter()) > 0:
            reply = connection.ask(asking(rng))
            replies.append(Reply(reply.status, reply.seconds))  # without its body: a soak brings thousands
            if reply.status != 200:
                time.sleep(max(0.0, min(reply.retry_after if reply.status == 429 else 0.05, left)))
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(time.perf_counter() - began, tuple(replies))


def search(query: str, **wishes: object) -> Call:
    """A search by a text."""
    return Call("POST", "/api/search", json.dumps({"query": query, **wishes}).encode())


def descriptions(rng: random.Random) -> Call:
    """A description of one to three objects of the Shapes world."""
    objects = rng.choices(shapes.PRIMITIVES, k=rng.randint(1, 3))
    return search(", ".join(primitive.phrase for primitive in objects))


def mixed(rng: random.Random) -> Call:
    """Descriptions for the most part; every tenth is pushed or ordered otherwise."""
    call = descriptions(rng)
    if rng.random() < 0.9:
        return call
    source, target = rng.sample(sorted(shapes.COLOURS), 2)
    push = {"source": source, "target": target, "strength": rng.random()}
    return search(json.loads(call.body)["query"], push=push, reranker=rng.choice(("none", "max-sim")))


def sending(scene: Scene, side: int = 96) -> Call:
    """A drawn scene, to be kept under its own id."""
    named = urlencode({"id": scene.image_id, "caption": scene.caption})
    return Call("PUT", f"/api/pictures?{named}", png(scene, side), "image/png")


def png(scene: Scene, side: int = 96) -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    scene.image(side).save(file, "PNG")
    return file.getvalue()


# --- the process ----------------------------------------------------------------------------------


class Running:
    """`python -m geoclip_lite.service` on a free port of this machine. Killed in the end, if need be.

    Args:
        arguments: of the command line, without the port.
        log: where its log goes.

    Raises:
        RuntimeError: it does not start.
    """

    def __init__(self, *arguments: str, log: Path):
        command = [sys.executable, "-m", "geoclip_lite.service", "--port", "0", *arguments]
        began = time.perf_counter()
        with Path(log).open("ab") as file:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
        silent = threading.Timer(START, self.process.kill)
        silent.start()
        line = self.process.stdout.readline()  # ends with the process
        silent.cancel()
        if "http://" not in line:
            self.kill()
            raise RuntimeError(f"the service does not start: {Path(log).read_text()[-2000:]}")
        self.address = line[line.index("http://") :].split()[0]
        self.start_seconds = time.perf_counter() - began

    def ask(self, call: Call) -> Reply:
        """One request, by a client of its own."""
        client = Client(self.address)
        try:
            return client.ask(call)
        finally:
            client.close()

    def memory(self) -> float:
        """Resident, in MB."""
        text = self.ask(Call("GET", "/metrics")).body.decode()
        [line] = [line for line in text.splitlines() if line.startswith("process_resident_memory_bytes ")]
        return float(line.split()[1]) / 1e6

    def stop(self) -> int:
        """Asks it to stop, and waits; returns what it returns."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self._ended()

    def _ended(self) -> int:
        status = self.process.wait(60)
        self.process.stdout.close()
        return status

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


@dataclass(frozen=True)
class Memory:
    """Resident memory over a soak, in samples."""

    minutes: tuple[float, ...]
    megabytes: tuple[float, ...]

    def slope(self) -> tuple[float, float, float]:
        """MB a minute after the warm-up, and its 95 % interval: a line through the medians of blocks."""
        x, y = np.array(self.minutes), np.array(self.megabytes)
        x, y = x[x >= WARM * x[-1]], y[x >= WARM * x[-1]]
        blocks = [block for block in np.array_split(np.arange(len(x)), BLOCKS) if len(block)]
        fit = stats.linregress([x[b].mean() for b in blocks], [np.median(y[b]) for b in blocks])
        half = stats.t.ppf(0.975, len(blocks) - 2) * fit.stderr
        return fit.slope, fit.slope - half, fit.slope + half


def soak(service: Running, asking: Asking, clients: int, seconds: float) -> tuple[Load, Memory]:
    """Asks for so long, and looks at the memory every half second."""
    samples: list[tuple[float, float]] = []
    done = threading.Event()

    def watch() -> None:
        began = time.perf_counter()
        while not done.wait(0.5):
            samples.append(((time.perf_counter() - began) / 60, service.memory()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        load = drive(service.address, asking, clients, seconds)
    finally:
        done.set()
        watcher.join()
    minutes, megabytes = zip(*samples, strict=True)
    return load, Memory(minutes, megabytes)


# --- what is done to it ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Crash:
    """A service killed while pictures were sent in.

    Args:
        acknowledged: pictures that it said are safe.
        lost: of these, not found afterwards, or not to be seen.
        seconds: from the new start to the first answer.
    """

    acknowledged: int
    lost: int
    seconds: float


def crash(folder: Path, after: float, senders: int = 3, seed: int = 0) -> Crash:
    """Sends pictures in, kills the service in the midst of it, starts it again and asks for each picture.

    Args:
        folder: an empty one, or one of an earlier trial; stays.
        after: seconds until the kill.
    """
    scenes = [scene for i, scene in enumerate(shapes.compositions()) if i % 7 == seed % 7]
    arguments = small_gallery(folder)
    kept: list[Scene] = []
    with Running(*arguments, log=folder / "log") as service:
        threads = [
            threading.Thread(target=_send, args=(service.address, scenes[i::senders], kept))
            for i in range(senders)
        ]
        for thread in threads:
            thread.start()
        time.sleep(after)
        service.kill()
        for thread in threads:
            thread.join()
    with Running(*arguments, log=folder / "log") as service:
        lost = sum(not is_there(service, scene) for scene in kept)
        return Crash(len(kept), lost, service.start_seconds)


def small_gallery(folder: Path, count: int = 12) -> list[str]:
    """Draws a few pictures; returns the arguments of a service over them that can be written to."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for i, scene in enumerate(shapes.references()[:count]):
        path = pictures / f"{i}.png"
        if not path.is_file():
            scene.image(128).save(path)
    return [str(pictures), "--index", str(folder / "index"), "--writable"]


def _send(address: str, scenes: Sequence[Scene], kept: list[Scene]) -> None:
    """Sends pictures in until nobody answers; notes those that are safe."""
    client = Client(address)
    for scene in scenes:
        if client.ask(sending(scene)).status != 204:
            break
        kept.append(scene)
    client.close()


def is_there(service: Running, scene: Scene) -> bool:
    """Whether a picture is found by itself, and can be seen."""
    reply = service.ask(Call("POST", "/api/search-by-picture?k=5", png(scene), "image/png"))
    found = [r for r in json.loads(reply.body)["results"] if r["id"] == scene.image_id]
    return bool(found) and service.ask(Call("GET", found[0]["picture"])).status == 200


@dataclass(frozen=True)
class Outage:
    """A store that was taken away for a while.

    Args:
        during, after: statuses of searches meanwhile, and from then on.
        alive, ready: what /health and /ready answered meanwhile.
        seconds: from its return to the first answer.
    """

    during: dict[int, int]
    alive: int
    ready: int
    seconds: float
    after: dict[int, int]


def outage(service: Running, index: Path, away: float = 2.0, clients: int = 4) -> Outage:
    """Moves the folder of an index away, and back. The service is not told."""
    hidden = index.with_name(f"{index.name}.away")
    index.rename(hidden)
    try:
        during = drive(service.address, descriptions, clients, away)
        alive, ready = (service.ask(Call("GET", path)).status for path in ("/health", "/ready"))
    finally:
        hidden.rename(index)
    began = time.perf_counter()
    while drive(service.address, descriptions, 1, 0.001).statuses[200] == 0:
        if time.perf_counter() - began > START:
            raise RuntimeError("the service does not come back")
    seconds = time.perf_counter() - began
    after = drive(service.address, descriptions, clients, away)
    return Outage(dict(during.statuses), alive, ready, seconds, dict(after.statuses))


def index_in(folder: Path) -> Path:
    """The index of the only encoder of a service."""
    [index] = [path for path in folder.iterdir() if path.is_dir() and path.name != "thumbnails"]
    return index
