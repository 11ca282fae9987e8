"""Writes what the page "Try it live" loads: text towers, gallery and script, as files that a page may load.

    python book/live/export.py FOLDER       # book/build.py calls it for _build/html/_static/live

gallery.js        scenes, how to draw them, and the patterns by which the package reads a query
mini-single.js    one file a diet: the text tower in its half precision, pictures and their windows
mini-pairs.js
live.js, live.css copied as they are

A page opened from the disk may not fetch, but it may load scripts: every file of data is a script that
assigns to the global LIVE, with its arrays deflated and in base64.

**How vectors become small.** Of a vector x of the gallery, only dot products t . x with texts t are asked.
Let T be the second moment of texts. Then t . x = (T^(-1/2) t) . (T^(1/2) x), and in this form a text has mean
square 1 in every direction: an error costs the same in any coordinate of the item. So one step of rounding
serves them all, after a rotation that makes them uncorrelated over the gallery, and most of them small. A
column with a range above 254 steps takes two bytes, another one takes one, and a column that stays within a
step of 0 is left out: that is the projection to what texts can see, and nothing else has to choose it.
"""

from __future__ import annotations

import base64
import json
import random
import shutil
import sys
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from geoclip_lite.datasets import shapes
from geoclip_lite.encoders import TextWarning, load_encoder
from geoclip_lite.encoders.mini import MiniClip
from geoclip_lite.regions import Regions, phrases, value_regions
from geoclip_lite.scenes import Scene
from geoclip_lite.words import PATTERNS, words_of

HERE = Path(__file__).parent
DIETS = ("mini-pairs", "mini-single")  # the first one is shown first
SHORTLIST = 100  # pictures that are matched with the phrases
# A window is 2 x 2 cells of a map of 4 x 4: nine overlapping windows, each half a picture wide. On validation
# scenes of Shapes they do at least as well as chapter 7's 36 smaller ones, at a quarter of the size. Centring
# gains nothing there, so phrases and windows are compared as they are. (A test holds both.)
WINDOWS = {"refine": 2, "window": 2}
# Of rounding, in units of the cosine. With these, scores are off by some 3e-4 at most; tests allow 5e-4.
PICTURE_STEP = 1e-5
WINDOW_STEP = 4e-5
MOST_WORDS = 12  # of a random text that stands for what readers may type
NARROW, WIDE = 127, 32767  # the largest codes of columns of one byte and of two


# --- vectors in few bytes -------------------------------------------------------------------------


@dataclass(frozen=True)
class Compact:
    """Vectors that answer dot products with texts, in one or two bytes a coordinate.

    Args:
        basis: takes a text's vector to its coordinates.
        middle: middle of each column's range.
        codes: whole numbers; a coordinate is middle + step x code.
        step: of rounding.
        wide: the first so many columns need two bytes, the others one.
    """

    basis: Float[np.ndarray, "dim columns"]
    middle: Float[np.ndarray, " columns"]
    codes: Int[np.ndarray, "items columns"]
    step: float
    wide: int

    @classmethod
    def of(cls, items: Float[Tensor, "items dim"], texts: Float[Tensor, "texts dim"], step: float) -> Compact:
        """Packs items for texts like these.

        Raises:
            ValueError: a step so fine that two bytes are not enough.
        """
        to_text, to_item = balanced_bases(items.double(), texts.double())
        columns = items.double() @ to_item
        low, high = columns.amin(0), columns.amax(0)
        kept = (columns.abs().amax(0) > step).nonzero()[:, 0]
        order = kept[(high - low)[kept].argsort(descending=True, stable=True)]
        middle = ((low + high) / 2)[order].float()
        codes = ((columns[:, order] - middle) / step).round().long()
        largest = codes.abs().amax(0)
        if largest.max() > WIDE:
            raise ValueError(f"step: {step} is too fine, a column would need more than two bytes")
        wide = int((largest > NARROW).sum())
        return cls(to_text[:, order].float().numpy(), middle.numpy(), codes.short().numpy(), step, wide)

    def scores(self, texts: Float[Tensor, "texts dim"]) -> Float[np.ndarray, "texts items"]:
        """Dot products, as the page computes them."""
        return (texts.numpy() @ self.basis) @ (self.middle + self.step * self.codes).T.astype(np.float32)

    def packed(self) -> dict[str, object]:
        """For JSON. Columns lie one behind the other, those of two bytes first."""
        columns = self.codes.T
        return {
            "items": len(self.codes),
            "step": self.step,
            "basis": encoded(self.basis, "<f4"),
            "middle": encoded(self.middle, "<f4"),
            "wide": encoded(columns[: self.wide], "<i2"),
            "narrow": encoded(columns[self.wide :], "<i1"),
        }

    @classmethod
    def unpacked(cls, packed: dict) -> Compact:
        """The inverse of `packed`, for a test; the page has its own in live.js."""
        items, middle = packed["items"], decoded(packed["middle"], "<f4")
        wide, narrow = (
            decoded(packed[k], t).reshape(-1, items) for k, t in (("wide", "<i2"), ("narrow", "<i1"))
        )
        codes = np.concatenate([wide, narrow.astype(np.int16)]).T
        basis = decoded(packed["basis"], "<f4").reshape(-1, len(middle))
        return cls(basis, middle, codes, packed["step"], len(wide))


def balanced_bases(
    items: Float[Tensor, "items dim"], texts: Float[Tensor, "texts dim"]
) -> tuple[Float[Tensor, "dim dim"], Float[Tensor, "dim dim"]]:
    """Two bases A, B with A B^T = 1, so that (t A) . (x B) = t . x; see the head of this file.

    Columns of texts @ A have mean square 1; columns of items @ B are uncorrelated.
    """
    variances, axes = torch.linalg.eigh(texts.T @ texts / len(texts))
    lengths = variances.clamp(min=1e-12).sqrt()
    root, inverse = (axes * lengths) @ axes.T, (axes / lengths) @ axes.T
    scaled = items @ root
    _, rotation = torch.linalg.eigh(scaled.T @ scaled)
    return inverse @ rotation, root @ rotation


def encoded(array: np.ndarray, dtype: str) -> str:
    """The array's bytes, row by row, deflated, in base64. `dtype` says which bytes: little-endian ones."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array, dtype).tobytes(), 9)).decode()


def decoded(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype)


# --- what is written ------------------------------------------------------------------------------


def likely_texts(words: Sequence[str], count: int = 4000, seed: int = 0) -> list[str]:
    """What readers may type: any words in any order, known or not, and captions."""
    rng, pool = random.Random(seed), [*words, "unheard-of"]
    mixed = [" ".join(rng.choices(pool, k=rng.randint(1, MOST_WORDS))) for _ in range(count)]
    return [text for text in mixed if words_of(text)] + [
        scene.caption for scene in shapes.validation_scenes()
    ]


def encode_silently(encoder: MiniClip, texts: Sequence[str]) -> Float[Tensor, "texts dim"]:
    """Texts as vectors, without the warnings of words that are unknown on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TextWarning)
        return encoder.encode_texts(texts)


def text_tower(encoder: MiniClip) -> dict[str, str]:
    """The tensors of the text tower by open_clip's names, each row by row in half precision.

    That is the precision in which the package ships them, so nothing is rounded here.
    """
    state = encoder.model.state_dict()
    chosen = {k: v.cpu() for k, v in state.items() if not k.startswith("visual.") and k != "logit_scale"}
    return {name: encoded(tensor.numpy(), "<f2") for name, tensor in chosen.items()}


def windows(encoder: MiniClip, pictures: Sequence[Image.Image]) -> Regions:
    """The windows of pictures that the page matches with phrases."""
    return value_regions(encoder, pictures, **WINDOWS, progress=False)


def diet(name: str, pictures: Sequence[Image.Image]) -> dict[str, object]:
    """All that the page needs of one encoder."""
    encoder = load_encoder(name, device="cpu")
    texts = encode_silently(encoder, likely_texts(encoder.tokenizer.words))
    regions, blocks = windows(encoder, pictures), encoder.model.transformer.resblocks
    return {
        "words": encoder.tokenizer.words,
        "context": encoder.tokenizer.context_length,
        "depth": len(blocks),
        "heads": blocks[0].attn.num_heads,
        "templates": encoder.templates,
        "text": text_tower(encoder),
        "pictures": Compact.of(encoder.encode_images(pictures), texts, PICTURE_STEP).packed(),
        "windows": Compact.of(regions.vectors.flatten(0, 1), texts, WINDOW_STEP).packed(),
        "boxes": regions.boxes.tolist(),
    }


def gallery(scenes: Sequence[Scene]) -> dict[str, object]:
    """The scenes as numbers of colours and shapes, what is drawn for each, and the package's patterns."""
    colours, nouns = list(shapes.COLOURS), list(shapes.SHAPES)
    things = [[colours.index(o.slots["colour"]), nouns.index(o.noun)] for s in scenes for o in s.objects]
    return {
        "things": encoded(np.array(things), "<u1"),
        "colours": {name: "#" + bytes(rgb).hex() for name, rgb in shapes.COLOURS.items()},
        # The very corners that the encoders saw: a circle's are those of its bounding box.
        "outlines": {noun: shapes._outline(noun, shapes.RADIUS, 0.0) for noun in nouns},
        "places": shapes.PLACES,
        "diets": DIETS,
        "shortlist": SHORTLIST,
        "patterns": {
            **PATTERNS,
            **{
                name.lower(): getattr(phrases, name).pattern
                for name in ("PREFIX", "BETWEEN", "ARTICLE", "TIES")
            },
        },
    }


def write(folder: Path) -> None:
    """Write everything that the page loads."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = shapes.evaluation_scenes()
    pictures = [scene.image() for scene in scenes]
    write_script(folder / "gallery.js", "globalThis.LIVE", {**gallery(scenes), "loaded": {}})
    for name in DIETS:
        write_script(folder / f"{name}.js", f"LIVE.loaded[{json.dumps(name)}]", diet(name, pictures))
    for name in ("live.js", "live.css"):
        shutil.copyfile(HERE / name, folder / name)


def write_script(path: Path, target: str, value: dict) -> None:
    """A script that assigns a value."""
    path.write_text(f"{target} = {json.dumps(value, separators=(',', ':'))};\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    write(Path(sys.argv[1]))
