"""The machines of a Ray cluster read and encode; this one lists and stores.

Ray Data hands every actor one batch of paths after the other. The folder must lie under the same path on each
machine, and this package be installed there.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from types import ModuleType

import numpy as np
import torch

from geoclip_lite.datasets.folder import LeftOut
from geoclip_lite.embed.files import Embedded, Encode, File, Look, embed, in_blocks

Row = dict[str, str | bytes]  # what Arrow can hold; anything else would travel as a pickle
PATIENCE = 5.0  # seconds for a cluster to answer


class ClusterError(Exception):
    """There is no such cluster, or it cannot do what it is asked for."""


@dataclass(frozen=True)
class Cluster:
    """Where to embed.

    Args:
        address: "HOST:PORT" of the cluster; "local" begins one on this machine. Where Ray is connected
            already, it stays with that.
        actors: copies of the encoder.
        cpus, gpus: what Ray reserves for each, in whole processors or parts of them. Two actors of half a
            GPU keep it busy: one reads while the other encodes.

    Raises:
        ValueError: no actors, or actors that need nothing.
        ClusterError: later on, an address where nobody answers, or more actors than there is room for.
        ImportError: later on, Ray is not installed.
    """

    address: str = "local"
    actors: int = 2
    cpus: float = 0.5
    gpus: float = 0.0

    def __post_init__(self):
        if self.actors < 1 or min(self.cpus, self.gpus) < 0 or self.cpus + self.gpus == 0:
            got = f"{self.actors} of {self.cpus:g} processors and {self.gpus:g} GPUs"
            raise ValueError(f"actors must be at least 1, of some processors or GPUs, got {got}")

    def embedded(self, some: Iterable[File], look: Look, encode: Encode, batch: int) -> Iterator[Embedded]:
        """Vectors for files, in the order in which they are done."""
        rows = [{"files": json.dumps([*map(astuple, block)])} for block in in_blocks(some, batch)]
        if not rows:
            return
        with self._connected() as ray:
            work = ray.put((look, encode))  # one copy a machine; it must outlive the actors
            done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                Actor,
                fn_constructor_args=(work,),
                compute=ray.data.ActorPoolStrategy(size=self.actors),
                num_cpus=self.cpus,
                num_gpus=self.gpus,
            )
            done.context.enable_progress_bars = False  # there is one already
            yield from map(unpacked, done.iter_rows())

    @contextmanager
    def _connected(self) -> Iterator[ModuleType]:
        """Ray, connected; it stays so if it was before."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
        try:
            import ray.data
        except ImportError as error:
            raise ImportError("a cluster needs Ray: pip install 'geoclip-lite[ray]'") from error
        connected = ray.is_initialized()
        try:
            if not connected:
                self._connect(ray)
            self._check_room(ray.nodes())
            yield ray
        except ray.exceptions.RayError as error:
            raise ClusterError(f"the cluster {self.address!r} failed: {error}") from error
        finally:
            if not connected:
                ray.shutdown()

    def _connect(self, ray: ModuleType) -> None:
        """Knocks first: Ray would do so for minutes."""
        try:
            if self.address != "local":
                host, _, port = self.address.rpartition("/")[2].rpartition(":")
                socket.create_connection((host, int(port)), PATIENCE).close()
            ray.init(self.address, log_to_driver=False, logging_level=logging.WARNING)
        except (OSError, ValueError, RuntimeError) as error:
            advice = "name HOST:PORT of a cluster that runs, or 'local'"
            raise ClusterError(f"no cluster answers at {self.address!r} ({error}): {advice}") from error

    def _check_room(self, nodes: list[dict]) -> None:
        """Ray would wait without a word for machines to join."""
        have = [node["Resources"] for node in nodes if node["Alive"]]
        needs = {"CPU": self.cpus, "GPU": self.gpus}
        room = sum(min(int(one.get(k, 0) / need) for k, need in needs.items() if need) for one in have)
        if room < self.actors:
            each = f"{self.cpus:g} processors and {self.gpus:g} GPUs"
            advice = "take fewer actors, smaller ones, or more machines"
            raise ClusterError(
                f"the cluster has room for {room} actors of {each}, not for {self.actors}: {advice}"
            )


class Actor:
    """Reads and encodes, on some machine of the cluster."""

    def __init__(self, work: object):
        import ray

        self.look, self.encode = ray.get(work)

    def __call__(self, row: Row) -> Row:
        done = embed(self.encode, self.look([File(*file) for file in json.loads(row["files"])]))
        about = {"files": [*map(astuple, done.files)], "left_out": [*map(astuple, done.left_out)]}
        vectors = done.vectors.numpy().astype("<f4")
        return {"about": json.dumps(about | {"shape": vectors.shape}), "vectors": vectors.tobytes()}


def unpacked(row: Row) -> Embedded:
    """What an actor has sent."""
    about = json.loads(row["about"])
    vectors = np.frombuffer(bytearray(row["vectors"]), "<f4").reshape(about["shape"])
    files = tuple(File(*file) for file in about["files"])
    return Embedded(files, torch.from_numpy(vectors), tuple(LeftOut(*one) for one in about["left_out"]))
