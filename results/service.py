"""The service measured from outside: clients, a soak of ten minutes, kill -9, a store gone and back.

A process of its own over the drawn demo gallery, on loopback; service and clients share the machine, so run
it on a quiet one. All lies in a temporary folder that is deleted. Takes fourteen minutes.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest.mock import patch

import _service as trials
from _service import Running, descriptions, drive, mixed
from starlette.testclient import TestClient

from geoclip_lite.answers import Answer
from geoclip_lite.datasets import shapes
from geoclip_lite.encoders import shipped
from geoclip_lite.pipeline import Pipeline
from geoclip_lite.results import Row, Study
from geoclip_lite.scenes import Scene
from geoclip_lite.service.app import create_app
from geoclip_lite.service.collection import open_collection
from geoclip_lite.service.guard import Limits

ENCODER = "mini-pairs"
CLIENTS = (1, 8, 32, 200)
SECONDS, WARM = 20.0, 5.0  # of each load, and before the first, not counted
SOAK, SOAKERS = 600.0, 4  # seconds, clients
AWAY = 3.0  # seconds without a store
KILLS = (0.7, 1.3, 1.9, 2.5, 3.1)  # seconds after the first picture was sent
WORKERS, WAITING, BURST, SENT = 2, 3, 8, 10  # of the sample: searches, and pictures sent in
ROOM, PATIENCE = WORKERS + WAITING, 30.0  # seconds


def loads(service: Running) -> Iterator[Row]:
    """What clients wait for, and how often they are sent away."""
    drive(service.address, descriptions, 2, WARM, seed=9)
    for clients in CLIENTS:
        load = drive(service.address, descriptions, clients, SECONDS, seed=100 * clients)
        about = {"part": "load", "clients": clients}
        for p in (50, 95, 99):
            yield about | {"what": f"p{p}", "value": load.percentile(p)}
        yield about | {"what": "answers a second", "value": load.throughput}
        yield about | {"what": "refused", "value": load.share(429)}
        yield about | {"what": "failed", "value": 1 - load.share(200) - load.share(429)}


def soaked(service: Running) -> Iterator[Row]:
    """Memory, sampled twice a second; of the samples one every ten seconds is kept."""
    load, memory = trials.soak(service, mixed, SOAKERS, SOAK)
    about = {"part": "soak", "clients": SOAKERS}
    for minute, megabytes in list(zip(memory.minutes, memory.megabytes, strict=True))[::20]:
        yield about | {"what": "MB", "minute": round(minute, 3), "value": megabytes}
    for name, value in zip(("slope", "low", "high"), memory.slope(), strict=True):
        yield about | {"what": f"MB a minute, {name}", "value": value}
    yield about | {"what": "answers", "value": load.statuses[200]}
    yield about | {"what": "failed", "value": 1 - load.share(200) - load.share(429)}


def away(service: Running, index: Path) -> Iterator[Row]:
    """The folder of the index is moved away, and back."""
    gone = trials.outage(service, index, AWAY)
    about = {"part": "store gone and back"}
    yield about | {"what": "answers of 503 meanwhile", "value": gone.during.get(503, 0)}
    yield about | {
        "what": "other answers meanwhile",
        "value": sum(gone.during.values()) - gone.during.get(503, 0),
    }
    yield about | {"what": "/health meanwhile", "value": gone.alive}
    yield about | {"what": "/ready meanwhile", "value": gone.ready}
    yield about | {"what": "seconds to the first answer", "value": gone.seconds}
    yield about | {"what": "answers of 200 afterwards", "value": gone.after.get(200, 0)}
    yield about | {
        "what": "other answers afterwards",
        "value": sum(gone.after.values()) - gone.after.get(200, 0),
    }


def killed(folder: Path) -> Iterator[Row]:
    """kill -9 while pictures are sent in, at several moments."""
    for number, after in enumerate(KILLS):
        died = trials.crash(folder, after, seed=number)
        about = {"part": "kill -9", "after": after}
        yield about | {"what": "acknowledged", "value": died.acknowledged}
        yield about | {"what": "lost", "value": died.lost}
        yield about | {"what": "seconds to start again", "value": died.seconds}


def measured() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Running("--index", str(folder / "demo"), "--encoder", ENCODER, log=folder / "log") as service:
            yield {"part": "start", "what": "MB", "value": service.memory()}
            yield from loads(service)
            yield from soaked(service)
            yield from away(service, trials.index_in(folder / "demo"))
        yield from killed(folder / "crash")


def sample() -> Iterator[Row]:
    """In this process: how many of a burst find a place, and whether what was sent in is found."""
    with tempfile.TemporaryDirectory() as name:
        folder, *_ = trials.small_gallery(Path(name))
        collection = open_collection(Path(folder), [ENCODER], str(Path(name) / "index"))
        app = create_app(collection, Limits(workers=WORKERS, waiting=WAITING), writable=True)
        with TestClient(app, "http://localhost") as client:
            statuses = burst(client, collection.pipelines[ENCODER])
            for status in (200, 429):
                yield {"part": "sample", "what": f"of a burst, {status}", "value": statuses[status]}
            found = sum(is_found(client, scene) for scene in shapes.compositions()[:SENT])
            yield {"part": "sample", "what": "sent in and found", "value": found}


def burst(client: TestClient, pipeline: Pipeline) -> Counter[int]:
    """Statuses of searches that all arrive before the first is answered."""
    search, answering = pipeline.search, threading.Event()

    def held(*asked: object, **wishes: object) -> Answer:
        answering.wait(PATIENCE)
        return search(*asked, **wishes)

    with patch.object(pipeline, "search", held), ThreadPoolExecutor(BURST) as pool:
        ask = partial(client.post, "/api/search", json={"query": "red circle", "k": 1})
        asked, began = [pool.submit(ask) for _ in range(BURST)], time.monotonic()
        while sum(one.done() for one in asked) < BURST - ROOM and time.monotonic() - began < PATIENCE:
            time.sleep(0.01)
        answering.set()
        return Counter(one.result().status_code for one in asked)


def is_found(client: TestClient, scene: Scene) -> bool:
    """Sends a picture in, and asks for it by itself."""
    sent = trials.sending(scene)
    kind = {"content-type": sent.kind}
    client.put(sent.path, content=sent.body, headers=kind).raise_for_status()
    answer = client.post("/api/search-by-picture?k=1", content=sent.body, headers=kind).json()
    return answer["results"][0]["id"] == scene.image_id


STUDY = Study(
    __file__,
    measured,
    sample,
    {"value": 0},
    checkpoints=lambda: {ENCODER: shipped()[ENCODER]},
    seeds=tuple(range(len(KILLS))),
)

if __name__ == "__main__":
    STUDY.run()
