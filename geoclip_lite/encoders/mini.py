"""The mini CLIP: open_clip's architecture at 1.8 million parameters, small enough to ship and to train.

A ModifiedResNet looks at 64 x 64 pixels, a two-layer transformer reads up to 64 words, and both project
into 128 dimensions. (A vision transformer of this budget learns neither shape nor material.)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from open_clip.model import CLIP
from PIL import Image, ImageOps
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from geoclip_lite.encoders.base import fingerprint
from geoclip_lite.encoders.device import usable_device
from geoclip_lite.encoders.tokenizer import WordTokenizer
from geoclip_lite.files import sha256, write_atomically
from geoclip_lite.images import rgb
from geoclip_lite.inputs import check_images

IMAGE_SIZE = 64
CONTEXT_LENGTH = 64
EMBED_DIM = 128
FORMAT = "geoclip-lite mini 1"
WEIGHTS = Path(__file__).parent / "weights"


class WeightsError(ValueError):
    """A file of weights is missing, damaged, or not what its checksum says."""


def architecture(vocabulary_size: int) -> CLIP:
    """An untrained mini CLIP for a vocabulary of this size (special tokens included)."""
    return CLIP(
        embed_dim=EMBED_DIM,
        vision_cfg={"image_size": IMAGE_SIZE, "layers": (1, 1, 1, 1), "width": 16, "head_width": 64},
        text_cfg={
            "context_length": CONTEXT_LENGTH,
            "vocab_size": vocabulary_size,
            "width": 128,
            "heads": 4,
            "layers": 2,
        },
    )


def embed_tokens(model: CLIP, tokens: Int[Tensor, "texts length"]) -> Float[Tensor, "texts dim"]:
    """`model.encode_text` for texts shorter than the context: same result, no work on padding.

    Attention is causal and a text is read at its end token, so what stands behind it has no influence.
    """
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    return x[torch.arange(len(x)), tokens.argmax(dim=-1)] @ model.text_projection


def to_input(pixels: UInt8[Tensor, "images 3 size size"]) -> Float[Tensor, "images 3 size size"]:
    """Bytes 0..255 to numbers around zero."""
    return pixels.float() / 64 - 2


def to_pixels(images: Sequence[Image.Image]) -> UInt8[Tensor, "images 3 size size"]:
    """Pictures of any size to the model's square: scaled, then cropped around the centre."""
    pixels = np.stack([np.asarray(square(image)) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def square(image: Image.Image) -> Image.Image:
    """What the minis look at in a picture, see `squares.square_of`."""
    image, size = rgb(image), (IMAGE_SIZE, IMAGE_SIZE)
    return image if image.size == size else ImageOps.fit(image, size)


class MiniClip:
    """A trained mini CLIP behind the `DualEncoder` interface.

    Args:
        name: as `load_encoder` knows it.
        model: the open_clip model.
        tokenizer: with the vocabulary that the model was trained on.
        recipe: how it was trained, as recorded in its file.
        device: where to compute; None takes the best there is.
    """

    dim = EMBED_DIM
    image_size = IMAGE_SIZE
    templates = ("{}", "a photo of a {}")  # what its captions looked like; it knows no other words

    def __init__(
        self,
        name: str,
        model: CLIP,
        tokenizer: WordTokenizer,
        recipe: dict,
        device: torch.device | str | None = "cpu",
    ):
        self.name, self.tokenizer, self.recipe = name, tokenizer, recipe
        self.device = usable_device(device)
        self.model = model.eval().to(self.device)

    @cached_property
    def fingerprint(self) -> str:
        """A checksum of weights, format (it stands for the preprocessing) and vocabulary."""
        tokenizer = {"words": self.tokenizer.words, "context": self.tokenizer.context_length}
        return fingerprint(self.model, {"format": FORMAT, **tokenizer})

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str], batch: int = 512) -> Float[Tensor, "texts dim"]:
        """One unit vector a text; words outside the vocabulary give a `TextWarning`."""
        batches = [ids for ids in self.tokenizer(texts).split(batch) if len(ids)]
        chunks = [embed_tokens(self.model, ids.to(self.device)).cpu() for ids in batches]
        return F.normalize(torch.cat([torch.empty(0, self.dim), *chunks]), dim=-1)

    @torch.inference_mode()
    def encode_images(self, images: Sequence[Image.Image], batch: int = 256) -> Float[Tensor, "images dim"]:
        """One unit vector an image of any size."""
        images = check_images(images)
        batches = (to_pixels(images[i : i + batch]) for i in range(0, len(images), batch))
        chunks = [self.model.visual(to_input(pixels.to(self.device))).cpu() for pixels in batches]
        return F.normalize(torch.cat([torch.empty(0, self.dim), *chunks]), dim=-1)


# --- files ----------------------------------------------------------------------------------------


def shipped() -> dict[str, str]:
    """The encoders that come with the package: name -> sha256 of the weights."""
    lines = (WEIGHTS / "SHA256SUMS").read_text().split("\n")
    return {line.split()[1].removesuffix(".safetensors"): line.split()[0] for line in lines if line}


def save_mini(path: Path, model: CLIP, tokenizer: WordTokenizer, recipe: dict) -> str:
    """Writes half-precision weights with vocabulary and recipe in one file; returns its sha256."""
    weights = {
        name: tensor.detach().half().contiguous() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    # One entry only: safetensors writes several in random order, and equal weights must be equal files.
    about = {"format": FORMAT, "words": tokenizer.words, "recipe": recipe}
    write_atomically(path, save(weights, {"about": json.dumps(about)}))
    return sha256(path)


def load_mini(
    path: Path,
    name: str | None = None,
    checksum: str | None = None,
    device: torch.device | str | None = "cpu",
) -> MiniClip:
    """Reads what `save_mini` wrote.

    Args:
        path: the safetensors file.
        name: of the encoder; the file's name by default.
        checksum: sha256 that the file must have; unchecked by default.
        device: where to compute; None takes the best there is.

    Raises:
        ValueError: the device cannot be used.
        WeightsError: no such file, a wrong checksum, a damaged file, or one of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no weights at {path}: train them with `python -m geoclip_lite.encoders.train`")
    if checksum and sha256(path) != checksum:
        raise WeightsError(
            f"{path.name} has sha256 {sha256(path)}, expected {checksum}: "
            "the file was damaged or exchanged; fetch it again from the repository"
        )
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            weights = {key: file.get_tensor(key) for key in file.keys()}
    except SafetensorError as error:
        raise WeightsError(f"{path} is no readable safetensors file ({error}); fetch it again") from error
    if about.get("format") != FORMAT:
        raise WeightsError(f"{path} holds {about.get('format', 'no mini CLIP')!r}, expected {FORMAT!r}")
    tokenizer = WordTokenizer(about["words"], CONTEXT_LENGTH)
    model = architecture(tokenizer.vocabulary_size)
    try:
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit the mini CLIP of this version: {error}") from error
    return MiniClip(name or path.stem, model, tokenizer, about["recipe"], device)
