"""Timing that the benchmarks share: one call, and several ways in turns.

In turns, whatever else the machine does falls on all ways alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")
Clock = Callable[[], float]  # seconds: `time.perf_counter`, or `time.process_time` for those of the processor


def timed(work: Callable[[], T], clock: Clock = time.perf_counter) -> tuple[float, T]:
    """Seconds of one call, and what it returns."""
    start = clock()
    done = work()
    return clock() - start, done


def seconds(work: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """Seconds of one call."""
    return timed(work, clock)[0]


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int, warm: int = 1) -> dict[str, list[float]]:
    """Seconds of each way in each round, one after the other in every round.

    Args:
        warm: rounds before these, which are not counted.
    """
    turns = [{name: seconds(way) for name, way in ways.items()} for _ in range(warm + rounds)]
    return {name: [turn[name] for turn in turns[warm:]] for name in ways}
