"""How long a notebook took: build.py puts this beside the executed copies as their conftest.py."""

import json
import resource
import time

import pytest


def seconds_of_children() -> float:
    """Processor time of all ended child processes; a notebook's kernel is one once it has shut down."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Write the seconds beside the notebook, whether or not it runs to its end."""
    wall, cpu = time.perf_counter(), seconds_of_children()
    try:
        return (yield)
    finally:
        spent = {"wall_s": time.perf_counter() - wall, "cpu_s": seconds_of_children() - cpu}
        item.path.with_suffix(".seconds.json").write_text(json.dumps(spent))
