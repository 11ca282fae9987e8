"""The whole pipeline measured: galleries of a thousand to ten thousand pictures, by stage, and what it finds.

With the minis that the package ships, one query at a time and the default settings, on the compositions of
Shapes. Latency is by the clock, so run it on a quiet machine; all lies in a temporary folder that is deleted.
Takes four minutes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch

from geoclip_lite import regions
from geoclip_lite.answers import Answer
from geoclip_lite.datasets import shapes
from geoclip_lite.encoders import load_encoder, shipped
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.mini import IMAGE_SIZE
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.pipeline import Pipeline
from geoclip_lite.regions import Centring
from geoclip_lite.results import Row, Study
from geoclip_lite.scenes import Scene

MINIS = ("mini-single", "mini-pairs")
SIZES = (1000, 3000, 10_000)
QUERIES, WARM = 200, 10  # queries, and how many of them are asked once before, not counted
SHORT, LONG = 10, 100  # how many results are asked for


def scenes(n: int) -> list[Scene]:
    """The evaluation scenes first, then others; no validation scene."""
    evaluation = shapes.evaluation_scenes()
    taken = {scene.image_id for scene in [*evaluation, *shapes.validation_scenes()]}
    rest = [scene for scene in shapes.compositions() if scene.image_id not in taken]
    return [*evaluation, *rest][:n]


def pictures(some: list[Scene]) -> list:
    return [scene.image(IMAGE_SIZE) for scene in some]


def fitted_centring(encoder: DualEncoder) -> Centring:
    """On validation scenes."""
    held_out = shapes.validation_scenes()[:300]
    cut = regions.suited_cut(encoder)
    seen = regions.value_regions(encoder, pictures(held_out), **vars(cut), progress=False)
    captions = [scene.caption for scene in held_out]
    return Centring.fit(regions.phrase_sets(captions, partial(encode_with_templates, encoder)).vectors, seen)


def measure(encoder: DualEncoder, n: int, by_the_clock: bool = True) -> Iterator[Row]:
    """One gallery: what it takes to build it, the time of each stage, and how good the answers are."""
    gallery = scenes(n)
    asked = [scene.caption for scene in gallery[:QUERIES]]
    wanted = [scene.image_id for scene in gallery[:QUERIES]]
    drawn = pictures(gallery)
    with (
        tempfile.TemporaryDirectory() as folder,
        Pipeline(encoder, folder, centring=fitted_centring(encoder)) as pipeline,
    ):
        start = time.perf_counter()
        pipeline.add([scene.image_id for scene in gallery], drawn)
        added = time.perf_counter()
        pipeline.optimise()
        yield {"part": "build", "what": "add", "value": added - start}
        yield {"part": "build", "what": "optimise", "value": time.perf_counter() - added}
        yield {"part": "build", "what": "MB", "value": megabytes(Path(folder))}
        if by_the_clock:
            for query in asked[:WARM]:
                pipeline.search(query, SHORT)
            yield from latency([pipeline.search(query, SHORT) for query in asked])
            yield from percentiles("index alone", index_alone(pipeline, asked))
        found = [pipeline.search(query, LONG) for query in asked]
        yield from quality(found, wanted)


def megabytes(place: Path) -> float:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) / 1e6


def latency(answers: list[Answer]) -> Iterator[Row]:
    """Milliseconds of a search, and of each stage."""
    stages = {stage: [a.seconds[stage] for a in answers] for stage in answers[0].seconds}
    for stage, seconds in {"total": [sum(a.seconds.values()) for a in answers], **stages}.items():
        yield from percentiles(stage, seconds)


def percentiles(stage: str, seconds: list[float]) -> Iterator[Row]:
    """In milliseconds."""
    for p in (50, 95, 99):
        value = 1000 * float(np.percentile(seconds, p))
        yield {"part": "latency", "what": stage, "percentile": p, "value": value}


def index_alone(pipeline: Pipeline, asked: list[str]) -> list[float]:
    """Seconds of the first stage if no windows come with the candidates."""
    seconds = []
    for vector in pipeline.encoder.encode_texts(asked):
        start = time.perf_counter()
        pipeline.index.search(vector[None], pipeline.settings.candidates)
        seconds.append(time.perf_counter() - start)
    return seconds


def quality(answers: list[Answer], wanted: list[str]) -> Iterator[Row]:
    """Where the right picture stands: by the first stage, and by the pipeline."""
    first, final = [], []
    for answer, right in zip(answers, wanted, strict=True):
        hits = [(r.first_rank, place) for place, r in enumerate(answer.results, 1) if r.id == right]
        first.append(hits[0][0] if hits else np.inf)
        final.append(hits[0][1] if hits else np.inf)
    yield {"part": "quality", "what": "shortlist recall", "value": float(np.mean(np.isfinite(first)))}
    for k in (1, 10):
        yield {
            "part": "quality",
            "what": f"R@{k}, index alone",
            "value": float(np.mean(np.array(first) <= k)),
        }
        yield {"part": "quality", "what": f"R@{k}, pipeline", "value": float(np.mean(np.array(final) <= k))}


def every() -> Iterator[Row]:
    """All galleries, by both minis."""
    torch.set_num_threads(1)  # a text is short: two threads would mostly wait for each other
    for mini, n in product(MINIS, SIZES):
        for row in measure(load_encoder(mini, device="cpu"), n):
            yield {"encoder": mini, "pictures": n} | row


def sample() -> list[Row]:
    """How good the answers are over the smallest gallery."""
    mini, n = MINIS[0], SIZES[0]
    measured = measure(load_encoder(mini, device="cpu"), n, by_the_clock=False)
    return [{"encoder": mini, "pictures": n} | row for row in measured if row["part"] == "quality"]


def weights() -> dict[str, str]:
    """Of the minis, which are shipped."""
    return {mini: shipped()[mini] for mini in MINIS}


STUDY = Study(__file__, every, sample, {"value": 0.01}, checkpoints=weights)

if __name__ == "__main__":
    STUDY.run()
