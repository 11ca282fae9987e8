"""Steering several objects: appendix J's protocol on the CLEVR-like world, every seed of both diets.

Pairing errors by attribute; one slot steered; all slots steered and merged; reranking a shortlist; and
interference, slot by slot, beside random directions. What our copy of the paper has lost is read as
`slots.slot_directions` and `slots.mispaired_slots` say. Strengths that are chosen are chosen on the
validation scenes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import pandas as pd
import torch
from _runs import MINIS, drawn
from _tables import Decided, Row, claims_of, rows_of, spread, study_of_runs
from torch import Tensor
from torch.nn import functional as F

from geoclip_lite import composition, metrics, objects, relevance, slots, steering
from geoclip_lite.composition import ObjectVectors, with_value
from geoclip_lite.datasets import clevr_like
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.mini import IMAGE_SIZE
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.results import Claim
from geoclip_lite.retrieval import Gallery, Ranking, bag_ranking, shortlist
from geoclip_lite.scenes import Scene, SceneObject
from geoclip_lite.steering import Direction

CHAPTER = "09_steering_several_objects"
J = "appendix J"
POOL = 100
STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2)
SLOTS = ("colour", "material", "size", "noun")
SLIPS = 500  # mispaired slots that are steered
WHOLE = ("caption", "merged", "merged, slots pushed by 0.5", "merged, pushed at random")
TWINS = 300  # scenes whose twins are drawn

Directions = dict[tuple[SceneObject, str], Direction]


# --- the setting ----------------------------------------------------------------------------------


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
        references, images = (Gallery.of_images(encoder, drawn(clevr_like, n)) for n in ("references", name))
        directions = slots.slot_directions(encode, clevr_like.TYPES)
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
    """How often wrong answers have the right words on the wrong objects, where, and how often by chance."""
    found = shortlist(setting.captions, setting.images, 10)
    by = judged(setting.images.scenes)
    values = {
        "right in the top 10": metrics.precision_at(found, by["right"], 10).mean(),
        "same words, other pairing": metrics.precision_at(found, by["bag"] * (1 - by["right"]), 10).mean(),
    }
    rows = rows_of(values | twins_told_apart(setting), about | {"experiment": "pairing"})
    answers = {"first answers": found.indices[:, 0], **controls(setting.images.scenes)}
    for name, items in answers.items():
        where = about | {"experiment": "mispaired", "method": name}
        rows += rows_of(mispaired(setting.scenes, items.tolist()), where)
    return rows


@cache
def controls(scenes: tuple[Scene, ...]) -> dict[str, Tensor]:
    """Answers that know nothing, only the number of objects, or every word and no pairing."""
    rng, sizes = np.random.default_rng(0), np.array([len(scene.objects) for scene in scenes])
    alike = [rng.choice(np.flatnonzero(sizes == size)) for size in sizes]
    nearest = bag_ranking(scenes, scenes, list(scenes[0].objects[0].slots), k=2).indices
    own = torch.arange(len(scenes))
    return {
        "random": torch.from_numpy(rng.integers(len(scenes), size=len(scenes))),
        "random, as many objects": torch.tensor(alike),
        "other picture nearest in words": torch.where(nearest[:, 0] == own, nearest[:, 1], nearest[:, 0]),
    }


def mispaired(scenes: Sequence[Scene], items: Sequence[int]) -> dict[str, float]:
    """Of wrong answers: the share with a mispaired slot, and what share of these slots each attribute has."""
    wrong = [(query, scenes[i]) for query, i in zip(scenes, items, strict=True) if query is not scenes[i]]
    found = [slots.mispaired_slots(query, image) for query, image in wrong]
    counts = Counter(slot for each in found for _, _, slot in each)
    shares = {slot: counts[slot] / counts.total() for slot in SLOTS}
    return {"a slot is mispaired": float(np.mean([bool(each) for each in found]))} | shares


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
        for i, j, slot in slots.mispaired_slots(query, image):
            wanted = query.objects[i]
            yield Slip(number, i, slot, wanted, with_value(wanted, slot, image.objects[j].slots[slot]))


def targeted(setting: Setting, about: Row) -> list[Row]:
    """Each mispaired slot steered from the value shown to the value wanted, by three kinds of direction."""
    everything, rows = list(slips(setting)), []
    found = everything[:SLIPS]
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
    return rows + whole_query(setting, everything, about)


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
    """R@10 of the queries with a mispaired slot, these slots pushed further in the query.

    The query's own vectors hold the right values; a push away from the shown value overstates them.
    """
    types = [scene.objects[0] for scene in setting.references.scenes]
    phrases = setting.vectors.vectors[[setting.vectors.rows(s)[0] for s in setting.references.scenes]]
    plain = {slip.query: setting.vectors.of(setting.scenes[slip.query]) for slip in found}
    pushed, at_random = dict(plain), dict(plain)
    captions = {query: setting.captions[query] for query in plain}
    for number, slip in enumerate(found):
        direction = slot_step(setting, slip, "own prompts", types, phrases)
        noise = steering.random_directions(setting.encoder.dim, 1, seed=number)[0]
        pushed[slip.query] = steering.steer_object(pushed[slip.query], slip.which, direction, 0.5)
        at_random[slip.query] = steering.steer_object(at_random[slip.query], slip.which, noise, 0.5)
        captions[slip.query] = steering.steer(captions[slip.query][None], direction, 0.1)[0]
    rows = list(plain)
    queries = {
        "caption": setting.captions[rows],
        "caption, pushed by 0.1": torch.stack([captions[row] for row in rows]),
        "merged": torch.stack([plain[row].mean(0) for row in rows]),
        "merged, slots pushed by 0.5": torch.stack([pushed[row].mean(0) for row in rows]),
        "merged, pushed at random": torch.stack([at_random[row].mean(0) for row in rows]),
    }
    right = judged(setting.images.scenes)["right"][rows]
    values = {"queries": len(rows)}
    for name, vectors in queries.items():
        values[f"R@10, {name}"] = metrics.hit_at(shortlist(vectors, setting.images, 10), right, 10).mean()
    return rows_of(values, about | {"experiment": "whole query"})


# --- all slots ------------------------------------------------------------------------------------


def naive(setting: Setting, about: Row) -> list[Row]:
    """All objects steered and averaged, beside the caption, random directions, and limits."""
    caption = shortlist(setting.captions, setting.images, 10)
    rows = rows_of(figures(caption, setting), about | {"method": "caption"}) + limits(setting, about)
    for strength in STRENGTHS:
        for method, directions in (("steered", setting.directions), ("at random", setting.at_random)):
            ranking = shortlist(setting.merged(strength, directions), setting.images, 10)
            here = about | {"method": f"average, {method}", "strength": strength}
            rows += rows_of(figures(ranking, setting), here)
    return rows


def limits(setting: Setting, about: Row) -> list[Row]:
    """What random pictures score, and the ten best that there are."""
    by, rows = judged(setting.images.scenes), []
    for score, name in (("gen", "CAS-gen@10"), ("noun", "CAS-noun@10")):
        for method, value in (
            ("random pictures", by[score].mean()),
            ("ideal", by[score].topk(10).values.mean()),
        ):
            rows += rows_of({name: value}, about | {"method": method})
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
        for s in dict.fromkeys((0.0, 0.3, strength)):
            rankings[how, s] = first.rescored(steered_scores(setting, first, s, how), how)
    asked = objects.object_sets(setting.scenes, setting.vectors)
    for matcher in ("assignment", "fgw"):
        rankings[matcher, 0.0] = objects.rerank(first, asked, asked, matcher, oracle=True, progress=False)
    rankings["look-up", 0.0] = objects.look_up(first, setting.scenes, setting.scenes)
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
            if strength == 0.3:
                rows += [row for key in ("slot", "objects") for row in broken_down(moved, key, here)]
    return rows + one_slot_alone(setting, margins, about)


def one_slot_alone(setting: Setting, margins: Callable[[Tensor], pd.DataFrame], about: Row) -> list[Row]:
    """One slot a query steered by 0.5, all averaged: what becomes of it and of the others, beside no push."""
    rng = np.random.default_rng(0)
    chosen = [(int(rng.integers(len(s.objects))), str(rng.choice(SLOTS[:3]))) for s in setting.scenes]
    before, rows = margins(setting.merged(0.0)), []
    for change, directions in (("one slot", setting.directions), ("one slot at random", setting.at_random)):
        moved = []
        for scene, (which, slot) in zip(setting.scenes, chosen, strict=True):
            direction = directions[scene.objects[which], slot]
            moved.append(steering.steer_object(setting.vectors.of(scene), which, direction, 0.5).mean(0))
        changes = composition.slot_changes(before, margins(F.normalize(torch.stack(moved), dim=1)))
        which, slot = (changes["query"].map(pd.Series([c[i] for c in chosen])) for i in (0, 1))
        own = (changes["object"] == which) & (changes["slot"] == slot)
        same = (changes["object"] == which) & ~own
        values = {
            "the steered slot improves": changes.improves[own].mean(),
            "other slots of its object degrade": changes.degrades[same].mean(),
            "slots of other objects degrade": changes.degrades[~own & ~same].mean(),
        }
        rows += rows_of(values, about | {"change": change, "strength": 0.5})
    return rows


def summary(changes: pd.DataFrame) -> dict[str, float]:
    """Appendix J's figures, under our reading: a slot degrades where its margin falls."""
    table = composition.degradation(changes)
    values = {
        "any slot degrades": table.any_degrades.mean(),
        "by coins": table.by_coins.mean(),
        "slots degraded": changes.degrades.mean(),
        "slots clear before": (changes.before > 0).mean(),
        "slots clear after": (changes.after > 0).mean(),
        "slots per query, halved": table.slots.mean() / 2,
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


def sample(encoder: DualEncoder, about: Row) -> list[Row]:
    """Which slots first answers have on the wrong object; and the average of objects steered by 0.3."""
    setting = Setting.seen_by(encoder, "evaluation_scenes")
    answers = shortlist(setting.captions, setting.images, 1).indices[:, 0].tolist()
    merged = shortlist(setting.merged(0.3), setting.images, 10)
    slips = about | {"experiment": "mispaired", "method": "first answers"}
    steered = about | {"experiment": "all slots", "method": "average, steered", "strength": 0.3}
    rows = rows_of(mispaired(setting.scenes, answers), slips)
    return rows + rows_of(figures(merged, setting), steered)


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
    """Colour first in every seed, and more than for answers that know all words, or only the size."""
    methods = ("first answers", "other picture nearest in words", "random, as many objects")
    shares, blind, alike = ({slot: of(slot, "mispaired", method=m) for slot in SLOTS} for m in methods)
    first = all(bool((shares["colour"] > shares[slot]).all()) for slot in SLOTS[1:])
    said = "; ".join(
        f"{slot} {100 * share.mean():.0f} ({100 * blind[slot].mean():.0f}, {100 * alike[slot].mean():.0f})"
        for slot, share in shares.items()
    )
    told = pd.concat([of(f"twin told apart: {slot}", "pairing") for slot in SLOTS], axis=1)
    same = of("same words, other pairing", "pairing")
    return [
        (
            ("Of the ten best, a tenth has the right words on the wrong objects", J, "10 %"),
            f"{spread(100 * same, '{:.2f}')} %",
            bool(((same - 0.1).abs() < 0.05).all()),
        ),
        (
            ("Colour is mispaired most, and more than in answers that pair nothing", J, "42.2 %"),
            f"percent of slots (by words alone, at random with as many objects): {said}",
            first and all(bool((shares["colour"] > chance["colour"]).all()) for chance in (blind, alike)),
        ),
        (
            ("One vector for caption and picture each: no binding shows (our test)", J, ""),
            f"twins told apart, any attribute: {percent(told.mean(axis=1))}; by coins 50",
            bool(((told - 0.5).abs() < 3 * 0.5 / TWINS**0.5).all().all()),
        ),
    ]  # fmt: skip


def _one_slot(of: Figures) -> Decided:
    """Corrected: every slot but the noun, in every seed; then by pictures, without its own phrases."""

    def share(metric: str, way: str, slot: str, strength: str) -> pd.Series:
        return of(metric, "one slot", way=way, slot=slot, strength=strength)

    own = [share("nearest phrase", "own prompts", slot, "the distance") for slot in SLOTS[:3]]
    others = share("nearest picture", "other objects", "all", "0.5")
    chance = share("nearest picture", "random", "all", "0.5")
    shape = share("nearest phrase", "own prompts", "noun", "the distance")
    r10 = {name: of(f"R@10, {name}", "whole query") for name in WHOLE}
    pushed = r10["merged, slots pushed by 0.5"]
    return [
        (
            ("Targeted steering corrects every colour, material and size", J, "314 of 314"),
            f"{percent(pd.concat(own, axis=1).min(axis=1))} % of slots, as source + (target - source) must",
            bool((pd.concat(own, axis=1) == 1).all().all()),
        ),
        (
            ("So do directions from other objects, judged by pictures: 95 % (our test)", J, ""),
            f"{percent(others)} % at strength 0.5; in a random direction {percent(chance)} %",
            bool((others > 0.95).all()),
        ),
        (
            ("Shape, left out as it is the noun, cannot be steered so", J, "94 of 408"),
            f"{percent(shape)} % corrected",
            bool((shape < 0.5).all()),
        ),
        (
            ("Merged with its mispaired slots pushed, a query is worse than the caption", J, "23.0 to 14.4"),
            f"R@10 {percent(r10['caption'])} to {percent(pushed)}",
            bool((pushed < r10["caption"]).all()),
        ),
        (
            ("... and worse than it was without the push (our test)", J, ""),
            f"R@10 {percent(r10['merged'])} to {percent(pushed)}; pushed at random "
            f"{percent(r10['merged, pushed at random'])}",
            bool((pushed < r10["merged"]).all()),
        ),
    ]  # fmt: skip


def _naive(of: Figures) -> Decided:
    """Worse than the caption at every strength; and than the same average without steering."""
    caption = of("R@10", "all slots", method="caption")
    r10 = {s: of("R@10", "all slots", method="average, steered", strength=s) for s in STRENGTHS}
    best, plain = pd.concat(list(r10.values()), axis=1).max(axis=1), r10[0.0]
    steered = pd.concat([r10[s] for s in STRENGTHS[1:]], axis=1).max(axis=1)
    gen = {
        name: of("CAS-gen@10", "all slots", **where)
        for name, where in (
            ("caption", {"method": "caption"}),
            ("steered", {"method": "average, steered", "strength": 0.3}),
            ("random", {"method": "random pictures"}),
        )
    }
    said = {name: spread(values, "{:.3f}") for name, values in gen.items()}
    return [
        (
            ("Steering all objects and averaging is worse than the caption", J, "23.0; 4.6 to 9.4"),
            f"R@10 {percent(caption)}; steered, at its best {percent(best)}",
            bool((best < caption).all()),
        ),
        (
            ("... and no better than averaging without steering (our test)", J, ""),
            f"R@10 unsteered {percent(plain)}; steered, at its best {percent(steered)}",
            bool((steered <= plain).all()),
        ),
        (
            ("... and lowers the share of attributes in the top 10", "table 3", "CAS-gen .855 to .785"),
            f"CAS-gen@10 {said['caption']} to {said['steered']}; random pictures {said['random']}",
            bool((gen["steered"] < gen["caption"]).all()),
        ),
    ]  # fmt: skip


def _reranked(of: Figures) -> Decided:
    """min and softmin, steered as well as not, below the caption; FGW no more than its shortlist holds."""
    caption = of("R@10", "all slots", method="caption")

    def reranked(metric: str, method: str, strength: float = 0.0) -> pd.Series:
        return of(metric, "two stages", method=method, strength=strength)

    fgw, ceiling = reranked("R@10", "fgw"), of("recall@100", "two stages")
    noun = of("CAS-noun@10", "all slots", method="caption"), reranked("CAS-noun@10", "fgw")
    decided = []
    for how, paper in (("min", "23.0 to 8.9"), ("softmin", "23.0 to 9.2"), ("average", "")):
        both = [reranked("R@10", how, s) for s in (0.0, 0.3)]
        ours = "" if paper else " (our test)"
        text = f"Reranking by {how} of the steered objects' scores does not help{ours}"
        measured = f"R@10 {percent(caption)} to {percent(both[1])}; unsteered {percent(both[0])}"
        decided.append(((text, J, paper), measured, all(bool((r < caption).all()) for r in both)))
    return [
        *decided,
        (
            ("FGW with annotations finds what the shortlist holds", J, "52.1; recall@50 52.2"),
            f"R@10 {percent(caption)} to {percent(fgw)}; recall@100 {percent(ceiling)}",
            bool((ceiling - fgw < 0.01).all()),
        ),
        (
            ("... and raises the share of whole objects in the top 10", "table 3", "CAS-noun .118 to .264"),
            "CAS-noun@10 {} to {}".format(*(spread(values, "{:.3f}") for values in noun)),
            bool((noun[1] > noun[0]).all()),
        ),
    ]


def _interference(of: Figures) -> Decided:
    """The paper's figures at strength 0.3. Interference by steering must exceed that of a random step."""

    def both(metric: str, strength: float = 0.3) -> tuple[pd.Series, pd.Series]:
        changes = ("steered", "random step")
        return tuple(of(metric, "interference", change=change, strength=strength) for change in changes)

    coins = of("slots per query, halved", "interference", change="steered", strength=0.3).mean()
    decided = []
    for text, metric, paper, scale, pattern, by_coins in (
        ("More queries degrade in some slot", "any slot degrades", "998 of 1,000", 1000, "{:.0f}", ""),
        ("... of six objects or more", "any slot degrades, six objects or more", "all", 100, "{:.0f} %", ""),
        ("More slots degrade where one improves", "slots degraded where any improves", "10.93", 1, "{:.1f}",
         f"; by coins {coins:.1f}"),
        ("Shape degrades more often where colour improves", "noun degrades when colour improves", "81 %", 100,
         "{:.0f} %", ""),
        ("Material degrades more often where colour improves",
         "material degrades when colour improves", "80 %", 100, "{:.0f} %", ""),
        ("More slots degrade in all (our test)", "slots degraded", "", 100, "{:.0f} %", ""),
    ):  # fmt: skip
        steered, chance = (scale * values for values in both(metric))
        measured = f"{spread(steered, pattern)}; random step {spread(chance, pattern)}{by_coins}"
        holds = bool((steered > chance).all())
        decided.append(((f"{text} than under a random step as long", J, paper), measured, holds))
    return [*decided, *_isolated(of)]


def _isolated(of: Figures) -> Decided:
    """What steering itself does: to the averaged query, slot by slot, and over strengths."""
    decided = []
    for text, metric in (
        ("Steering one slot degrades the others of its object", "other slots of its object degrade"),
        ("... and slots of other objects", "slots of other objects degrade"),
    ):
        changes = ("one slot", "one slot at random")
        steered, chance = (of(metric, "interference", change=change, strength=0.5) for change in changes)
        measured = f"{percent(steered)} % of them; a random push {percent(chance)} %"
        text = f"{text}, more than a random push does (our test)"
        decided.append(((text, J, ""), measured, bool((steered > chance).all())))
    shares = [of("slots degraded", "interference", change="steered", strength=s) for s in (0.0, 0.3, 1.2)]
    apart = pd.concat(shares, axis=1)
    return [
        *decided,
        (
            (
                "The share of degraded slots hardly depends on the strength: 5 points",
                J,
                "structural",
            ),
            "percent of slots at strengths 0, 0.3 and 1.2: " + "; ".join(percent(share) for share in shares),
            bool((apart.max(axis=1) - apart.min(axis=1) < 0.05).all()),
        ),
    ]


STUDY = study_of_runs(__file__, measure, sample, claims, {"value": 0.01})

if __name__ == "__main__":
    STUDY.run()
