"""From a query to pictures that say why: an index first, then objects from pixels.

    pipeline = Pipeline(encoder, "photos", centring=centring)
    pipeline.add(ids, pictures)
    answer = pipeline.search("a red cube and a blue sphere", k=10)
    answer.results[0].matches          # which phrase was found where, and how well

The first stage asks the index for the nearest pictures. The second matches the phrases of the query with the
windows of these pictures (chapter 7), whose vectors lie beside the pictures' own in the index, in half
precision: a search encodes text only. A picture can be asked for too, and a query pushed (chapter 8).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Float16
from PIL import Image
from torch import Tensor

from geoclip_lite import regions, steering
from geoclip_lite.answers import A_PICTURE, Answer, Match, Result, assigned, focused
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.squares import fit_of
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.index import BadInputError, Filter, Hits, Index, Rows, open_index
from geoclip_lite.regions import Centring, Cut, NoTokensError, Regions
from geoclip_lite.regions.search import Matcher
from geoclip_lite.regions.tokens import Boxes
from geoclip_lite.retrieval import Ranking
from geoclip_lite.transport import PointSets
from geoclip_lite.words import readable, words_of

MAX_TEXT = 2000  # characters of a query
BATCH = 256  # pictures in one upsert


@dataclass(frozen=True)
class Settings:
    """How pictures are cut into windows and matched. Windows are stored: other ones need another index.

    Args:
        windows: whether to store any; without, every search is for whole pictures.
        refine, window: see `regions.value_regions`; None: as suits the encoder, see `regions.suited_cut`.
        matcher: see `regions.rerank`.
        weight: of the picture's own cosine in the score, 0 to 1.
        candidates: of the first stage.
    """

    windows: bool = True
    refine: int | None = None
    window: int | None = None
    matcher: Matcher = "assignment"
    weight: float = 0.2
    candidates: int = 100

    def cut(self, suited: Cut) -> Cut:
        """The cut that suits an encoder, but for what is set here."""
        return replace(suited, refine=self.refine or suited.refine, window=self.window or suited.window)


@dataclass(frozen=True)
class Push:
    """Moves a query before the first stage, from what one text says to what another says (chapter 8).

    It chooses the candidates and changes the plain cosine. Phrases are matched as they were typed.

    Args:
        strength: in lengths of the query; 0 leaves it where it is.
    """

    source: str
    target: str
    strength: float


def phrases_of(query: str) -> list[str]:
    """The objects that a query lists; a query that is no list is one phrase. See `words.readable`."""
    try:
        return regions.listed_phrases(query)
    except ValueError:
        return [readable(query)]


def check_text(name: str, text: str) -> None:
    """Raises BadInputError for what is no text, empty or endless."""
    if not isinstance(text, str) or not words_of(text):
        raise BadInputError(f"{name} must be a text with words, got {text!r}")
    if len(text) > MAX_TEXT:
        raise BadInputError(f"{name} must have at most {MAX_TEXT:,} characters, got {len(text):,}")


def encode_parts(
    encoder: DualEncoder, cut: Cut | None, pictures: Sequence[Image.Image]
) -> Float[Tensor, "pictures parts dim"]:
    """Of every picture its own vector, then those of its windows, if it is cut."""
    whole = encoder.encode_images(pictures)[:, None]
    if cut is None:
        return whole
    seen = regions.value_regions(encoder, pictures, **vars(cut), progress=False)
    return torch.cat([whole, seen.vectors], dim=1)


@dataclass
class Pipeline:
    """A gallery that can be searched and that explains itself.

    One row of the index is a picture: its vector, which is searched, and beside it those of its windows. An
    encoder without a value path has no windows: `cut` is None, and every search is for whole pictures.

    Args:
        encoder: any.
        place: a folder, or whatever `open_index` takes.
        fields: of the pictures, see `open_index`.
        settings: see there.
        centring: takes off what all phrases and windows have in common; fit it on other pictures.

    Raises:
        MismatchError: the place holds vectors of another encoder, or windows that were cut otherwise.
        NoTokensError: settings with a cut, for an encoder without a value path.
        VectorStoreError: see `open_index`.
    """

    encoder: DualEncoder
    place: str | Path
    fields: Mapping[str, type] | None = None
    settings: Settings = field(default_factory=Settings)
    centring: Centring | None = None

    def __post_init__(self):
        self.cut, self.boxes = self._own_cut()
        cut = f", {self.cut}" if self.cut else ""
        self.index: Index = open_index(
            self.place,
            dim=self.encoder.dim,
            encoder=f"{self.encoder.fingerprint}{cut}",
            fields=None if self.fields is None else dict(self.fields),
            payload=self.encoder.dim * len(self.boxes),
        )

    def _own_cut(self) -> tuple[Cut | None, Boxes]:
        """How pictures are cut, and where the windows lie; None where there are none."""
        try:
            cut = self.settings.cut(regions.suited_cut(self.encoder)) if self.settings.windows else None
        except NoTokensError:
            if self.settings.refine or self.settings.window:
                raise
            cut = None
        if cut is None:
            return None, torch.empty(0, 4)
        one = Image.new("RGB", (self.encoder.image_size,) * 2)
        return cut, regions.value_regions(self.encoder, [one], **vars(cut), progress=False).boxes

    @property
    def note(self) -> str:
        """What a reader should know of an encoder without windows; empty for others."""
        note = f"{self.encoder.name} has no windows to look for objects in: it searches whole pictures"
        return "" if self.cut or not self.settings.windows else note

    # --- what goes in ---

    def add(
        self,
        ids: Sequence[str],
        pictures: Sequence[Image.Image],
        fields: Mapping[str, Sequence[object]] | None = None,
    ) -> None:
        """Encodes pictures and stores them.

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
            chosen = {name: values[some] for name, values in (fields or {}).items()}
            self.store(ids[some], encode_parts(self.encoder, self.cut, pictures[some]), chosen)

    def store(
        self,
        ids: Sequence[str],
        parts: Float[Tensor, "pictures parts dim"],
        fields: Mapping[str, Sequence[object]],
    ) -> None:
        """Stores what `encode_parts` gave."""
        windows = parts[:, 1:].flatten(1).half() if self.cut else None
        self.index.upsert(ids, parts[:, 0], fields, windows)

    def delete(self, ids: Sequence[str]) -> None:
        """Takes pictures out."""
        self.index.delete(ids)

    # --- what comes out ---

    def search(
        self,
        query: str,
        k: int = 10,
        where: Filter | None = None,
        *,
        settings: Settings | None = None,
        push: Push | None = None,
    ) -> Answer:
        """The k best pictures for a query, each with its matches; by the whole where there are no windows.

        Args:
            query: phrases separated by commas or "and" (see `phrases_of`).
            k: 1 to the number of candidates.
            where: a filter on the pictures' fields.
            settings: of this search; None: the pipeline's own. The cut must be the one that was stored.
            push: of the query, before the first stage.

        Raises:
            BadInputError: an empty or endless text, a k that cannot be, an unknown field, another cut.
            ValueError: an unknown matcher, a weight outside 0..1, a push between equal texts or by a strength
                that is not finite.
        """
        settings = settings or self.settings
        check_text("query", query)
        self._check(k, settings, push)
        clock = Clock()
        phrases = phrases_of(query) if self.cut else []
        caption = self._pushed(self.encoder.encode_texts([query]), push)
        asked = self._phrases(phrases) if phrases else None
        clock.stop("encode text")
        if asked is None:
            return self._by_the_whole(query, caption, k, where, clock)
        hits = self.index.search(caption, settings.candidates, where, rows=True)
        clock.stop("index")
        results = self._matched(phrases, asked, hits, settings, k, clock) if hits.ids[0] else ()
        return Answer(query, tuple(phrases), results, clock.seconds)

    def _matched(
        self, phrases: Sequence[str], asked: PointSets, hits: Hits, settings: Settings, k: int, clock: Clock
    ) -> tuple[Result, ...]:
        """The second stage: the candidates of one query in the order of their matched windows."""
        rows, cosines = hits.rows[0], hits.scores[0]
        order = torch.arange(len(rows))[None]
        first = Ranking(order, cosines[None], len(rows), method="index")
        seen = self._windows(rows.payload)
        ranking = regions.mix(regions.rerank(first, asked, seen, settings.matcher), first, settings.weight)
        clock.stop("rerank")
        results = []
        for i, score in zip(ranking.indices[0, :k].tolist(), ranking.scores[0, :k].tolist(), strict=True):
            matches = self._matches(phrases, asked[0], seen.vectors[i], settings.matcher)
            about = (float(cosines[i]), i + 1, matches, fields_of(rows, i), fit_of(self.encoder))
            results.append(Result(rows.ids[i], score, *about))
        clock.stop("explain")
        return tuple(results)

    def search_picture(
        self, picture: Image.Image, k: int = 10, where: Filter | None = None, *, push: Push | None = None
    ) -> Answer:
        """The k pictures nearest to a picture, as a whole: there are no phrases to match.

        Args:
            k, where, push: see `search`.

        Raises:
            BadInputError, ValueError: see `search`.
        """
        self._check(k, self.settings, push)
        clock = Clock()
        whole = self._pushed(self.encoder.encode_images([picture]), push)
        clock.stop("encode picture")
        return self._by_the_whole(A_PICTURE, whole, k, where, clock)

    def search_like(self, id: str, k: int = 10, where: Filter | None = None) -> Answer:
        """The k pictures nearest to one of the gallery, which is left out itself.

        Raises:
            BadInputError: see `search`.
            KeyError: there is no picture of this id.
        """
        self._check(k, self.settings, None)
        clock = Clock()
        whole = self.index.read([id]).vectors
        clock.stop("read")
        answer = self._by_the_whole(A_PICTURE, whole, k + 1, where, clock)
        others = tuple(result for result in answer.results if result.id != id)[:k]
        ranked = (replace(result, first_rank=rank) for rank, result in enumerate(others, 1))
        return replace(answer, results=tuple(ranked))

    def _by_the_whole(
        self, query: str, whole: Float[Tensor, "1 dim"], k: int, where: Filter | None, clock: Clock
    ) -> Answer:
        """The pictures nearest to a vector, without phrases."""
        hits = self.index.search(whole, k, where, rows=True)
        clock.stop("index")
        rows, scores, fit = hits.rows[0], hits.scores[0].tolist(), fit_of(self.encoder)
        results = tuple(
            Result(rows.ids[i], score, score, i + 1, (), fields_of(rows, i), fit)
            for i, score in enumerate(scores)
        )
        clock.stop("explain")
        return Answer(query, (), results, clock.seconds)

    def _check(self, k: int, settings: Settings, push: Push | None) -> None:
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= settings.candidates:
            raise BadInputError(f"k must be 1 to {settings.candidates}, the candidates, got {k!r}")
        if self.cut and (cut := settings.cut(self.cut)) != self.cut:
            raise BadInputError(f"settings must keep the stored {self.cut}, got {cut}")
        if push:
            check_text("push.source", push.source)
            check_text("push.target", push.target)

    def _pushed(self, whole: Float[Tensor, "1 dim"], push: Push | None) -> Float[Tensor, "1 dim"]:
        if push is None or push.strength == 0:
            return whole
        poles = encode_with_templates(self.encoder, [push.source, push.target])
        return steering.steer(whole, steering.difference(poles[:1], poles[1:]), push.strength)

    def _phrases(self, phrases: Sequence[str]) -> PointSets:
        encode = partial(encode_with_templates, self.encoder)
        sets = regions.phrase_sets([", ".join(phrases)], encode, lambda _: list(phrases))
        return self.centring.phrase_sets(sets) if self.centring else sets

    def _windows(self, payload: Float16[Tensor, "pictures numbers"]) -> Regions:
        seen = Regions(payload.float().view(len(payload), len(self.boxes), -1), self.boxes)
        return self.centring.regions(seen) if self.centring else seen

    def _matches(
        self,
        phrases: Sequence[str],
        asked: Float[Tensor, "phrases dim"],
        seen: Float[Tensor, "windows dim"],
        matcher: Matcher,
    ) -> tuple[Match, ...]:
        """Which window each phrase took."""
        cosines = asked @ seen.T
        taken = cosines.argmax(1) if matcher == "max-sim" else assigned(cosines)
        focus = focused(self.boxes, cosines, taken).tolist()
        return tuple(
            Match(phrase, float(cosines[i, j]), tuple(self.boxes[j].tolist()), tuple(focus[i]))
            for i, (phrase, j) in enumerate(zip(phrases, taken.tolist(), strict=True))
            if j >= 0
        )

    # --- housekeeping ---

    def __len__(self) -> int:
        return len(self.index)

    def optimise(self) -> None:
        """Builds what makes searching quick; worth it once after many additions."""
        self.index.optimise()

    def verify(self) -> None:
        """Reads every row. Raises DamagedError if one cannot be read, or is not what was stored."""
        self.index.verify()

    def close(self) -> None:
        """Lets go of files and connections."""
        self.index.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fields_of(rows: Rows, number: int) -> dict[str, object]:
    """One row's fields."""
    return {name: values[number] for name, values in rows.fields.items()}


@dataclass
class Clock:
    """How long each stage took."""

    seconds: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def stop(self, stage: str) -> None:
        """This stage is done."""
        now = time.perf_counter()
        self.seconds[stage], self.last = now - self.last, now
