"""Steering several objects: appendix J's protocol on the CLEVR-like world, every seed of both diets.

Pairing errors by attribute; one slot steered; all slots steered and merged; reranking a shortlist; and
interference, slot by slot, beside random directions. What our copy of the paper has lost is read as
`steering.slot_directions` and `steering.mispaired_slots` say. Strengths that are chosen are chosen on the
validation scenes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice

import numpy as np
import pandas as pd
import torch
from _runs import MINIS
from _tables import Decided, Row, claims_of, record_every_run, rows_of, spread
from torch import Tensor
from torch.nn import functional as F

from geoclip_lite import composition, metrics, objects, relevance, steering
from geoclip_lite.composition import ObjectVectors, with_value
from geoclip_lite.datasets import clevr_like
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.mini import IMAGE_SIZE
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.results import Claim
from geoclip_lite.retrieval import Gallery, Ranking, shortlist
from geoclip_lite.scenes import Scene, SceneObject
from geoclip_lite.steering import Direction

CHAPTER = "09_steering_several_objects"
POOL = 100
STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2)
SLOTS = ("colour", "material", "size", "noun")
SLIPS = 500  # mispaired slots that are steered
TWINS = 300  # scenes whose twins are drawn

Directions = dict[tuple[SceneObject, str], Direction]


# --- the setting ----------------------------------------------------------------------------------


@cache
def drawn(name: str) -> tuple[Scene, ...]:
    """Scenes with their pictures at hand."""

    def keep(scene: Scene) -> Scene:
        picture = scene.image(IMAGE_SIZE)
        return replace(scene, draw=lambda size: picture)

    return tuple(map(keep, getattr(clevr_like, name)()))


@dataclass(frozen=True)
class Setting:
    """One encoder's view of the world."""

    encoder: DualEncoder
    references: Gallery
    images: Gallery
    captions: Tensor
    vectors: ObjectVectors
    directions: Directions
    at_random: Directions

    @classmethod
    def seen_by(cls, encoder: DualEncoder, name: str) -> Setting:
        encode = partial(encode_with_templates, encoder)
        references, images = (Gallery.of_images(encoder, drawn(n)) for n in ("references", name))
        directions = steering.slot_directions(encode, clevr_like.TYPES)
        noise = steering.random_directions(encoder.dim, len(directions))
        return cls(
            encoder,
            references,
            images,
            encoder.encode_texts([scene.caption for scene in images.scenes]),
            ObjectVectors([*references.scenes, *images.scenes], encode),
            directions,
            dict(zip(directions, noise, strict=True)),
        )

    @property
    def scenes(self) -> list[Scene]:
        return list(self.images.scenes)

    def steered(self, scene: Scene, strength: float, directions: Directions | None = None) -> Tensor:
        """The scene's object vectors, each moved along the directions of all its own attributes."""
        directions = self.directions if directions is None else directions
        towards = [sum(directions[o, slot] for slot, _ in o.attributes) for o in scene.objects]
        moved = self.vectors.of(scene) + strength * torch.stack(towards)
        return F.normalize(moved, dim=1)

    def merged(self, strength: float, directions: Directions | None = None) -> Tensor:
        """The average of every scene's steered objects."""
        means = [self.steered(scene, strength, directions).mean(0) for scene in self.scenes]
        return F.normalize(torch.stack(means), dim=1)


@cache
def judged(scenes: tuple[Scene, ...]) -> dict[str, Tensor]:
    """The matrices that rankings are judged by."""
    return {
        "right": relevance.exact(scenes, scenes),
        "bag": relevance.same_bag(scenes, scenes),
        "gen": relevance.attribute_coverage(scenes, scenes),
        "noun": relevance.object_coverage(scenes, scenes),
        "grade": relevance.overlap(scenes, scenes),
    }


def figures(ranking: Ranking, setting: Setting) -> dict[str, float]:
    """Recall, both concept attribution scores and nDCG: the columns of table 3."""
    by = judged(setting.images.scenes)
    values = {f"R@{k}": metrics.hit_at(ranking, by["right"], k).mean() for k in (1, 5, 10)}
    values["CAS-gen@10"] = metrics.attribution_at(ranking, by["gen"], 10).mean()
    values["CAS-noun@10"] = metrics.attribution_at(ranking, by["noun"], 10).mean()
    values["nDCG@10"] = metrics.ndcg_at(ranking, by["grade"], 10).mean()
    return values


# --- pairing errors -------------------------------------------------------------------------------


def pairing(setting: Setting, about: Row) -> list[Row]:
    """How often the top ten hold the right words on the wrong objects, and on which attribute."""
    found = shortlist(setting.captions, setting.images, 10)
    by = judged(setting.images.scenes)
    values = {
        "right in the top 10": metrics.precision_at(found, by["right"], 10).mean(),
        "same words, other pairing": metrics.precision_at(found, by["bag"] * (1 - by["right"]), 10).mean(),
    }
    touched, slots = mispaired(setting.scenes, found.indices)
    anywhere = torch.randint(
        len(setting.scenes), found.indices.shape, generator=torch.Generator().manual_seed(0)
    )
    by_chance, slots_by_chance = mispaired(setting.scenes, anywhere)
    values |= {"a slot is mispaired": touched, "... in random pictures": by_chance}
    values |= {f"mispaired slots: {slot}": share for slot, share in slots.items()}
    values |= {f"... in random pictures: {slot}": share for slot, share in slots_by_chance.items()}
    return rows_of(values | twins_told_apart(setting), about | {"experiment": "pairing"})


def mispaired(scenes: Sequence[Scene], items: Tensor) -> tuple[float, dict[str, float]]:
    """Share of pictures with a mispaired slot, and what share of these slots each attribute has."""
    pairs = [(query, scenes[i]) for query, row in zip(scenes, items.tolist(), strict=True) for i in row]
    found = [steering.mispaired_slots(query, image) for query, image in pairs]
    slots = Counter(slot for each in found for _, _, slot in each)
    return float(np.mean([bool(each) for each in found])), {s: slots[s] / slots.total() for s in SLOTS}


def twins_told_apart(setting: Setting) -> dict[str, float]:
    """How often a caption is nearer to its picture than to a twin with one attribute's values exchanged."""
    found = {}
    for slot in SLOTS:
        rows, twins = twins_of(setting.images.scenes, slot)
        others = Gallery.of_images(setting.encoder, twins).vectors
        captions, own = setting.captions[list(rows)], setting.images.vectors[list(rows)]
        found[f"twin told apart: {slot}"] = (
            ((captions * own).sum(1) > (captions * others).sum(1)).double().mean()
        )
    return found


@cache
def twins_of(scenes: tuple[Scene, ...], slot: str) -> tuple[tuple[int, ...], tuple[Scene, ...]]:
    """Of the first scenes that have one, a twin each: the same words, one attribute paired otherwise."""
    rng = np.random.default_rng(SLOTS.index(slot))
    rows, twins = [], []
    for row, scene in enumerate(scenes[:TWINS]):
        if (things := composition.rebound(scene.objects, rng, slot)) is not None:
            twin = clevr_like.scene_from_record(clevr_like.make_record(things, rng), f"twin/{slot}/{row}")
            picture = twin.image(IMAGE_SIZE)
            rows.append(row)
            twins.append(replace(twin, draw=lambda size, picture=picture: picture))
    return tuple(rows), tuple(twins)


# --- one slot -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Slip:
    """A slot that the first answer of a query has on the wrong object."""

    query: int
    which: int
    slot: str
    wanted: SceneObject
    shown: SceneObject  # the wanted object with the value that the answer shows


def slips(setting: Setting) -> Iterator[Slip]:
    """Of every query's first answer."""
    first = shortlist(setting.captions, setting.images, 1).indices[:, 0].tolist()
    for number, (query, item) in enumerate(zip(setting.scenes, first, strict=True)):
        image = setting.images.scenes[item]
        for i, j, slot in steering.mispaired_slots(query, image):
            wanted = query.objects[i]
            yield Slip(number, i, slot, wanted, with_value(wanted, slot, image.objects[j].slots[slot]))


def targeted(setting: Setting, about: Row) -> list[Row]:
    """Each mispaired slot steered from the value shown to the value wanted, by three kinds of direction."""
    found, rows = list(islice(slips(setting), SLIPS)), []
    for way in ("own prompts", "other objects", "random"):
        for strength in (0.5, "the distance"):
            hits = [corrected(setting, slip, way, strength) for slip in found]
            for slot in ("all", *SLOTS):
                some = [hit for slip, hit in zip(found, hits, strict=True) if slot in ("all", slip.slot)]
                texts, pictures = np.mean(some, axis=0) if some else (0.0, 0.0)
                values = {"slots": len(some), "nearest phrase": texts, "nearest picture": pictures}
                where = about | {
                    "experiment": "one slot",
                    "way": way,
                    "slot": slot,
                    "strength": str(strength),
                }
                rows += rows_of(values, where)
    return rows + whole_query(setting, found, about)


def corrected(setting: Setting, slip: Slip, way: str, strength: float | str) -> tuple[bool, bool]:
    """Is the wanted object nearest now: of all phrases, of all pictures of one object?"""
    types = [scene.objects[0] for scene in setting.references.scenes]
    phrases = setting.vectors.vectors[[setting.vectors.rows(s)[0] for s in setting.references.scenes]]
    source, target = (phrases[types.index(o)] for o in (slip.shown, slip.wanted))
    distance = float((target - source).norm())
    direction = slot_step(setting, slip, way, types, phrases)
    moved = steering.steer(source[None], direction, distance if strength == "the distance" else strength)[0]
    wanted = types.index(slip.wanted)
    return int((phrases @ moved).argmax()) == wanted, int(
        (setting.references.vectors @ moved).argmax()
    ) == wanted


def slot_step(
    setting: Setting, slip: Slip, way: str, types: Sequence[SceneObject], phrases: Tensor
) -> Direction:
    """From the value shown to the one wanted: by the object's own phrases, by those of others, at random."""
    if way == "random":
        return steering.random_directions(setting.encoder.dim, 1, seed=slip.query)[0]
    pairs = [(t, with_value(t, slip.slot, slip.shown.slots[slip.slot])) for t in types]
    value = slip.wanted.slots[slip.slot]
    alike = [
        (t, s)
        for t, s in pairs
        if t.slots[slip.slot] == value and (t == slip.wanted) == (way == "own prompts")
    ]
    return steering.difference(*(phrases[[types.index(pair[end]) for pair in alike]] for end in (1, 0)))


def whole_query(setting: Setting, found: Sequence[Slip], about: Row) -> list[Row]:
    """R@10 of the queries with a mispaired slot: by caption, by merged objects, and with slots steered."""
    types = [scene.objects[0] for scene in setting.references.scenes]
    phrases = setting.vectors.vectors[[setting.vectors.rows(s)[0] for s in setting.references.scenes]]
    sets = {slip.query: setting.vectors.of(setting.scenes[slip.query]) for slip in found}
    captions = {query: setting.captions[query] for query in sets}
    plain = dict(sets)
    for slip in found:
        direction = slot_step(setting, slip, "own prompts", types, phrases)
        sets[slip.query] = steering.steer_object(sets[slip.query], slip.which, direction, 0.5)
        captions[slip.query] = steering.steer(captions[slip.query][None], direction, 0.1)[0]
    rows = list(sets)
    right = judged(setting.images.scenes)["right"][rows]
    queries = {
        "caption": setting.captions[rows],
        "caption, steered": torch.stack([captions[row] for row in rows]),
        "merged": torch.stack([plain[row].mean(0) for row in rows]),
        "merged, slots steered": torch.stack([sets[row].mean(0) for row in rows]),
    }
    values = {"queries": len(rows)}
    for name, vectors in queries.items():
        values[f"R@10, {name}"] = metrics.hit_at(shortlist(vectors, setting.images, 10), right, 10).mean()
    return rows_of(values, about | {"experiment": "whole query"})


# --- all slots ------------------------------------------------------------------------------------


def naive(setting: Setting, about: Row) -> list[Row]:
    """All objects steered and averaged, at every strength, beside the caption and random directions."""
    rows = rows_of(
        figures(shortlist(setting.captions, setting.images, 10), setting), about | {"method": "caption"}
    )
    for strength in STRENGTHS:
        for method, directions in (("steered", setting.directions), ("at random", setting.at_random)):
            ranking = shortlist(setting.merged(strength, directions), setting.images, 10)
            here = about | {"method": f"average, {method}", "strength": strength}
            rows += rows_of(figures(ranking, setting), here)
    return rows


def best_strength(validation: Setting) -> float:
    """Of highest R@10 for the average, on the validation scenes; of equal ones, the lowest."""
    right = judged(validation.images.scenes)["right"]

    def recall(strength: float) -> float:
        found = shortlist(validation.merged(strength), validation.images, 10)
        return float(metrics.hit_at(found, right, 10).mean())

    return max(STRENGTHS, key=recall)


def two_stages(setting: Setting, strength: float, about: Row) -> list[Row]:
    """The caption's hundred best, reranked by steered objects and by matching annotated ones."""
    first = shortlist(setting.captions, setting.images, POOL)
    right = judged(setting.images.scenes)["right"]
    rows = rows_of({f"recall@{k}": metrics.hit_at(first, right, k).mean() for k in (50, POOL)}, about)
    rankings = {}
    for how in ("average", "min", "softmin"):
        for s in dict.fromkeys((0.0, strength)):
            rankings[how, s] = first.rescored(steered_scores(setting, first, s, how), how)
    asked = objects.object_sets(setting.scenes, setting.vectors)
    for matcher in ("assignment", "fgw"):
        rankings[matcher, 0.0] = objects.rerank(first, asked, asked, matcher, oracle=True, progress=False)
    for (method, s), ranking in rankings.items():
        rows += rows_of(figures(ranking, setting), about | {"method": method, "strength": s})
    return rows


def steered_scores(setting: Setting, first: Ranking, strength: float, how: composition.Merge) -> Tensor:
    """One score a candidate from the cosines of the query's steered objects."""
    scores = [
        composition.merge(setting.steered(scene, strength) @ setting.images.vectors[items].T, how)
        for scene, items in zip(setting.scenes, first.indices, strict=True)
    ]
    return torch.stack(scores)


# --- interference ---------------------------------------------------------------------------------


def interference(setting: Setting, about: Row) -> list[Row]:
    """From the caption to the average of steered objects: which slots degrade, and what chance would do."""
    margins = partial(composition.slot_margins, scenes=setting.scenes, references=setting.references)
    before, rows = margins(setting.captions), []
    for strength in (0.0, 0.3, 1.2):
        merged = setting.merged(strength)
        changes = {
            "steered": merged,
            "steered at random": setting.merged(strength, setting.at_random),
            "random step": composition.random_shift(setting.captions, merged),
        }
        for change, vectors in changes.items():
            moved = composition.slot_changes(before, margins(vectors))
            here = about | {"change": change, "strength": strength}
            rows += rows_of(summary(moved), here)
            rows += [row for key in ("slot", "objects") for row in broken_down(moved, key, here)]
    return rows


def summary(changes: pd.DataFrame) -> dict[str, float]:
    """Appendix J's figures, under our reading: a slot degrades where its margin falls."""
    table = composition.degradation(changes)
    values = {
        "any slot degrades": table.any_degrades.mean(),
        "by coins": table.by_coins.mean(),
        "slots degraded": changes.degrades.mean(),
        "slots lost per slot gained": changes.degrades.sum() / changes.improves.sum(),
        "slots degraded where any improves": table.degrades[table.improves > 0].mean(),
        "any slot degrades, six objects or more": table.any_degrades[table.objects >= 6].mean(),
    }
    for slot in ("noun", "material"):
        share = composition.degrades_when_improves(changes, "colour", slot, ["query"])
        values[f"{slot} degrades when colour improves"] = share
    return values


def broken_down(changes: pd.DataFrame, key: str, about: Row) -> list[Row]:
    """Slots lost per slot gained, by attribute or by the number of objects."""
    if key == "objects":
        changes = changes.assign(objects=changes.groupby("query")["object"].transform("nunique"))
    rows = []
    for value, group in changes.groupby(key):
        ratio = {"slots lost per slot gained": group.degrades.sum() / group.improves.sum()}
        rows += rows_of(ratio, about | {key: value})
    return rows


# --- all of it ------------------------------------------------------------------------------------


def measure(encoder: DualEncoder, about: Row) -> list[Row]:
    """All rows of one encoder."""
    setting = Setting.seen_by(encoder, "evaluation_scenes")
    strength = best_strength(Setting.seen_by(encoder, "validation_scenes"))
    return [
        *pairing(setting, about),
        *targeted(setting, about),
        *naive(setting, about | {"experiment": "all slots"}),
        *two_stages(setting, strength, about | {"experiment": "two stages"}),
        *interference(setting, about | {"experiment": "interference"}),
    ]


# --- claims ---------------------------------------------------------------------------------------


class Figures:
    """The figures of one diet, by metric; every other column is empty unless it is named."""

    columns = ("way", "slot", "strength", "method", "change", "objects")

    def __init__(self, table: pd.DataFrame):
        self.table = table

    def __call__(self, metric: str, experiment: str, **where: object) -> pd.Series:
        rows = self.table[(self.table.metric == metric) & (self.table.experiment == experiment)]
        for name in self.columns:
            rows = rows[rows[name] == where[name]] if name in where else rows[rows[name].isna()]
        if rows.empty or rows.seed.duplicated().any():
            raise LookupError(f"{metric!r} with {where}: {len(rows)} rows, expected one a seed")
        return rows.set_index("seed").value.sort_index()


def percent(values: pd.Series) -> str:
    return spread(100 * values, "{:.1f}")


def claims(table: pd.DataFrame) -> list[Claim]:
    """What section 6.2 and appendix J say, for each diet."""
    parts = (_pairing, _one_slot, _naive, _reranked, _interference)
    by_diet = {diet: Figures(table[table.encoder == diet]) for diet in MINIS}
    return claims_of({d: [x for part in parts for x in part(f)] for d, f in by_diet.items()}, CHAPTER)


def _pairing(of: Figures) -> Decided:
    """Colour first, in every seed: among mispaired slots, and where twins have to be told apart."""
    shares = {slot: of(f"mispaired slots: {slot}", "pairing") for slot in SLOTS}
    chance = {slot: of(f"... in random pictures: {slot}", "pairing").mean() for slot in SLOTS}
    told = {slot: of(f"twin told apart: {slot}", "pairing") for slot in SLOTS}
    others = SLOTS[1:]
    said = "; ".join(f"{s} {100 * share.mean():.0f} ({100 * chance[s]:.0f})" for s, share in shares.items())
    twins = "; ".join(f"{slot} {100 * share.mean():.0f}" for slot, share in told.items())
    return [
        (
            ("Colour is the attribute that is mispaired most often", "appendix J", "42.2 %"),
            f"percent of mispaired slots (in random pictures): {said}",
            all(bool((shares["colour"] > shares[slot]).all()) for slot in others),
        ),
        (
            ("... and the one whose exchange is noticed least (our test)",
             "appendix J", ""),
            f"percent of twins told apart: {twins}",
            all(bool((told["colour"] < told[slot]).all()) for slot in others),
        ),
    ]  # fmt: skip


def _one_slot(of: Figures) -> Decided:
    """Corrected: every slot but the noun, in every seed; by phrases, by pictures, and without its own."""

    def share(metric: str, way: str, slot: str = "all") -> pd.Series:
        return of(metric, "one slot", way=way, slot=slot, strength="the distance")

    own = pd.concat([share("nearest phrase", "own prompts", slot) for slot in SLOTS[:3]], axis=1).min(axis=1)
    pictures, others = share("nearest picture", "own prompts"), share("nearest phrase", "other objects")
    shape, chance = share("nearest phrase", "own prompts", "noun"), share("nearest phrase", "random")
    whole = {
        name: of(f"R@10, {name}", "whole query") for name in ("caption", "merged", "merged, slots steered")
    }
    return [
        (
            ("Targeted steering corrects every colour, material and size", "appendix J", "314 of 314"),
            f"{percent(own)} % of slots, as source + (target - source) = target must",
            bool((own == 1).all()),
        ),
        (
            ("... also by the pictures that the steered vector is nearest to (our test)", "appendix J", ""),
            f"{percent(pictures)} %",
            bool((pictures > 0.95).all()),
        ),
        (
            ("... also by a direction from other objects alone (our test)", "appendix J", ""),
            f"{percent(others)} %; in a random direction {percent(chance)} %",
            bool((others > 0.95).all()),
        ),
        (("Shape errors are not steerable", "appendix J", "94 of 408 slots"), f"{percent(shape)} % corrected",
         bool((shape < 0.5).all())),
        (
            ("Correcting the slot does not help the full query", "appendix J", "R@10 23.0 to 14.4"),
            f"R@10 of these queries: caption {percent(whole['caption'])}, merged {percent(whole['merged'])}, "
            f"merged with slots steered {percent(whole['merged, slots steered'])}",
            bool((whole["merged, slots steered"] < whole["caption"]).all()),
        ),
    ]  # fmt: skip


def _naive(of: Figures) -> Decided:
    """Worse than the caption at every strength; and than the same average without steering."""
    caption = of("R@10", "all slots", method="caption")
    by_strength = pd.concat(
        [of("R@10", "all slots", method="average, steered", strength=s) for s in STRENGTHS], axis=1
    )
    best, plain = by_strength.max(axis=1), by_strength.iloc[:, 0]
    gen = [
        of("CAS-gen@10", "all slots", **w)
        for w in ({"method": "caption"}, {"method": "average, steered", "strength": 0.3})
    ]
    return [
        (
            ("Steering all objects and averaging is worse than the caption", "section 6.2, appendix J",
             "R@10 23.0 against 4.6 to 9.4"),
            f"R@10 {percent(caption)}; steered, at its best {percent(best)}, unsteered {percent(plain)}",
            bool((best < caption).all()),
        ),
        (
            ("... and lowers the share of attributes in the top 10", "table 3", "CAS-gen .855 to .785"),
            f"CAS-gen@10 {spread(gen[0], '{:.3f}')} to {spread(gen[1], '{:.3f}')} (strength 0.3)",
            bool((gen[1] < gen[0]).all()),
        ),
    ]  # fmt: skip


def _reranked(of: Figures) -> Decided:
    """min and softmin below the caption; FGW twice the caption, and no more than its shortlist holds."""
    where = {"experiment": "two stages"}
    caption = of("R@10", "all slots", method="caption")
    low = {how: of("R@10", **where, method=how, strength=0.0) for how in ("min", "softmin")}
    fgw, ceiling = of("R@10", **where, method="fgw", strength=0.0), of("recall@100", "two stages")
    noun = [
        of("CAS-noun@10", "all slots", method="caption"),
        of("CAS-noun@10", **where, method="fgw", strength=0.0),
    ]
    return [
        *(
            (
                (f"Reranking by {how} of the objects' scores does not help", "appendix J", paper),
                f"R@10 {percent(caption)} to {percent(low[how])}",
                bool((low[how] < caption).all()),
            )
            for how, paper in (("min", "23.0 to 8.9"), ("softmin", "23.0 to 9.2"))
        ),
        (
            ("FGW with annotations finds what the shortlist holds", "appendix J", "52.1; recall@50 52.2"),
            f"R@10 {percent(caption)} to {percent(fgw)}; recall@100 {percent(ceiling)}",
            bool((ceiling - fgw < 0.01).all()),
        ),
        (
            ("... and raises the share of whole objects in the top 10", "table 3", "CAS-noun .118 to .264"),
            f"CAS-noun@10 {spread(noun[0], '{:.3f}')} to {spread(noun[1], '{:.3f}')}",
            bool((noun[1] > noun[0]).all()),
        ),
    ]  # fmt: skip


def _interference(of: Figures) -> Decided:
    """The paper's figures at strength 0.3; each beside a random step as long."""

    def both(metric: str, strength: float = 0.3) -> tuple[pd.Series, pd.Series]:
        changes = ("steered", "random step")
        return tuple(of(metric, "interference", change=change, strength=strength) for change in changes)

    def said(steered: pd.Series, chance: pd.Series, pattern: str) -> str:
        return f"{spread(steered, pattern)}; random step {spread(chance, pattern)}"

    decided = []
    for text, metric, paper, scale, pattern, bar in (
        (
            "Nearly every query degrades in some slot",
            "any slot degrades",
            "998 of 1,000",
            1000,
            "{:.0f}",
            990,
        ),
        (
            "With six objects or more, every one",
            "any slot degrades, six objects or more",
            "all",
            100,
            "{:.1f}",
            100,
        ),
        (
            "Where a slot improves, five or more others degrade",
            "slots degraded where any improves",
            "10.93",
            1,
            "{:.1f}",
            5,
        ),
        (
            "Where colour improves, shape degrades",
            "noun degrades when colour improves",
            "81 %",
            100,
            "{:.0f}",
            50,
        ),
        (
            "Where colour improves, material degrades",
            "material degrades when colour improves",
            "80 %",
            100,
            "{:.0f}",
            50,
        ),
    ):
        steered, chance = (scale * values for values in both(metric))
        decided.append(
            ((text, "appendix J", paper), said(steered, chance, pattern), bool((steered >= bar).all()))
        )
    share, by_chance = both("slots degraded")
    ends = [both("any slot degrades", s)[0] for s in (0.0, 1.2)]
    return [
        *decided,
        (
            (
                "Steering interferes: it degrades more slots than a random step as long (our test)",
                "appendix J",
                "",
            ),
            f"{said(100 * share, 100 * by_chance, '{:.0f}')} (percent of slots)",
            bool((share > by_chance).all()),
        ),
        (
            ("The share of degraded queries does not depend on the strength", "appendix J", "structural"),
            "{} of 1,000 at strength 0; {} at 1.2".format(*(spread(1000 * end, "{:.0f}") for end in ends)),
            bool(((ends[0] - ends[1]).abs() < 0.01).all()),
        ),
    ]


if __name__ == "__main__":
    record_every_run(__file__, measure, claims)
