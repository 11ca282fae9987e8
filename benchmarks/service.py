"""What the service bears: clients, a soak, kill -9, and a store that goes and comes back.

    python benchmarks/service.py [--seconds 8] [--soak 60]

A service of its own, on loopback, over the drawn demo gallery. Clients ask for descriptions that were not
asked before, each waiting for its answer; latency is theirs. Service and clients share the machine.

For ten minutes of soak: --soak 600.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from geoclip_lite.service import trials
from geoclip_lite.service.load import Load, descriptions, drive, mixed
from geoclip_lite.service.trials import Running

CLIENTS = (1, 8, 32)
WARM = 2.0  # seconds that are not counted


def speed(service: Running, seconds: float) -> None:
    """Latency and throughput by the number of clients."""
    drive(service.address, descriptions, 2, WARM, seed=1000)
    for clients in CLIENTS:
        load = drive(service.address, descriptions, clients, seconds, seed=100 * clients)
        points = "  ".join(f"p{p} {load.percentile(p):6.1f}" for p in (50, 95, 99))
        print(f"  {clients:>2} clients: {points} ms  {load.throughput:6.1f}/s  {told(load)}")


def told(load: Load) -> str:
    """How often which status came; 0 stands for no answer."""
    return ", ".join(f"{status}: {count:,}" for status, count in sorted(load.statuses.items()))


def memory(service: Running, seconds: float) -> None:
    """A soak, and whether memory grows."""
    load, seen = trials.soak(service, mixed, 4, seconds)
    slope, low, high = seen.slope()
    first, last = seen.megabytes[0], seen.megabytes[-1]
    print(f"  {told(load)}; {first:.0f} MB, in the end {last:.0f}, at most {max(seen.megabytes):.0f}")
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
            print(f"speed, load {os.getloadavg()[0]:.1f}")
            speed(service, options.seconds)
            print(f"soak of {options.soak:g} s with 4 clients")
            memory(service, options.soak)
            print("store gone, and back")
            [index] = [path for path in (folder / "demo").iterdir() if path.name != "copies"]
            gone = trials.outage(service, index)
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
