"""From a query to pictures that say why: an index first, then objects from pixels.

    pipeline = Pipeline(encoder, "photos", centring=centring)
    pipeline.add(ids, pictures)
    answer = pipeline.search("a red cube and a blue sphere", k=10)
    answer.results[0].matches          # which phrase was found where, and how well

The first stage asks the index for the nearest pictures. The second matches the phrases of the query with the
windows of these pictures (chapter 7), whose vectors were stored beside the pictures' own when they were
added: a search encodes text only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from geoclip_lite import regions
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.index import BadInputError, Filter, MismatchError, open_index
from geoclip_lite.regions import Centring, Regions
from geoclip_lite.regions.search import Matcher
from geoclip_lite.retrieval import Ranking
from geoclip_lite.transport import PointSets

MAX_TEXT = 2000  # characters of a query
BATCH = 256  # pictures in one upsert

Box = tuple[float, float, float, float]  # left, top, right, bottom, as fractions of the square looked at


@dataclass(frozen=True)
class Settings:
    """How pictures are cut into windows and matched. Windows are stored: other ones need another index.

    Args:
        refine, window: see `regions.value_regions`.
        matcher: see `regions.rerank`.
        weight: of the picture's own cosine in the score, 0 to 1.
        candidates: of the first stage.
    """

    refine: int = 4
    window: int = 3
    matcher: Matcher = "assignment"
    weight: float = 0.2
    candidates: int = 100

    @property
    def cut(self) -> str:
        """What stored windows depend on."""
        return f"windows {self.window} at {self.refine}"


@dataclass(frozen=True)
class Match:
    """A phrase of the query, and where it was found.

    Args:
        cosine: of the phrase with the window, centred where the pipeline is.
        box: of the window.
    """

    phrase: str
    cosine: float
    box: Box


@dataclass(frozen=True)
class Result:
    """A picture and why it is where it is.

    Args:
        score: what results are ordered by.
        cosine: of the whole query with the whole picture, the first stage's score.
        first_rank: its place in the first stage, from 1.
        matches: one a phrase of the query.
        fields: as they were given to `add`.
    """

    id: str
    score: float
    cosine: float
    first_rank: int
    matches: tuple[Match, ...]
    fields: Mapping[str, object]

    def explain(self) -> str:
        """In words."""
        found = "; ".join(f"'{m.phrase}' {m.cosine:.2f} {place(m.box)}" for m in self.matches)
        return f"{self.id}: {self.score:.3f}, number {self.first_rank} by the plain cosine. {found}"

    def draw(
        self, picture: Image.Image, colours: Sequence[str] = ("#D55E00", "#0072B2", "#009E73", "#CC79A7")
    ):
        """A copy of the picture with a frame around every match."""
        shown = picture.convert("RGB")
        side, pen = min(shown.size), ImageDraw.Draw(shown)
        left, top = (shown.width - side) / 2, (shown.height - side) / 2
        for i, match in enumerate(self.matches):
            x0, y0, x1, y1 = (v * side for v in match.box)
            frame = (left + x0, top + y0, left + x1 - 1, top + y1 - 1)
            pen.rectangle(frame, outline=colours[i % len(colours)], width=max(1, side // 64))
        return shown


@dataclass(frozen=True)
class Answer:
    """What a search found.

    Args:
        phrases: what the query was read as.
        results: best first.
        seconds: of every stage, by name.
    """

    query: str
    phrases: tuple[str, ...]
    results: tuple[Result, ...]
    seconds: Mapping[str, float]


def phrases_of(query: str) -> list[str]:
    """The objects that a query lists; a query that is no list is one phrase."""
    try:
        return regions.listed_phrases(query)
    except ValueError:
        return [query.strip()]


def place(box: Box) -> str:
    """A box in words."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    column = "left" if x < 0.4 else "right" if x > 0.6 else "middle"
    row = "top" if y < 0.4 else "bottom" if y > 0.6 else "middle"
    return (
        "in the middle" if row == column else f"{row} {column}".replace("middle ", "").replace(" middle", "")
    )


@dataclass
class Pipeline:
    """A gallery that can be searched and that explains itself.

    Two indexes lie side by side: the pictures' vectors, and the windows' vectors of each picture, as one row.

    Args:
        encoder: a mini or an open_clip model with a value path.
        place: a folder, or whatever `open_index` takes with "{}" where the two differ, for instance
            "milvus:http://localhost:19530/shop_{}".
        fields: of the pictures, see `open_index`.
        settings: see there.
        centring: takes off what all phrases and windows have in common; fit it on other pictures.

    Raises:
        MismatchError: the place holds vectors of another encoder, or windows that were cut otherwise.
        VectorStoreError: see `open_index`.
    """

    encoder: DualEncoder
    place: str | Path
    fields: Mapping[str, type] | None = None
    settings: Settings = field(default_factory=Settings)
    centring: Centring | None = None

    def __post_init__(self):
        at = str(self.place)
        at = at if "{}" in at else f"{at.rstrip('/')}/{{}}"
        one = Image.new("RGB", (self.encoder.image_size,) * 2)
        self.boxes = self._windows([one]).boxes
        self.pictures = open_index(
            at.format("pictures"),
            dim=self.encoder.dim,
            encoder=self.encoder.fingerprint,
            fields=None if self.fields is None else dict(self.fields),
        )
        self.windows = open_index(
            at.format("windows"),
            dim=self.encoder.dim * len(self.boxes),
            encoder=f"{self.encoder.fingerprint}, {self.settings.cut}",
            fields={},
        )

    # --- what goes in ---

    def add(
        self,
        ids: Sequence[str],
        pictures: Sequence[Image.Image],
        fields: Mapping[str, Sequence[object]] | None = None,
    ) -> None:
        """Encodes pictures and stores them, windows first: a picture that can be found has its windows.

        Args:
            ids: each once; an id that is there is replaced.
            fields: for each field one value per id.

        Raises:
            BadInputError: numbers that do not fit, or what no store should see.
        """
        if len(ids) != len(pictures):
            raise BadInputError(f"pictures must be one per id, got {len(pictures)} for {len(ids)} ids")
        for start in range(0, len(ids), BATCH):
            some = slice(start, start + BATCH)
            cut = self._windows(pictures[some]).vectors
            flat = cut.flatten(1) / len(self.boxes) ** 0.5  # unit rows again
            self.windows.upsert(ids[some], flat)
            chosen = {name: values[some] for name, values in (fields or {}).items()}
            self.pictures.upsert(ids[some], self.encoder.encode_images(pictures[some]), chosen)

    def delete(self, ids: Sequence[str]) -> None:
        """Takes pictures out, windows last."""
        self.pictures.delete(ids)
        self.windows.delete(ids)

    def _windows(self, pictures: Sequence[Image.Image]) -> Regions:
        cut = {"refine": self.settings.refine, "window": self.settings.window}
        return regions.value_regions(self.encoder, pictures, **cut, progress=False)

    # --- what comes out ---

    def search(self, query: str, k: int = 10, where: Filter | None = None) -> Answer:
        """The k best pictures for a query, each with its matches.

        Args:
            query: phrases separated by commas or "and" (see `phrases_of`).
            k: 1 to the number of candidates.
            where: a filter on the pictures' fields.

        Raises:
            BadInputError: an empty or endless query, a k that cannot be, an unknown field.
        """
        self._check(query, k)
        clock = Clock()
        phrases = phrases_of(query)
        caption, asked = self.encoder.encode_texts([query]), self._phrases(phrases)
        clock.stop("encode text")
        first = self.pictures.search(caption, self.settings.candidates, where)
        ids = first.ids[0]
        clock.stop("index")
        if not ids:
            return Answer(query, tuple(phrases), (), clock.seconds)
        kept, seen = self.pictures.read(ids), self._stored_windows(ids)
        clock.stop("read windows")
        order = torch.arange(len(ids))[None]
        cosines = Ranking(order, first.scores[0][None], len(ids), method="index")
        ranking = regions.mix(
            regions.rerank(cosines, asked, seen, self.settings.matcher), cosines, self.settings.weight
        )
        clock.stop("rerank")
        best = zip(ranking.indices[0, :k].tolist(), ranking.scores[0, :k].tolist(), strict=True)
        results = []
        for i, score in best:
            about = {name: values[i] for name, values in kept.fields.items()}
            matches = self._matches(phrases, asked[0], seen.vectors[i])
            results.append(Result(ids[i], score, float(first.scores[0][i]), i + 1, matches, about))
        clock.stop("explain")
        return Answer(query, tuple(phrases), tuple(results), clock.seconds)

    def _check(self, query: str, k: int) -> None:
        if not isinstance(query, str) or not query.strip():
            raise BadInputError(f"query must be a text with words, got {query!r}")
        if len(query) > MAX_TEXT:
            raise BadInputError(f"query must have at most {MAX_TEXT:,} characters, got {len(query):,}")
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= self.settings.candidates:
            raise BadInputError(f"k must be 1 to {self.settings.candidates}, the candidates, got {k!r}")

    def _phrases(self, phrases: Sequence[str]) -> PointSets:
        encode = partial(encode_with_templates, self.encoder)
        sets = regions.phrase_sets([", ".join(phrases)], encode, lambda _: list(phrases))
        return self.centring.phrase_sets(sets) if self.centring else sets

    def _stored_windows(self, ids: Sequence[str]) -> Regions:
        flat = self.windows.read(ids).vectors * len(self.boxes) ** 0.5
        cut = Regions(flat.view(len(ids), len(self.boxes), -1), self.boxes)
        return self.centring.regions(cut) if self.centring else cut

    def _matches(
        self, phrases: Sequence[str], asked: Float[Tensor, "phrases dim"], seen: Float[Tensor, "windows dim"]
    ) -> tuple[Match, ...]:
        """Which window each phrase took, by the pipeline's matcher."""
        cosines = asked @ seen.T
        taken = cosines.argmax(1) if self.settings.matcher == "max-sim" else assigned(cosines)
        return tuple(
            Match(phrase, float(cosines[i, j]), tuple(self.boxes[j].tolist()))
            for i, (phrase, j) in enumerate(zip(phrases, taken.tolist(), strict=True))
            if j >= 0
        )

    # --- housekeeping ---

    def __len__(self) -> int:
        return len(self.pictures)

    def optimise(self) -> None:
        """Builds what makes searching quick; worth it once after many additions."""
        self.pictures.optimise()

    def verify(self) -> None:
        """Reads every file of both indexes; sees to it that every picture has its windows.

        Raises:
            DamagedError: a file has changed.
            MismatchError: windows are missing.
        """
        for index in (self.pictures, self.windows):
            index.verify()
        if (lacking := len(self.pictures) - len(self.windows)) > 0:
            raise MismatchError(f"{lacking} pictures have no windows: add them again")

    def close(self) -> None:
        """Lets go of files and connections."""
        for index in (self.pictures, self.windows):
            index.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Clock:
    """How long each stage took."""

    seconds: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def stop(self, stage: str) -> None:
        """This stage is done."""
        now = time.perf_counter()
        self.seconds[stage], self.last = now - self.last, now


def assigned(cosines: Float[Tensor, "phrases windows"]) -> Tensor:
    """The window of each phrase when no window is taken twice; -1 where none is left."""
    from scipy.optimize import linear_sum_assignment

    taken = torch.full((len(cosines),), -1)
    rows, columns = linear_sum_assignment(cosines.numpy(), maximize=True)
    taken[torch.from_numpy(rows)] = torch.from_numpy(columns)
    return taken
