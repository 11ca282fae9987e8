"""The machines of a Ray cluster read and encode; this one lists and stores.

    embed_folder("photos", pipeline, spread=partial(on_ray, address="10.0.0.1:6379", actors=4, gpus=0.5))

The folder must lie under the same path on each machine, and this package be installed there.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from types import ModuleType

import numpy as np
import torch

from geoclip_lite.datasets.folder import LeftOut
from geoclip_lite.embed.folder import Batch, Encode, File, Read, encoded

Row = dict[str, str | bytes]  # Arrow would not hold names that are no Unicode


def on_ray(
    blocks: Iterable[Sequence[File]],
    read: Read,
    encode: Encode,
    *,
    address: str = "local",
    actors: int = 2,
    cpus: float = 0.5,
    gpus: float = 0.0,
) -> Iterator[Batch]:
    """Batches in the order in which they are done; see `embed.folder.Spread`.

    Args:
        address: "HOST:PORT" of the cluster; "local" begins one here. Where Ray is connected, it stays so.
        actors: copies of the encoder.
        cpus, gpus: what Ray reserves for each. Two actors of half a GPU keep it busy: one reads while the
            other encodes.

    Raises:
        ConnectionError: no cluster answers.
        ValueError: actors that cannot be, or for which the cluster has no room.
        ImportError: Ray is not installed.
    """
    if actors < 1 or min(cpus, gpus) < 0 or cpus + gpus == 0:
        raise ValueError(f"actors must be 1 or more, of some cpus or gpus, got {actors}, {cpus}, {gpus}")
    rows = [{"files": json.dumps([astuple(file) for file in block])} for block in blocks]
    if not rows:
        return
    ray, connected_here = _connected(address)
    try:
        _check_room(ray, actors, {"CPU": cpus, "GPU": gpus})
        work = ray.put((read, encode))  # one copy a machine; it must outlive the actors
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            Actor,
            fn_constructor_args=(work,),
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=cpus,
            num_gpus=gpus,
        )
        done.context.enable_progress_bars = False  # there is one already
        yield from map(_batch, done.iter_rows())
    finally:
        if connected_here:
            ray.shutdown()


def _connected(address: str) -> tuple[ModuleType, bool]:
    """Ray, and whether it was connected only now."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    try:
        import ray.data
    except ImportError as error:
        raise ImportError("a cluster needs Ray: pip install 'geoclip-lite[ray]'") from error
    if ray.is_initialized():
        return ray, False
    try:
        if address != "local":  # Ray would knock for minutes
            host, _, port = address.rpartition("/")[2].rpartition(":")
            socket.create_connection((host, int(port)), 5).close()
        ray.init(address, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, ValueError, RuntimeError) as error:
        advice = "name HOST:PORT of a cluster that runs, or 'local'"
        raise ConnectionError(f"no cluster answers at {address!r} ({error}): {advice}") from error
    return ray, True


def _check_room(ray: ModuleType, actors: int, needs: dict[str, float]) -> None:
    """Ray would wait without a word for machines to join."""
    have = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(min(int(one.get(k, 0) / need) for k, need in needs.items() if need) for one in have)
    if room < actors:
        raise ValueError(f"actors must find room, the cluster has it for {room} of {needs}, got {actors}")


class Actor:
    """Reads and encodes, on some machine of the cluster."""

    def __init__(self, work: object):
        import ray

        self.read, self.encode = ray.get(work)

    def __call__(self, row: Row) -> Row:
        batch = encoded(self.read([File(*file) for file in json.loads(row["files"])]), self.encode)
        files, left_out = ([astuple(one) for one in some] for some in (batch.files, batch.left_out))
        about = {"files": files, "captions": batch.captions, "left_out": left_out}
        vectors = batch.content.numpy()
        return {"about": json.dumps(about | {"shape": vectors.shape}), "vectors": vectors.tobytes()}


def _batch(row: Row) -> Batch:
    about = json.loads(row["about"])
    vectors = np.frombuffer(bytearray(row["vectors"]), np.float32).reshape(about["shape"])
    files, left_out = [File(*one) for one in about["files"]], [LeftOut(*one) for one in about["left_out"]]
    return Batch(files, about["captions"], torch.from_numpy(vectors), left_out)
