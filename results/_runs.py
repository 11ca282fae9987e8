"""The trained runs that the records measure, found by name.

How they were trained is the business of `training.py` alone: a record depends on the runs' weights, through
the checksums in `training.json`, and not on the code that trained them. One run of each mini comes with the
package, so a sample of each record can be measured anywhere.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

from geoclip_lite import results
from geoclip_lite.datasets import clevr_like, shapes
from geoclip_lite.encoders import load_encoder
from geoclip_lite.encoders.mini import IMAGE_SIZE, MiniClip
from geoclip_lite.files import sha256
from geoclip_lite.scenes import Scene

RUNS = results.FOLDER.parent / ".cache" / "minis"
SEEDS = (0, 1, 2)
MINIS = ("mini-single", "mini-pairs")  # the two whose diets are compared in the worlds of several objects
WORLDS = (shapes, clevr_like)


def snapshots(mini: str, seed: int) -> list[Path]:
    """Every checkpoint of a run, the last one last.

    Raises:
        FileNotFoundError: it was not trained on this machine, or not by the code that `training.json` is of.
    """
    found = sorted((RUNS / run_name(mini, seed)).glob("step-*.safetensors"))
    [expected] = results.checksums([run_name(mini, seed)]).values()
    if not found or sha256(found[-1]) != expected:
        raise FileNotFoundError(f"no finished run of {mini}, seed {seed}, in {RUNS}: run results/training.py")
    return found


def trained(mini: str, seed: int) -> Path:
    """The final weights of a run."""
    return snapshots(mini, seed)[-1]


def run_name(mini: str, seed: int) -> str:
    """As `results.checksums` knows it."""
    return f"{mini}-seed{seed}"


def run_names(minis: tuple[str, ...] = MINIS) -> list[str]:
    """All seeds of these minis."""
    return [run_name(mini, seed) for mini in minis for seed in SEEDS]


def shipped(mini: str) -> tuple[MiniClip, results.Row]:
    """The run of a mini that the package ships, and the labels of its rows."""
    encoder = load_encoder(mini, device="cpu")
    return encoder, {"encoder": mini, "seed": encoder.recipe["seed"]}


@cache
def drawn(world: ModuleType, scenes: str) -> tuple[Scene, ...]:
    """What `world.evaluation_scenes()` or its like returns, each picture drawn once for all encoders."""
    return tuple(map(_kept, getattr(world, scenes)()))


def _kept(scene: Scene) -> Scene:
    picture = scene.image(IMAGE_SIZE)
    return replace(scene, draw=lambda size: picture)
