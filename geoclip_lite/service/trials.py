"""What a service bears: a process of its own that is loaded, soaked, killed, and robbed of its store.

Running  a service in a process of its own
soak     its memory while it is asked
crash    kill -9 while pictures are sent in: is anything lost that was acknowledged?
outage   the store is gone, and back
"""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from scipy import stats

from geoclip_lite.datasets import shapes
from geoclip_lite.scenes import Scene
from geoclip_lite.service.load import Asking, Call, Client, Load, Reply, descriptions, drive

START = 180.0  # seconds until a service answers, its gallery drawn
BLOCKS = 20  # of a soak, each with its median: neighbouring samples are no independent ones
WARM = 0.2  # of a soak, which is not counted


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
        said = self.ask(Call("GET", "/metrics")).body.decode()
        [line] = [line for line in said.splitlines() if line.startswith("process_resident_memory_bytes ")]
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


# --- memory ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Memory:
    """Resident memory over a soak.

    Args:
        minutes, megabytes: the samples.
    """

    minutes: tuple[float, ...]
    megabytes: tuple[float, ...]

    def slope(self) -> tuple[float, float, float]:
        """MB a minute after the warm-up, and its 95 % interval: a line through the medians of blocks."""
        x, y = np.array(self.minutes), np.array(self.megabytes)
        x, y = x[x >= WARM * x[-1]], y[x >= WARM * x[-1]]
        blocks = [b for b in np.array_split(np.arange(len(x)), BLOCKS) if len(b)]
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


# --- kill -9 --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crash:
    """A service killed while pictures were sent in.

    Args:
        acknowledged: pictures that it said are safe.
        lost: of these, not found afterwards, or without their copy.
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
        lost = sum(not _is_there(service, scene) for scene in kept)
        return Crash(len(kept), lost, service.start_seconds)


def small_gallery(folder: Path) -> list[str]:
    """Draws a few pictures; returns the arguments of a service over them that can be written to."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for i, scene in enumerate(shapes.references()[:12]):
        path = pictures / f"{i}.png"
        if not path.is_file():
            scene.image(128).save(path)
    return [str(pictures), "--index", str(folder / "index"), "--writable"]


def _send(address: str, scenes: Sequence[Scene], kept: list[Scene]) -> None:
    """Sends pictures in until nobody answers; notes those that are safe."""
    client = Client(address)
    for scene in scenes:
        if client.ask(sending(scene)).status != 200:
            break
        kept.append(scene)
    client.close()


def sending(scene: Scene, side: int = 96) -> Call:
    """A drawn scene, to be kept under its own id."""
    named = urlencode({"id": scene.image_id, "caption": scene.caption})
    return Call("PUT", f"/api/pictures?{named}", png(scene, side), "image/png")


def png(scene: Scene, side: int) -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    scene.image(side).save(file, "PNG")
    return file.getvalue()


def _is_there(service: Running, scene: Scene) -> bool:
    """Whether a picture is found by itself, and its copy can be seen."""
    reply = service.ask(Call("POST", "/api/search-by-picture?k=5", png(scene, 96), "image/png"))
    found = [r for r in json.loads(reply.body)["results"] if r["id"] == scene.image_id]
    return bool(found) and service.ask(Call("GET", found[0]["picture"])).status == 200


# --- the store is gone, and back ------------------------------------------------------------------


@dataclass(frozen=True)
class Outage:
    """A store that was taken away for a while.

    Args:
        during: statuses of searches meanwhile, and how many of each.
        alive, ready: what /health and /ready said meanwhile.
        seconds: from its return to the first answer.
        after: statuses of searches from then on.
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
