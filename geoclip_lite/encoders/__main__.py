"""Does an encoder load here? `python -m geoclip_lite.encoders ViT-B-32-quickgelu/openai` downloads and says.

`python -m geoclip_lite.encoders list` names those that come with the package, and how to name others. The
exit status is 0 if an encoder loads, 1 if its weights are out of reach, and 2 for a name that there is not.
"""

from __future__ import annotations

import argparse
import sys


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m geoclip_lite.encoders", description=__doc__.splitlines()[0]
    )
    parser.add_argument("name", help="as load_encoder takes it, or list: which there are")
    name = parser.parse_args().name

    from geoclip_lite.encoders import WeightsError, load_encoder, shipped

    if name == "list":
        print(*shipped(), "ARCHITECTURE/TAG    as in open_clip.list_pretrained(), downloaded once", sep="\n")
        print("ARCHITECTURE/PATH   a file of weights, or PATH alone for a mini of your own")
        return 0
    try:
        encoder = load_encoder(name)
    except WeightsError as error:
        print(error, file=sys.stderr)
        return 1
    except ValueError as error:
        parser.error(str(error))
    print(f"{encoder.name}: {encoder.dim} dimensions, {encoder.image_size} pixels, on {encoder.device}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
