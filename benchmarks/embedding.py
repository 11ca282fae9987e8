"""Bulk embedding against the encoder's own speed: a folder into an index, and the same pictures at hand.

    python benchmarks/embedding.py [--pictures 2000 150] [--rounds 5] [--threads 1]

In every round the same pictures are read by one thread, encoded from squares in memory, and embedded in bulk
into a new index; the ratios are within a round, so that whatever else the machine does falls on all three.
A mini encodes PNGs of 64 pixels, a ViT-B-32 with random weights (as fast as trained ones) JPEGs of 480.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import open_clip
import torch
from _turns import seconds
from PIL import Image
from safetensors.torch import save_file

from geoclip_lite.datasets import shapes
from geoclip_lite.datasets.folder import walk
from geoclip_lite.embed.folder import BATCH, FIELDS, File, embed_folder, read_files
from geoclip_lite.encoders import DualEncoder, load_encoder
from geoclip_lite.encoders.squares import square_of
from geoclip_lite.index import open_index
from geoclip_lite.pipeline import Pipeline, Settings

SIDES = {"png": 64, "jpg": 480}


def draw(folder: Path, pictures: int, kind: str) -> Path:
    """A folder of scenes."""
    place = folder / kind
    place.mkdir()
    for number, scene in enumerate(shapes.compositions()[:pictures]):
        scene.image(SIDES[kind]).save(place / f"{number:05}.{kind}")
    return place


def random_vit(folder: Path) -> DualEncoder:
    """A ViT-B-32 with random weights."""
    torch.manual_seed(0)
    path = folder / "random.safetensors"
    save_file(open_clip.create_model("ViT-B-32", pretrained=None).state_dict(), path)
    return load_encoder(f"ViT-B-32/{path}", device="cpu")


def compare(encoder: DualEncoder, place: Path, rounds: int) -> None:
    """One line of ratios."""
    some = [File(path.relative_to(place).as_posix(), "") for path in walk(place)]
    square = partial(square_of, encoder)
    squares = read_files(place, square, some).content
    vectors = encode(encoder, squares)
    embed(encoder, place, place.with_name(f"{place.name}-warm"))  # imports the index, for one
    own, reading, bulk = [], [], []
    for number in range(rounds):
        own.append(seconds(partial(encode, encoder, squares)))
        reading.append(seconds(partial(read_files, place, square, some)) / own[-1])
        where = place.with_name(f"{place.name}-{number}")
        bulk.append(seconds(partial(embed, encoder, place, where)) / own[-1])
        with open_index(where) as index:
            torch.testing.assert_close(index.read([file.id for file in some]).vectors, vectors)
    each = 1e3 * statistics.median(own) / len(some)
    print(f"{encoder.name}: {len(some):,} pictures, {each:.2f} ms to encode one; of that")
    for what, ratios in {"reading, by one thread": reading, "bulk embedding": bulk}.items():
        print(f"  {what:<24} {statistics.median(ratios):7.1%}   ({min(ratios):.1%} to {max(ratios):.1%})")


def encode(encoder: DualEncoder, squares: Sequence[Image.Image]) -> torch.Tensor:
    """In the same batches."""
    return torch.cat([encoder.encode_images(squares[i : i + BATCH]) for i in range(0, len(squares), BATCH)])


def embed(encoder: DualEncoder, place: Path, where: Path) -> None:
    """Into a new index."""
    with Pipeline(encoder, where, fields=FIELDS, settings=Settings(windows=False)) as pipeline:
        embed_folder(place, pipeline, progress=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, nargs=2, default=[2000, 150], help="of the mini, of the ViT")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 1) - 1), help="that encode")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{os.cpu_count()} processors, {options.threads} thread(s) encode, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mini, vit = load_encoder("mini-pairs", device="cpu"), random_vit(folder)
        compare(mini, draw(folder, options.pictures[0], "png"), options.rounds)
        compare(vit, draw(folder, options.pictures[1], "jpg"), options.rounds)


if __name__ == "__main__":
    main()
