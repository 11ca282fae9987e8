"""What is slow: a world's pictures as one encoder sees them, computed once, a block at a time."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Literal, TypeVar, get_args

import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from geoclip_lite import regions, steering
from geoclip_lite.datasets import clevr_like, folder, shapes, things
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.squares import fit_of, square_of
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.encoders.tokenizer import TextWarning
from geoclip_lite.images import rgb
from geoclip_lite.retrieval import Gallery
from geoclip_lite.scenes import Scene
from geoclip_lite.transport import PointSets
from geoclip_lite.words import words_of

T = TypeVar("T")
Reranker = Literal["none", "objects"]
Notes = tuple[str, ...]
Step = tuple[str, int, int]  # what is being done, how many pictures are, of how many

PICTURES = 1000  # of a world's gallery: encoded in seconds
HELD_OUT = 300  # pictures to centre by, as in chapter 7
BLOCK = 64  # pictures between two looks at the stop button
SIDE = 96  # of a thumbnail, in pixels


@dataclass(frozen=True)
class World:
    """Pictures to search.

    Args:
        scenes: makes the gallery, when it is first asked for.
        minis: the shipped encoders that know its words.
        held_out: makes the scenes whose means centre phrases and regions; None: they are not centred.
        templates: sentences around a phrase; None: the encoder's own.
        example: a query to begin with.
    """

    scenes: Callable[[], Sequence[Scene]]
    minis: tuple[str, ...] = ("mini-single", "mini-pairs")
    held_out: Callable[[], Sequence[Scene]] | None = None
    templates: tuple[str, ...] | None = None
    example: str = ""

    @classmethod
    def of_folder(cls, path: Path | str, damaged: folder.Damaged = "refuse", **about) -> World:
        """Pictures of your own, see `datasets.folder.read`, which says what it refuses or leaves out."""
        return cls(partial(folder.read, path, damaged), **about)


WORLDS = {  # the gallery of Shapes holds its example, and the same with circle and star exchanged
    "Shapes": World(
        lambda: shapes.evaluation_scenes()[:PICTURES], example="green circle, orange star, yellow hexagon"
    ),
    "CLEVR-like": World(
        partial(clevr_like.evaluation_scenes, PICTURES),
        held_out=partial(clevr_like.validation_scenes, HELD_OUT),
        example="a photo of a large red rubber cube and a small brown metal cylinder",
    ),
    "things": World(
        lambda: things.evaluation_scenes()[:PICTURES],
        minis=("mini-things",),
        templates=("{}", "a photo of the {}"),
        example="closed box",
    ),
}


class Bench:
    """A world as one encoder sees it: vectors, regions, thumbnails, and everything that was read so far.

    Raises:
        ValueError, OSError: what making the scenes raises.
    """

    def __init__(self, world: World, encoder: DualEncoder):
        self.world, self.encoder = world, encoder
        self.scenes = tuple(world.scenes())
        self.thumbnails: list[str] = []  # one a scene, as data addresses
        self.encode = partial(encode_with_templates, encoder, templates=world.templates)
        self.read, self.phrases, self.direction = map(cache, (self._read, self._phrases, self._direction))
        self._vectors: list[Float[Tensor, "block dim"]] = []
        self._regions: list[regions.Regions] = []
        self._ready: set[Reranker] = set()

    # What is slow ---------------------------------------------------------------------------------

    def prepare(self, reranker: Reranker = "none") -> Iterator[Step]:
        """Does what a search still needs, and says after every block how far it is.

        Whoever stops iterating keeps the blocks that are done: the next call goes on behind them.
        """
        if reranker not in get_args(Reranker):
            raise ValueError(f"reranker must be one of {', '.join(get_args(Reranker))}, got {reranker!r}")
        for pictures, done in self._blocks(self.scenes, len(self._vectors)):
            self._vectors.append(self.encoder.encode_images(pictures))
            self.thumbnails += map(self._thumbnail, pictures)
            yield "encoding pictures", done, len(self.scenes)
        self._ready.add("none")
        if reranker == "objects":
            everything = (*self.scenes, *self._held_out)
            for pictures, done in self._blocks(everything, len(self._regions)):
                self._regions.append(self._look(pictures))
                yield "looking for objects", done, len(everything)
            self._ready.add("objects")

    def is_ready(self, reranker: Reranker) -> bool:
        """Whether a search would wait for nothing."""
        return reranker in self._ready

    def _blocks(self, scenes: Sequence[Scene], done: int) -> Iterator[tuple[list[Image.Image], int]]:
        """The pictures of the blocks that are not done, and how many pictures are with each."""
        for start in range(BLOCK * done, len(scenes), BLOCK):
            block = scenes[start : start + BLOCK]
            yield [scene.image(self.encoder.image_size) for scene in block], start + len(block)

    def _thumbnail(self, picture: Image.Image) -> str:
        """As far as the encoder looks at it: boxes are fractions of that."""
        whole = fit_of(self.encoder) != "shortest"
        return thumbnail(square_of(self.encoder, picture) if whole else picture)

    def _look(self, pictures: Sequence[Image.Image]) -> regions.Regions:
        return regions.value_regions(self.encoder, pictures, **vars(self._cut), progress=False)

    @cached_property
    def _cut(self) -> regions.Cut:
        return regions.suited_cut(self.encoder)

    @cached_property
    def _held_out(self) -> tuple[Scene, ...]:
        return tuple(self.world.held_out()) if self.world.held_out else ()

    @cached_property
    def gallery(self) -> Gallery:
        """Every picture's vector, after `prepare`."""
        return Gallery(torch.cat(self._vectors), self.scenes)

    @cached_property
    def regions(self) -> regions.Regions:
        """Every picture's regions, centred where the world is, after `prepare("objects")`."""
        own = self._seen.of(range(len(self.scenes)))
        return self.centring.regions(own) if self.centring else own

    @cached_property
    def centring(self) -> regions.Centring | None:
        """By the held-out scenes, after `prepare("objects")`."""
        if not self._held_out:
            return None
        captions = [scene.caption for scene in self._held_out]
        known = self._seen.of(range(len(self.scenes), len(self._seen)))
        return regions.Centring.fit(regions.phrase_sets(captions, self.encode).vectors, known)

    @property
    def _seen(self) -> regions.Regions:
        parts = [part.vectors for part in self._regions]
        return regions.Regions(torch.cat(parts), self._regions[0].boxes)

    # What is read: `read`, `phrases` and `direction` keep the answers ------------------------------

    def _read(self, text: str) -> tuple[Float[Tensor, "1 dim"], Notes]:
        """The vector of a query, and what the encoder has to say of its words."""
        if not words_of(text):
            raise ValueError("query: type what you look for")
        return _with_notes(lambda: self.encoder.encode_texts([text]))

    def _phrases(self, text: str) -> tuple[PointSets, Notes]:
        """The phrases of a query that lists objects, centred where the regions are."""
        sets, notes = _with_notes(lambda: regions.phrase_sets([text], self.encode))
        return (self.centring.phrase_sets(sets) if self.centring else sets), notes

    def _direction(self, source: str, target: str) -> Float[Tensor, " dim"]:
        """From one word to the other, over all phrases of this world in which both can stand."""
        return steering.concept_direction(self.encode, [source], [target], self.frames(source, target))

    def frames(self, source: str, target: str) -> list[str]:
        """What stands around either word, such as "large {} cube" for red and blue; "{}" if nothing does."""
        around = [
            {
                " ".join("{}" if name == slot else value for name, value in thing.slots.items())
                for scene in self.scenes
                for thing in scene.objects
                for slot, word_here in thing.slots.items()
                if word_here == word
            }
            for word in (source, target)
        ]
        return sorted(around[0] & around[1]) or ["{}"]

    @cached_property
    def words(self) -> list[str]:
        """Every value that the objects of this world show."""
        return sorted({v for scene in self.scenes for thing in scene.objects for v in thing.slots.values()})


def _with_notes(compute: Callable[[], T]) -> tuple[T, Notes]:
    """A result, and the warnings on the way to it: for the reader of the widget, not for the kernel's log."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TextWarning)
        result = compute()
    return result, tuple(str(warning.message) for warning in caught)


def thumbnail(picture: Image.Image) -> str:
    """The middle square of a picture as a data address."""
    file = io.BytesIO()
    ImageOps.fit(rgb(picture), (SIDE, SIDE)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
