"""Embeds a folder on a cluster of two machines, which are processes here; says as JSON how it went.

    python tests/embedding_on_ray.py FOLDER INDEX

It is a program of its own, so that a cluster that hangs can be killed. A machine has two processors, by name.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import ray
from ray.cluster_utils import Cluster as Machines

from geoclip_lite.embed import FIELDS, Cluster, ClusterError, embed_folder
from geoclip_lite.encoders import load_encoder
from geoclip_lite.encoders.squares import square_of
from geoclip_lite.index import open_index


class Noting:
    """An encoder that notes on which machines it has worked."""

    def __init__(self, encoder, notes):
        self.encoder, self.notes = encoder, notes
        self.name, self.dim, self.fingerprint = encoder.name, encoder.dim, encoder.fingerprint

    def square(self, image):
        return square_of(self.encoder, image)

    def encode_images(self, images):
        (self.notes / ray.get_runtime_context().get_node_id()).touch()
        return self.encoder.encode_images(images)


def refusal(folder, encoder, index, cluster):
    """What is said of a cluster that cannot be."""
    try:
        embed_folder(folder, encoder, index, cluster=cluster)
    except ClusterError as error:
        return str(error)
    return "nothing"


def main(folder: Path, where: Path) -> None:
    notes = where.with_name("notes")
    notes.mkdir()
    machines = Machines()
    for _ in range(2):
        machines.add_node(num_cpus=2)
    ray.init(machines.address, log_to_driver=False)
    encoder = Noting(load_encoder("mini-pairs", device="cpu"), notes)
    cluster = Cluster(machines.address, actors=2, cpus=0.5)
    with open_index(where, dim=encoder.dim, encoder=encoder.fingerprint, fields=FIELDS) as index:
        too_many = refusal(folder, encoder, index, Cluster(machines.address, actors=9, cpus=0.5))
        first = embed_folder(folder, encoder, index, damaged="skip", batch=3, cluster=cluster)
        second = embed_folder(folder, encoder, index, damaged="skip", batch=3, cluster=cluster)
    told = {"first": asdict(first), "second": asdict(second), "too many": too_many}
    print(json.dumps(told | {"machines": len(list(notes.iterdir())), "connected": ray.is_initialized()}))
    ray.shutdown()  # before its machines go: left to the end, it now and then exits with an error
    machines.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
