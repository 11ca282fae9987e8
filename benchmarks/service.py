"""What the service bears: clients, a soak, kill -9, and a store that goes and comes back.

    python benchmarks/service.py [--seconds 8] [--soak 60]

A service of its own, on loopback, over the drawn demo gallery. Clients ask for descriptions that were not
asked before, each waiting for its answer; latency is theirs. Service and clients share the machine. The peer
is the same pipeline without a service, in this process: both are asked the same, in turns.

For ten minutes of soak: --soak 600.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from _turns import timed

from geoclip_lite.pipeline import Pipeline
from geoclip_lite.service.collection import open_collection

sys.path.append(str(Path(__file__).parents[1] / "results"))
import _service as trials
from _service import Client, Load, Running, descriptions, drive, mixed

CLIENTS = (1, 8, 32, 200)
WARM = 2.0  # seconds that are not counted
PAIRS, K = 100, 12  # queries that service and pipeline are asked in turns; results of each


def beside(service: Running, pipeline: Pipeline) -> None:
    """What the service adds to a search. The first pair is not counted."""
    client, rng, pairs = Client(service.address), random.Random(0), []
    for _ in range(PAIRS + 1):
        call = descriptions(rng)
        served, reply = timed(partial(client.ask, call))
        own, answer = timed(partial(pipeline.search, json.loads(call.body)["query"], K))
        found = [result["id"] for result in json.loads(reply.body)["results"]]
        assert found == [result.id for result in answer.results]
        pairs.append((served, own))
    client.close()
    served, own = (1e3 * median(times) for times in zip(*pairs[1:], strict=True))
    ratio = median(served / own for served, own in pairs[1:])
    print(f"  service {served:.1f} ms, pipeline {own:.1f} ms, service / pipeline {ratio:.2f}")


def speed(service: Running, seconds: float) -> None:
    """Latency and throughput by the number of clients."""
    drive(service.address, descriptions, 2, WARM, seed=1000)
    for clients in CLIENTS:
        load = drive(service.address, descriptions, clients, seconds, seed=100 * clients)
        points = "  ".join(f"p{p} {load.percentile(p):6.1f}" for p in (50, 95, 99))
        print(f"  {clients:>3} clients: {points} ms  {load.throughput:6.1f}/s  {statuses(load)}")


def statuses(load: Load) -> str:
    """How often which status came; 0 stands for no answer."""
    return ", ".join(f"{status}: {count:,}" for status, count in sorted(load.statuses.items()))


def memory(service: Running, seconds: float) -> None:
    """A soak, and whether memory grows."""
    load, seen = trials.soak(service, mixed, 4, seconds)
    slope, low, high = seen.slope()
    first, last = seen.megabytes[0], seen.megabytes[-1]
    print(f"  {statuses(load)}; {first:.0f} MB, in the end {last:.0f}, at most {max(seen.megabytes):.0f}")
    print(f"  {slope:+.2f} MB a minute after the warm-up, 95 % interval {low:+.2f} to {high:+.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=8, help="for each number of clients")
    parser.add_argument("--soak", type=float, default=60, help="seconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Running(
            "--index", str(folder / "demo"), "--encoder", "mini-pairs", log=folder / "log"
        ) as service:
            print(f"one client against the pipeline itself, load {os.getloadavg()[0]:.1f}")
            beside(
                service, open_collection(None, ["mini-pairs"], str(folder / "peer")).pipelines["mini-pairs"]
            )
            print(f"speed, load {os.getloadavg()[0]:.1f}, {service.memory():.0f} MB")
            speed(service, options.seconds)
            print(f"  {service.memory():.0f} MB")
            print(f"soak of {options.soak:g} s with 4 clients")
            memory(service, options.soak)
            print("store gone, and back")
            gone = trials.outage(service, trials.index_in(folder / "demo"))
            print(f"  meanwhile {gone.during}, /health {gone.alive}, /ready {gone.ready}")
            print(f"  first answer {gone.seconds:.2f} s after its return, then {gone.after}")
        print("kill -9 while pictures are sent in")
        for number, after in enumerate((1.0, 2.0, 3.0)):
            died = trials.crash(folder / "crash", after, seed=number)
            print(
                f"  {died.acknowledged} acknowledged, {died.lost} lost; started again in {died.seconds:.1f} s"
            )


if __name__ == "__main__":
    main()
