"""Embeds a folder of pictures: `python -m geoclip_lite.embed photos photos.index --encoder mini-pairs`.

Killed or interrupted, the same command does the rest. What is left out is named on stderr: pictures in
formats that are not decoded, links that lead nowhere or back, and what is damaged if it is skipped. The exit
status is 0 if all other pictures are in the index and 1 if not, whatever the reason, such as an encoder that
there is not; 2 is for a command line that cannot be read.
"""

from __future__ import annotations

import argparse
import sys

from geoclip_lite.embed import FIELDS, Cluster, ClusterError, embed_folder
from geoclip_lite.encoders import DualEncoder, load_encoder
from geoclip_lite.index import Index, VectorStoreError, open_index
from geoclip_lite.pipeline import Pipeline


def main() -> int:
    options = arguments().parse_args()
    how = {"damaged": options.damaged, "workers": options.workers}
    try:
        if options.ray:
            how["cluster"] = Cluster(options.ray, options.actors, options.cpus, options.gpus)
        encoder = load_encoder(options.encoder, device=options.device)
        with opened(options.index, encoder, options.windows) as into:
            report = embed_folder(options.folder, encoder, into, **how)
            if options.optimise:
                into.optimise()
    except (ValueError, OSError, ImportError, VectorStoreError, ClusterError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: the same command does the rest", file=sys.stderr)
        return 1
    for one in (*report.left_out, *report.damaged):
        print(one.reason, file=sys.stderr)
    print(report)
    return 0


def arguments() -> argparse.ArgumentParser:
    """What the command understands."""
    summary = __doc__.partition(":")[0]
    parser = argparse.ArgumentParser(prog="python -m geoclip_lite.embed", description=f"{summary}.")
    add = parser.add_argument
    add("folder", help="of pictures; their paths in it become their ids")
    add("index", help="as open_index takes it")
    add("--encoder", required=True, help="as load_encoder takes it")
    add("--device", help="where to compute; default: the best there is")
    add("--windows", action="store_true", help="fill a pipeline's two indexes; INDEX is its folder")
    add("--damaged", choices=("refuse", "skip"), default="refuse", help="pictures that cannot be read")
    add("--workers", type=int, help="threads that read; default: one per processor")
    add("--optimise", action="store_true", help="in the end, build what makes searching quick")
    ray = parser.add_argument_group("on a Ray cluster").add_argument
    ray("--ray", metavar="ADDRESS", help="HOST:PORT of the cluster; 'local' begins one here")
    ray("--actors", type=int, default=Cluster.actors, help="copies of the encoder; default: %(default)s")
    ray("--cpus", type=float, default=Cluster.cpus, help="reserved for each; default: %(default)s")
    ray("--gpus", type=float, default=Cluster.gpus, help="reserved for each; default: %(default)s")
    return parser


def opened(place: str, encoder: DualEncoder, windows: bool) -> Index | Pipeline:
    """The index, or the pipeline, begun if there is none."""
    if windows:
        pipeline = Pipeline(encoder, place, fields=FIELDS)
        if pipeline.note:
            print(f"{pipeline.note}.", file=sys.stderr)
        return pipeline
    return open_index(place, dim=encoder.dim, encoder=encoder.fingerprint, fields=FIELDS)


if __name__ == "__main__":
    sys.exit(main())
