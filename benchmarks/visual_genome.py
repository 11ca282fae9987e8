"""Visual Genome's annotations at full size: how long reading takes, and how much memory at its peak.

The files are made up, in the official schema, and hold as much as the real ones are said to: 108,077
pictures, 3.8 million objects, 2.8 million attributes, 2.3 million relations, 5.4 million regions. Every
reading runs in a process of its own. The peer is `json.load` on one of the files, which only parses it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from geoclip_lite.datasets.official import visual_genome, vocabulary

IMAGES = 108_077
OBJECTS, ATTRIBUTES, RELATIONS, REGIONS = 35, 26, 21, 50  # a picture, on average
NOUNS, WORDS = 75_000, 65_557  # different ones
MOST_SECONDS, MOST_BYTES = 180, 2 * 10**9


def generate(folder: Path, images: int) -> None:
    """Five files; `reversed` holds the attributes in the other order."""
    rng = np.random.default_rng(0)
    words = [*vocabulary.SLOTS, *(f"attribute {n}" for n in range(WORDS - len(vocabulary.SLOTS)))]
    files = {
        name: (folder / f"{name}.json").open("w")
        for name in ("image_data", "objects", "attributes", "relationships", "region_descriptions")
    }
    for image in range(1, images + 1):
        for name, record in zip(files, _records(image, rng, words), strict=True):
            files[name].write(("[" if image == 1 else ", ") + json.dumps(record))
    for file in files.values():
        file.write("]")
        file.close()


def _records(image: int, rng: np.random.Generator, words: list[str]) -> Iterable[dict]:
    """What each file says of a picture. Words are as unequally common as words are."""
    boxes = [_box(1000 * image + n, rng) for n in range(int(rng.poisson(OBJECTS)) + 1)]
    said = [[] for _ in boxes]
    for place, word in zip(
        rng.integers(len(boxes), size=ATTRIBUTES), rng.zipf(1.3, ATTRIBUTES) - 1, strict=True
    ):
        said[place].append(words[word % len(words)])
    ends = rng.integers(len(boxes), size=(RELATIONS, 2))
    place = f"https://cs.stanford.edu/people/rak248/VG_100K_2/{image}.jpg"
    yield {"image_id": image, "url": place, "width": 800, "height": 600, "coco_id": None, "flickr_id": None}
    yield {"image_id": image, "objects": [box | {"merged_object_ids": []} for box in boxes]}
    described = [box | ({"attributes": a} if a else {}) for box, a in zip(boxes, said, strict=True)]
    yield {"image_id": image, "attributes": described}
    related = [
        {
            "relationship_id": n,
            "predicate": "ON",
            "synsets": ["on.r.01"],
            "object": boxes[a],
            "subject": boxes[b],
        }
        for n, (a, b) in enumerate(ends)
    ]
    yield {"image_id": image, "relationships": related}
    phrase = f"the {boxes[0]['names'][0]} is {words[image % len(words)]} in colour"
    region = {"region_id": image, "image_id": image, "x": 421, "y": 57, "width": 82, "height": 139}
    yield {"id": image, "regions": [region | {"phrase": f"{phrase} {n}"} for n in range(REGIONS)]}


def _box(name: int, rng: np.random.Generator) -> dict:
    noun = f"noun {int(rng.zipf(1.3)) % NOUNS}"
    x, y, w, h = rng.integers(400, size=4).tolist()
    return {"synsets": [f"{noun}.n.01"], "h": h, "object_id": name, "names": [noun], "w": w, "y": y, "x": x}


def turn_around(path: Path) -> None:
    """The records of a file in the other order: the worst one for reading in step."""
    records = json.loads(path.read_text())
    path.write_text(json.dumps(records[::-1]))


def measured(work: Callable[[], int]) -> tuple[float, float, int, int]:
    """Seconds on the clock and of computing, and peak memory of a new process; and how much it found."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_measure, args=(theirs, work))
    process.start()
    theirs.close()
    found = ours.recv()
    process.join()
    return found


def _measure(pipe, work: Callable[[], int]) -> None:
    start, computed = time.perf_counter(), time.process_time()
    count = work()
    seconds, computed = time.perf_counter() - start, time.process_time() - computed
    pipe.send((seconds, computed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, count))


def report(name: str, work: Callable[[], int], peer: float | None = None) -> float:
    """Prints a line and returns the seconds of computing; `peer`: those of the peer."""
    seconds, computed, peak, count = measured(work)
    within = "within" if seconds < MOST_SECONDS and peak < MOST_BYTES else "beyond"
    found = f"{count:>7,}: {seconds:6.1f} s ({computed:.1f} s of computing), {peak / 1e9:.2f} GB at the peak"
    ratio = "" if peer is None else f", computes {computed / peer:.1f} x as long as the peer"
    limits = f"{within} {MOST_SECONDS} s and {MOST_BYTES / 1e9:.0f} GB"
    print(f"{name:<38} {found}, {limits}{ratio}", flush=True)
    return computed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=IMAGES)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, images)
        total = sum(path.stat().st_size for path in folder.iterdir())
        print(f"{images:,} pictures, {total / 1e9:.2f} GB of JSON")

        def read(**options: bool) -> Callable[[], int]:
            return lambda: len(visual_genome.read(folder, pictures=False, **options).scenes)

        def parse() -> int:
            return len(json.loads((folder / "objects.json").read_text()))

        peer = report("the peer: json.load of objects.json", parse)
        report("read", read(), peer)
        report("read without relations", read(relations=False), peer)
        report("read with regions", read(regions=True), peer)
        measured(lambda: turn_around(folder / "attributes.json") or 0)
        report("read, attributes in the other order", read(), peer)


if __name__ == "__main__":
    main()
