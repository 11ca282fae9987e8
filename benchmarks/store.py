"""What the embedding store saves: a second run of an encoder against its first, pictures at hand.

The ratio is the second run's share of the first, on one thread; the vectors of both runs are compared.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import open_clip
import torch
from _turns import timed
from PIL import Image
from safetensors.torch import save_file

from geoclip_lite.datasets import shapes
from geoclip_lite.encoders import DualEncoder, Stored, load_encoder


def compare(encoder: DualEncoder, images: list[Image.Image], folder: Path) -> None:
    """First and second run, each with a new `Stored`; the second one hashes the weights again."""

    def fingerprint_and_encode() -> torch.Tensor:
        encoder.__dict__.pop("fingerprint", None)
        return Stored(encoder, folder).encode_images(images)

    first, computed = timed(fingerprint_and_encode)
    second, looked_up = timed(fingerprint_and_encode)
    assert torch.equal(computed, looked_up)
    print(
        f"{encoder.name:<28} {len(images):>5} pictures: {first:7.2f} s, then {second:.3f} s "
        f"= {second / first:.1%}"
    )


def random_vit(folder: Path) -> DualEncoder:
    """A ViT-B-32 with random weights, which is as fast as a trained one."""
    torch.manual_seed(0)
    path = folder / "random.safetensors"
    save_file(open_clip.create_model("ViT-B-32", pretrained=None).state_dict(), path)
    return load_encoder(f"ViT-B-32/{path}", device="cpu")


def main() -> None:
    torch.set_num_threads(1)
    scenes = shapes.evaluation_scenes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mini = load_encoder("mini-pairs", device="cpu")
        compare(mini, [scene.image(mini.image_size) for scene in scenes], folder)
        vit = random_vit(folder)
        compare(vit, [scene.image(vit.image_size) for scene in scenes[:200]], folder)


if __name__ == "__main__":
    main()
