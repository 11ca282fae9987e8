"""What an operator sees: figures for Prometheus, and a line of JSON for every request.

No query, picture or id is logged: what people look for is theirs.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

LOG = logging.getLogger("geoclip_lite.service")
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.5, 1, 2, 5, 10)  # bounds of the histograms


class Figures:
    """Counters of one service; each has a registry of its own, so that several can live in one process."""

    def __init__(self):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        about = {"namespace": "geoclip", "registry": self.registry}
        self.requests = Counter("requests", "Requests answered", ("route", "status"), **about)
        self.seconds = Histogram(
            "request_seconds", "From head to answer", ("route",), buckets=SECONDS, **about
        )
        self.stages = Histogram("stage_seconds", "Stages of a search", ("stage",), buckets=SECONDS, **about)
        self.accepted = Gauge("accepted", "Searches that run or wait", **about)
        self.pictures = Gauge("pictures", "Pictures to search", ("encoder",), **about)

    def text(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self.registry)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts a request."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def hold(self, pictures: Mapping[str, int]) -> None:
        """Notes how many pictures there are."""
        for encoder, count in pictures.items():
            self.pictures.labels(encoder).set(count)

    def searched(self, seconds: Mapping[str, float]) -> None:
        """Counts the stages of a search."""
        for stage, value in seconds.items():
            self.stages.labels(stage).observe(value)


class Lines(logging.Formatter):
    """One JSON object a line; what `extra={"about": {...}}` holds is part of it."""

    converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "about", {}),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said)


def log_as_json() -> None:
    """The service's and uvicorn's lines to standard error, as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    for name in (LOG.name, "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
