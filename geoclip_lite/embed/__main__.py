"""Indexes a folder of pictures: `python -m geoclip_lite.embed photos photos.index --encoder mini-pairs`.

Killed or interrupted, the same command does the rest. What is left out is named on stderr: pictures in
formats that are not decoded, links that lead nowhere or back, and what is damaged if it is skipped. The exit
status is 0 if all other pictures are in the index and 1 if not, whatever the reason, such as an encoder that
there is not; 2 is for a command line that cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    options = parser().parse_args(arguments)
    from geoclip_lite.index import VectorStoreError  # from here on, not for --help

    try:
        run(options)
    except (ValueError, OSError, ImportError, VectorStoreError) as error:
        print(str(error).replace("damaged='skip'", "--damaged skip"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: the same command does the rest", file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> None:
    """Embeds, and prints what became of the pictures."""
    from geoclip_lite.datasets.folder import walk
    from geoclip_lite.embed.cluster import on_ray
    from geoclip_lite.embed.folder import FIELDS, embed_folder, in_threads
    from geoclip_lite.encoders import load_encoder
    from geoclip_lite.pipeline import Pipeline, Settings

    if options.index.startswith("memory:"):
        raise ValueError("INDEX must be a place that lasts, got memory:, which ends with this command")
    next(walk(options.folder))  # without a picture, no index is begun
    spread = partial(in_threads, workers=options.workers)
    if options.ray:
        of_each = {"actors": options.actors, "cpus": options.cpus, "gpus": options.gpus}
        spread = partial(on_ray, address=options.ray, **of_each)
    encoder = load_encoder(options.encoder, device=options.device)
    settings = Settings(windows=options.windows)
    with Pipeline(encoder, options.index, fields=FIELDS, settings=settings) as pipeline:
        if pipeline.note:
            print(f"{pipeline.note}.", file=sys.stderr)
        how = {"damaged": options.damaged, "prune": options.prune, "spread": spread}
        report = embed_folder(options.folder, pipeline, **how)
        if options.optimise:
            pipeline.optimise()
    for one in (*report.left_out, *report.damaged):
        print(one.reason, file=sys.stderr)
    print(report)


def parser() -> argparse.ArgumentParser:
    """What the command understands."""
    about = f"{__doc__.partition(':')[0]}."
    made = argparse.ArgumentParser(prog="python -m geoclip_lite.embed", description=about)
    add = made.add_argument
    add("folder", help="of pictures; their paths in it become their ids")
    add("index", help="a folder, or as open_index takes it")
    add("--encoder", required=True, help="as load_encoder takes it")
    add("--device", help="where to compute; default: the best there is")
    add("--windows", action="store_true", help="store windows too, for a search that looks for objects")
    add("--damaged", choices=("refuse", "skip"), default="refuse", help="pictures that cannot be read")
    add("--prune", action="store_true", help="take rows out whose picture has gone from the folder")
    add("--workers", type=at_least_one, help="threads that read; default: one per processor")
    add("--optimise", action="store_true", help="in the end, build what makes searching quick")
    ray = made.add_argument_group("on a Ray cluster").add_argument
    ray("--ray", metavar="ADDRESS", help="HOST:PORT of the cluster; 'local' begins one here")
    ray("--actors", type=at_least_one, default=2, help="copies of the encoder; default: %(default)s")
    ray("--cpus", type=float, default=0.5, help="reserved for each; default: %(default)s")
    ray("--gpus", type=float, default=0.0, help="reserved for each; default: %(default)s")
    return made


def at_least_one(text: str) -> int:
    """A number from 1."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
