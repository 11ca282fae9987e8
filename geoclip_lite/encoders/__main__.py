"""Does an encoder load here? `python -m geoclip_lite.encoders ViT-B-32-quickgelu/openai` downloads and says.

The exit status is 0 if it does, 1 if its weights are out of reach, and 2 for a name that there is not.
"""

from __future__ import annotations

import argparse
import sys

from geoclip_lite.encoders import WeightsError, load_encoder


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m geoclip_lite.encoders", description=__doc__.splitlines()[0]
    )
    parser.add_argument("name", help="as load_encoder takes it")
    name = parser.parse_args().name
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
