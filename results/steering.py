"""Steering sweeps: what a concept direction gains, what it costs, when it helps; every seed of every mini.

The paper's section 6.3, appendices E and I, conclusion 2, and the ridge + steer rows of its tables. In the
two worlds of several objects, captions that name a value are steered towards it, away from each rival value;
among the things, a noun in one state is steered to the other. No strength is chosen on the queries that it
is judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from types import ModuleType

import numpy as np
import pandas as pd
import torch
from _runs import MINIS, SEEDS, WORLDS, drawn, run_name, run_names, shipped, snapshots, trained
from _tables import Decided, Row, claims_of, spread
from torch import Tensor

from geoclip_lite import mappers, metrics, relevance, results, steering
from geoclip_lite.datasets import shapes, things
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.mini import load_mini
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.encoders.train import Recipe
from geoclip_lite.results import Claim, Study
from geoclip_lite.retrieval import Gallery, unit_rows
from geoclip_lite.scenes import Scene
from geoclip_lite.steering import Case

CHAPTER = "08_steering_sweeps"
STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2)
FAR_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # from one state of a thing to the other
QUERIES = 100  # of each pair of values
TEMPLATES = ("{}", "a photo of the {}")  # what the captions of things look like
THRESHOLDS = (0.0, 0.2, 0.4, 0.6, 0.8)  # of the gate
BANDS = {"1 to 10": (0, 10), "11 to 100": (10, 100), "101 to 1,000": (100, 1000), "beyond": (1000, 2430)}
PENTAGONS = [("noun", "hexagon", "pentagon"), ("noun", "pentagon", "hexagon")]

Pair = tuple[str, str, str]  # slot, the value to leave, the value to reach


# --- a task: queries to steer, and how to judge what they find ------------------------------------


@dataclass(frozen=True)
class Task:
    """Queries of one kind, a direction each, and four matrices, queries x items, to judge pictures by.

    Args:
        right: the relevant pictures.
        target: those that show the value steered to, on whatever object.
        kept: share of everything else the query says, one mention of the target left out, that each shows.
        graded: 0 to 4, how much of the whole query each picture shows.
    """

    queries: Tensor
    directions: Tensor
    gallery: Gallery
    right: Tensor
    target: Tensor
    kept: Tensor
    graded: Tensor

    def figures(self, strengths: Sequence[float], about: Row) -> list[Row]:
        """One row a strength: means over all queries."""
        table = steering.sweep(self.queries, self.directions, self.gallery, strengths, measures(self))
        means = table.groupby(["strength", "metric"]).value.mean().unstack().round(5)
        return [about | row for row in means.reset_index().to_dict("records")]

    def first(self, strength: float | Tensor) -> np.ndarray:
        """R@1 of every query at one strength, or at one each."""
        steered = steering.steer(self.queries, self.directions, strength)
        [(_, found)] = steering.steered_rankings(steered, self.directions, self.gallery, [0.0], 1)
        return metrics.hit_at(found, self.right, 1).numpy()


def measures(task: Task) -> dict[str, steering.Measure]:
    """The paper's three (R@k, CAS, nDCG), its other reading of recall (hit@10), and what steering costs."""
    return {
        "R@1": partial(metrics.hit_at, relevance=task.right, k=1),
        "R@10": partial(metrics.hit_at, relevance=task.right, k=10),
        "hit@10": partial(metrics.hit_at, relevance=task.target, k=10),
        "target@10": partial(metrics.precision_at, relevance=task.target, k=10),
        "kept@10": partial(metrics.attribution_at, coverage=task.kept, k=10),
        "nDCG@10": partial(metrics.ndcg_at, relevance=task.graded, k=10),
    }


def joined(tasks: Sequence[Task]) -> Task:
    """Tasks over one gallery as one."""
    names = ("queries", "directions", "right", "target", "kept", "graded")
    together = {name: torch.cat([getattr(task, name) for task in tasks]) for name in names}
    return Task(gallery=tasks[0].gallery, **together)


@cache
def judged(scenes: tuple[Scene, ...]) -> tuple[Tensor, dict, dict, Tensor]:
    """Of scenes as queries and items: right pictures; who shows which value; what is kept; the grade."""
    pairs = {pair for scene in scenes for pair in relevance.pairs_of(scene)}
    target = {pair: relevance.attribute([relevance.Target(*pair)], scenes)[0] for pair in pairs}
    kept = {pair: _coverage(scenes, pair) for pair in sorted(pairs)}
    return relevance.exact(scenes, scenes), target, kept, relevance.overlap(scenes, scenes)


def _coverage(scenes: Sequence[Scene], without: tuple[str, str]) -> Tensor:
    """Share of each query's values, one mention of one value left out, that each picture shows."""
    bags = [relevance.pairs_of(scene) for scene in scenes]
    columns = {pair: i for i, pair in enumerate(sorted({pair for bag in bags for pair in bag}))}
    shown = relevance.counts(bags, columns)
    asked = shown.clone()
    asked[:, columns[without]] = (asked[:, columns[without]] - 1).clamp(min=0)
    return relevance.shared(asked, shown) / asked.sum(1, keepdim=True).clamp(min=1)


# --- captions that name a value, steered towards it -----------------------------------------------


@dataclass(frozen=True, eq=False)
class View:
    """A world as one encoder sees it: single objects, evaluation and validation pictures, and texts."""

    encode: Callable[[list[str]], Tensor]
    types: Gallery
    images: Gallery
    captions: Tensor
    others: Gallery
    other_captions: Tensor

    def validation(self) -> View:
        """The same with the validation set in the place of the evaluation set."""
        return replace(self, images=self.others, captions=self.other_captions)

    def after_ridge(self) -> View:
        """Texts mapped to images by a ridge map fitted on the validation set."""
        move = mappers.ridge(self.other_captions, self.others.vectors)

        def mapped(texts: Tensor) -> Tensor:
            return unit_rows(move(texts), "mapped")

        return replace(self, encode=lambda t: mapped(self.encode(t)), captions=mapped(self.captions))


def seen_by(encoder: DualEncoder, world: ModuleType) -> View:
    """Everything of a world, encoded."""
    kinds = ("references", "evaluation_scenes", "validation_scenes")
    types, images, others = (Gallery.of_images(encoder, drawn(world, kind)) for kind in kinds)
    captions = (encoder.encode_texts([s.caption for s in g.scenes]) for g in (images, others))
    templates = TEMPLATES if world is things else None
    encode = partial(encode_with_templates, encoder, templates=templates)
    return View(encode, types, images, next(captions), others, next(captions))


def pairs(view: View, slot: str) -> list[Pair]:
    """Every value of a slot against every other."""
    values = sorted({scene.objects[0].slots[slot] for scene in view.types.scenes})
    return [(slot, source, target) for source in values for target in values if source != target]


def by_text(view: View, pair: Pair) -> Tensor:
    """Between the phrases of all single objects with either value."""
    slot, source, target = pair
    singles = [scene.objects[0] for scene in view.types.scenes]
    frames = sorted({thing.phrase.replace(thing.slots[slot], "{}", 1) for thing in singles})
    return steering.concept_direction(view.encode, [source], [target], frames)


def by_image(view: View, pair: Pair) -> Tensor:
    """Between the pictures of all single objects with either value."""
    return steering.difference(*sides(view, pair))


def sides(view: View, pair: Pair) -> tuple[Tensor, Tensor]:
    """Pictures of all single objects with either value."""
    slot, *values = pair
    shown = [scene.objects[0].slots[slot] for scene in view.types.scenes]
    return tuple(view.types.vectors[[value == v for value in shown]] for v in values)


def without_colour(view: View, pair: Pair) -> Tensor:
    """The text direction, orthogonal to those between colours."""
    first, *rest = sorted({value for _, value, _ in pairs(view, "colour")})
    colours = torch.stack([by_text(view, ("colour", first, other)) for other in rest])
    return steering.orthogonal_to(by_text(view, pair), colours)


def by_neighbourhood(view: View, pair: Pair) -> Tensor:
    """A direction for every caption, from held-out captions near it that name one value and not the other."""
    slot, *values = pair
    said = [{thing.slots[slot] for thing in scene.objects} for scene in view.others.scenes]
    named = [[{*values} & words == {value} for words in said] for value in values]
    return steering.neighbourhood_directions(view.captions, *(view.other_captions[n] for n in named), k=20)


def at_random(view: View, pair: Pair) -> Tensor:
    """A direction that means nothing; the same for the same pair."""
    seed = sum(map(ord, "".join(pair)))
    return steering.random_directions(view.captions.shape[1], 1, seed)[0]


@cache
def task(view: View, pair: Pair, way: Callable[[View, Pair], Tensor] = by_text) -> Task:
    """The first captions that name the target value and not the one to leave, each with its direction."""
    slot, source, value = pair
    said = [{thing.slots[slot] for thing in scene.objects} for scene in view.images.scenes]
    rows = [i for i, words in enumerate(said) if value in words and source not in words][:QUERIES]
    direction = way(view, pair)
    directions = direction.expand(len(view.captions), -1)[rows]
    right, target, kept, graded = judged(view.images.scenes)
    shows = target[slot, value].expand(len(rows), -1)
    judgements = (right[rows], shows, kept[slot, value][rows], graded[rows])
    return Task(view.captions[rows], directions, view.images, *judgements)


def tasks(view: View, chosen: Sequence[Pair], way: Callable[[View, Pair], Tensor] = by_text) -> Task:
    """The same of several pairs of values."""
    return joined([task(view, pair, way) for pair in chosen])


WAYS = {"text": by_text, "image": by_image, "text, without colour": without_colour,
        "neighbourhood": by_neighbourhood, "random": at_random}  # fmt: skip


def sweeps(view: View, about: Row) -> list[Row]:
    """Every slot by its text directions and at random; pairs of shapes by every kind of direction."""
    rows = []
    for slot in view.types.scenes[0].objects[0].slots:
        for way in ("text", "random"):
            here = about | {"experiment": "sweep", "slot": slot, "way": way}
            rows += tasks(view, pairs(view, slot), WAYS[way]).figures(STRENGTHS, here)
    return rows


def ways(view: View, about: Row) -> list[Row]:
    """Pentagon and hexagon, and all pairs of shapes, by every kind of direction, and after a ridge map."""
    rows = []
    for slot, chosen in (("pentagon, hexagon", PENTAGONS), ("all shapes", pairs(view, "noun"))):
        here = about | {"experiment": "ways", "slot": slot}
        for way, direction in WAYS.items():
            rows += tasks(view, chosen, direction).figures(STRENGTHS, here | {"way": way})
        mapped = tasks(view.after_ridge(), chosen)
        rows += mapped.figures(STRENGTHS, here | {"way": "ridge, then text"})
    return rows


# --- when it helps: tuned on other queries, with and without a gate -------------------------------


@dataclass(frozen=True)
class Push:
    """From which rival, how far, and above which confusion."""

    pair: Pair
    strength: float
    threshold: float = -1.0  # every confusion is above it
    way: str = "text"

    def hits(self, view: View) -> np.ndarray:
        """R@1 of every caption with the target value, so pushed."""
        asked = task(view, self.pair, WAYS[self.way])
        if self.threshold < 0 or self.strength == 0:
            return asked.first(self.strength)
        return asked.first(steering.gated(self.strength, confused(view, self.pair), self.threshold))


@cache
def confused(view: View, pair: Pair) -> Tensor:
    """How confused every query of a task is, by the pictures that it finds."""
    direction = by_text(view, pair)
    middle = float(sum((side @ direction).mean() for side in sides(view, pair)) / 2)
    return steering.confusion(task(view, pair).queries, view.images, direction, middle)


def best_pushes(
    validation: View, chosen: Sequence[Pair], thresholds: Sequence[float] = (-1.0,), way: str = "text"
) -> list[Push]:
    """For each target the rival, strength and threshold that gain most R@1 on the validation set.

    Where nothing gains, no push.
    """
    found = []
    for target in dict.fromkeys(pair[2] for pair in chosen):
        rivals = [pair for pair in chosen if pair[2] == target]
        options = [Push(p, s, t, way) for p in rivals for s in STRENGTHS[1:] for t in thresholds]
        gains = [(push.hits(validation) - Push(push.pair, 0.0).hits(validation)).mean() for push in options]
        best = int(np.argmax(gains))
        found.append(options[best] if gains[best] > 0 else Push(rivals[0], 0.0))
    return found


def tuned(view: View, chosen: Sequence[Pair], about: Row) -> list[Row]:
    """R@1 without steering, with the push tuned on the validation set, and gated, tuned there too."""
    rows, validation = [], view.validation()
    for name, thresholds, way in (
        ("always", (-1.0,), "text"),
        ("gated", THRESHOLDS, "text"),
        ("random", (-1.0,), "random"),
    ):
        pushes = best_pushes(validation, chosen, thresholds, way)
        before = np.concatenate([Push(push.pair, 0.0).hits(view) for push in pushes])
        after = np.concatenate([push.hits(view) for push in pushes])
        pictures = np.concatenate([task(view, push.pair).right.argmax(1) for push in pushes])
        gain = metrics.paired_bootstrap(after, before, groups=pictures, resamples=1000)
        figures = {"before": before.mean(), "after": after.mean(), "gain": gain.value, "low": gain.low}
        figures |= {"high": gain.high, "pushed": np.mean([push.strength > 0 for push in pushes])}
        here = about | {"experiment": "tuned", "way": name}
        rows.append(here | {key: float(value) for key, value in figures.items()})
    return rows


def over_training(mini: str, seed: int) -> list[Row]:
    """At every snapshot of a run: R@1 of captions with each shape, and what the tuned push makes of it."""
    rows = []
    for path in snapshots(mini, seed)[3:]:
        view = seen_by(load_mini(path), shapes)
        step = int(path.stem.removeprefix("step-"))
        about = {"encoder": mini, "seed": seed, "step": step, "experiment": "snapshots"}
        validation = view.validation()
        for way in ("text", "random"):
            for push in best_pushes(validation, pairs(view, "noun"), way=way):
                values = {"before": Push(push.pair, 0.0).hits(view).mean(), "after": push.hits(view).mean()}
                where = about | {"slot": push.pair[2], "way": way, "strength": push.strength}
                rows.append(where | {key: float(value) for key, value in values.items()})
        forget()
    return rows


def forget() -> None:
    """Lets go of what was kept for one view."""
    task.cache_clear()
    confused.cache_clear()


# --- locality: which neighbours move --------------------------------------------------------------


def locality(
    view: View,
    about: Row,
    ways: Sequence[str] = ("text", "neighbourhood", "random"),
    strengths: Sequence[float] = (0.1, 0.3),
) -> list[Row]:
    """By the rank that a picture had: how far its cosine and its rank move, and how many leave the top 10."""
    rows = []
    for way in ways:
        one = tasks(view, pairs(view, "noun"), WAYS[way])
        for strength in strengths:
            before = one.queries @ one.gallery.vectors.T
            after = steering.steer(one.queries, one.directions, strength) @ one.gallery.vectors.T
            here = about | {"experiment": "locality", "way": way, "strength": strength}
            rows += [here | {"band": band} | moved for band, moved in by_band(before, after).items()]
    return rows


def by_band(before: Tensor, after: Tensor) -> dict[str, Row]:
    """Mean absolute change of the cosine, beyond what all pictures share, and of the rank."""
    change = after - before
    change = (change - change.mean(1, keepdim=True)).abs()
    order = before.argsort(dim=1, descending=True)
    ranks = after.argsort(dim=1, descending=True).argsort(dim=1).gather(1, order)
    places = torch.arange(ranks.shape[1])
    found = {}
    for band, (low, high) in BANDS.items():
        moved = (ranks[:, low:high] - places[low:high]).abs().double().mean()
        inside = ((ranks[:, low:high] >= low) & (ranks[:, low:high] < high)).double().mean()
        cosine = change.gather(1, order[:, low:high]).mean()
        found[band] = {"cosine": float(cosine), "ranks": float(moved), "stay": float(inside)}
    return found


# --- things, from one state to the other ----------------------------------------------------------


def thing_tasks(view: View, direction_of: Callable[[View, Case], Tensor], start: str) -> Task:
    """Every noun in every state, each of its slots steered to the other pole.

    Args:
        start: "source" asks for the state to leave; "silent" names all slots but the one to steer.
    """
    asked = list(flips())
    items = tuple(map(things.canonical, view.images.scenes))
    queries = view.encode([_phrase(noun, state, slot, start) for noun, state, slot in asked])
    ends = [things.scene(n, {**s, k: _other(k, s[k])[0]}) for n, s, k in asked]
    cases = [case_of(*each) for each in asked]
    targets = [relevance.Target(case.slot, case.target[0]) for case in cases]
    kept = torch.stack([_rest(end, case.slot, items) for end, case in zip(ends, cases, strict=True)])
    judgements = (steering.answers(cases, view.images.scenes), relevance.attribute(targets, items), kept)
    directions = torch.stack([direction_of(view, case) for case in cases])
    return Task(queries, directions, view.images, *judgements, 4 * relevance.attribute_coverage(ends, items))


def flips() -> list[tuple[str, things.State, str]]:
    """(noun, state, slot to change)."""
    return [(n, state, slot) for n in things.NOUNS for state in things.states(n) for slot in state]


def case_of(noun: str, state: things.State, slot: str) -> Case:
    """From the state's pole to the other."""
    target = _other(slot, state[slot])
    source = next(pole for pole in things.CONTRASTS[slot] if pole != target)
    return Case(noun, slot, source, target)


def _other(slot: str, word: str) -> Sequence[str]:
    return next(pole for pole in things.CONTRASTS[slot] if pole[0] != word)


def _phrase(noun: str, state: things.State, slot: str, start: str) -> str:
    words = [word for s, word in state.items() if start == "source" or s != slot]
    return " ".join([*words, noun])


def _rest(end: Scene, slot: str, items: Sequence[Scene]) -> Tensor:
    """Share of the noun and the slots not steered that each picture shows."""
    thing = end.objects[0]
    left = replace(thing, attributes=tuple(pair for pair in thing.attributes if pair[0] != slot))
    return relevance.attribute_coverage([replace(end, objects=(left,))], items)[0]


def own_noun(view: View, case: Case) -> Tensor:
    """From the noun's own two prompts: at strength 1 nearly the target's prompt itself."""
    return steering.concept_direction(view.encode, case.source, case.target, [f"{{}} {case.noun}"])


def other_nouns(view: View, case: Case) -> Tensor:
    """From the prompts of all other nouns with this contrast: nothing is known of this one."""
    others = [f"{{}} {n}" for n, slots in things.NOUNS.items() if case.slot in slots and n != case.noun]
    return steering.concept_direction(view.encode, case.source, case.target, others)


def other_nouns_images(view: View, case: Case) -> Tensor:
    """The same from validation pictures of the other nouns."""
    objects = [scene.objects[0] for scene in view.others.scenes]
    return steering.difference(
        *(
            view.others.vectors[[o.noun != case.noun and o.slots.get(case.slot) in pole for o in objects]]
            for pole in (case.source, case.target)
        )
    )


def random_for(view: View, case: Case) -> Tensor:
    seed = sum(map(ord, f"{case.noun} {case.slot} {case.target[0]}"))
    return steering.random_directions(view.captions.shape[1], 1, seed)[0]


THING_WAYS = {"own noun": own_noun, "other nouns": other_nouns, "other nouns' pictures": other_nouns_images,
              "random": random_for}  # fmt: skip


def thing_sweeps(view: View, about: Row, names: Sequence[str] = tuple(THING_WAYS)) -> list[Row]:
    """Both starts, every kind of direction."""
    rows = []
    for start, way in product(("source", "silent"), names):
        here = about | {"experiment": "things", "slot": start, "way": way}
        rows += thing_tasks(view, THING_WAYS[way], start).figures(FAR_STRENGTHS, here)
    return rows


# --- all of it ------------------------------------------------------------------------------------


def measure(mini: str, seed: int) -> list[Row]:
    """All rows of one run of a mini that knows several objects."""
    encoder, rows = load_mini(trained(mini, seed)), []
    for world in WORLDS:
        view, about = seen_by(encoder, world), {"encoder": mini, "seed": seed, "world": world.NAME}
        rows += sweeps(view, about)
        if world is shapes:
            rows += ways(view, about) + locality(view, about)
            rows += tuned(view, PENTAGONS, about | {"slot": "pentagon, hexagon"})
            rows += tuned(view, pairs(view, "noun"), about | {"slot": "all shapes"})
        forget()
    return rows + over_training(mini, seed)


def measure_things(seed: int) -> list[Row]:
    """All rows of one run of the mini that knows things, some of them at an early snapshot too."""
    paths = snapshots("mini-things", seed)
    rows = []
    for path, names in ((paths[3], ("own noun", "other nouns", "random")), (paths[-1], tuple(THING_WAYS))):
        step = int(path.stem.removeprefix("step-"))
        about = {"encoder": "mini-things", "seed": seed, "world": things.NAME, "step": step}
        rows += thing_sweeps(seen_by(load_mini(path), things), about, names)
    return rows


# --- claims ---------------------------------------------------------------------------------------


def figure(table: pd.DataFrame, column: str, **where: object) -> pd.Series:
    """A figure of every seed."""
    for name, value in where.items():
        table = table[table[name] == value]
    if table.empty or table.seed.duplicated().any():
        raise LookupError(f"{column!r} with {where}: {len(table)} rows, expected one a seed")
    return table.set_index("seed")[column].sort_index()


def percent(values: pd.Series) -> str:
    return spread(100 * values, "{:.1f}")


def claims(table: pd.DataFrame) -> list[Claim]:
    """The paper's statements on steering; those on attributes once for each mini that knows shapes."""
    by_mini = dict(list(table.groupby("encoder", sort=False)))
    decided = {
        m: [d for part in (_attribute, _recall, _ridge, _local, _when) for d in part(by_mini[m])]
        for m in MINIS
    }
    return claims_of(decided, CHAPTER) + claims_of({"mini-things": _things(by_mini["mini-things"])}, CHAPTER)


def _attribute(table: pd.DataFrame) -> Decided:
    """More of the target: its share of the top 10 rises in every seed, and by more than at random."""
    decided = []
    for world, slot, name in (("shapes", "noun", "Shapes"), ("clevr-like", "colour", "CLEVR-like, colours")):
        where = {"experiment": "sweep", "world": world, "slot": slot}
        before = figure(table, "target@10", strength=0.0, way="text", **where)
        after, chance = (figure(table, "target@10", strength=0.3, way=w, **where) for w in ("text", "random"))
        kept = [figure(table, "kept@10", strength=s, way="text", **where) for s in (0.0, 0.3)]
        text = f"Steering raises the share of pictures with the target attribute ({name}, strength 0.3)"
        measured = f"{percent(before)} to {percent(after)}; in a random direction {percent(chance)}"
        holds = bool((after > before).all() and (after > chance).all())
        decided.append(((text, "section 6.3, appendix I", "Fig. 6"), measured, holds))
        text = f"It costs the rest of the caption less than half a point ({name}, strength 0.3)"
        measured = f"points: {percent(kept[1] - kept[0])}; coverage of the rest before, {percent(kept[0])}"
        where = "our test, beside section 6.3"
        decided.append(((text, where, ""), measured, holds and bool((kept[1] > kept[0] - 0.005).all())))
    return decided


def _recall(table: pd.DataFrame) -> Decided:
    """Better retrieval of the right picture: a gain whose interval leaves out zero, in every seed."""
    decided = []
    for slot, text, source in (
        (
            "pentagon, hexagon",
            "Steering between pentagon and hexagon finds more right pictures",
            "asked in app. E",
        ),
        ("all shapes", "So does steering away from the worst rival of each shape", "our test, beside app. E"),
    ):
        tuned_rows = {"experiment": "tuned", "slot": slot}
        gain, low, pushed = (figure(table, c, way="always", **tuned_rows) for c in ("gain", "low", "pushed"))
        gated, chance = (figure(table, "gain", way=way, **tuned_rows) for way in ("gated", "random"))
        measured = f"R@1 by {percent(gain)} points, tuned on other queries, which chose to push "
        measured += f"{percent(pushed)} % of the shapes; gated {percent(gated)}, at random {percent(chance)}"
        decided.append(((text, source, ""), measured, bool((low > 0).all())))
    where = {"experiment": "ways", "slot": "all shapes"}
    plain = figure(table, "R@1", way="text", strength=0.0, **where)
    near, whole = (figure(table, "R@1", way=w, strength=0.1, **where) for w in ("neighbourhood", "text"))
    text = "Directions from contrastive neighbourhoods around the query improve retrieval (strength 0.1)"
    measured = f"R@1 {percent(plain)} to {percent(near)}; one direction for all {percent(whole)}"
    return [*decided, ((text, "abstract", ""), measured, bool((near > plain).all()))]


def _ridge(table: pd.DataFrame) -> Decided:
    """R@1 rises; and what R@10 is if any picture with the target's attribute counts as a hit."""
    where = {"experiment": "ways", "slot": "all shapes", "way": "ridge, then text"}
    r1, r10 = ([figure(table, k, strength=s, **where) for s in (0.0, 0.1)] for k in ("R@1", "R@10"))
    hits = figure(table, "hit@10", strength=0.0, **where)
    text = "Steering after a ridge map raises recall (strength 0.1)"
    measured = f"R@1 {percent(r1[0])} to {percent(r1[1])}; R@10 {percent(r10[0])} to {percent(r10[1])}"
    other = "R@10 of 100 is reached without steering, if any picture with the attribute is a hit"
    holds = bool((r1[1] > r1[0]).all())
    return [
        ((text, "table 1", "R@1 72.3 to 72.8; R@10 94.6 to 100"), measured, holds),
        ((other, "our test, with appendix H's recall", "100"), percent(hits), bool((hits > 0.995).all())),
    ]


def _local(table: pd.DataFrame) -> Decided:
    """Distant items unchanged: cosines move less than half as much as in the top 10, and ranks less too."""
    where = {"experiment": "locality", "strength": 0.1}
    decided = []
    for way, name in (("text", "one direction for all"), ("neighbourhood", "directions from neighbourhoods")):
        here = where | {"way": way}
        near, far = (
            [figure(table, c, band=b, **here) for c in ("cosine", "ranks")] for b in ("1 to 10", "beyond")
        )
        text = f"Steering changes nearby rankings and leaves distant items unchanged ({name})"
        measured = "; ".join(
            f"{band}: cosines by {spread(cosine, '{:.3f}')}, ranks by {spread(ranks, '{:.0f}')}"
            for band, (cosine, ranks) in {"top 10": near, "beyond 1,000": far}.items()
        )
        holds = bool((far[0] < near[0] / 2).all() and (far[1] < near[1]).all())
        decided.append(((text, "conclusion 2", ""), measured, holds))
    return decided


def _when(table: pd.DataFrame) -> Decided:
    """While confused: earlier snapshots gain on average, more than at random, and the last one nothing."""
    gains = table[table.experiment == "snapshots"].assign(gain=lambda t: t.after - t.before)
    by_step = gains.groupby(["way", "seed", "step"]).gain.mean().unstack()
    early, last = by_step.loc["text"].iloc[:, :-1].mean(axis=1), by_step.loc["text"].iloc[:, -1]
    chance = by_step.loc["random"].iloc[:, :-1].mean(axis=1)
    text = "Steering adds to R@1 during training, and no more when it has ended"
    measured = (
        f"points: earlier snapshots {percent(early)} (at random {percent(chance)}), last {percent(last)}"
    )
    holds = bool((early > last).all() and (early > chance).all() and (last < 0.005).all())
    return [((text, "our test, beside section 6.3", ""), measured, holds)]


def _things(table: pd.DataFrame) -> Decided:
    """From one state to the other, with nothing else changed, by a direction that never saw the noun."""
    table = table[(table.experiment == "things") & (table.step == table.step.max())]
    where = {"slot": "source", "strength": 1.0}
    own, other, chance = (figure(table, "R@1", way=w, **where) for w in ("own noun", "other nouns", "random"))
    before = figure(table, "R@1", way="own noun", slot="source", strength=0.0)
    kept = figure(table, "kept@10", way="other nouns", **where)
    beyond = figure(table, "kept@10", way="other nouns", slot="source", strength=2.0)
    return [
        (
            (
                "Steering turns a query for one state into one for the other, strength 1",
                "appendices F.1, I",
                "Fig. 6",
            ),
            f"R@1 {percent(before)} to {percent(own)}; in a random direction {percent(chance)}",
            bool((own > 0.9).all() and (chance < 0.1).all()),
        ),
        (
            ("So does a direction made from other nouns alone", "our test, beside app. F.1", ""),
            f"R@1 {percent(before)} to {percent(other)}",
            bool((other > 0.9).all()),
        ),
        (
            (
                "It keeps noun and other states: 95 % of them in the top 10, strength 1 (our test)",
                "section 6.3",
                "",
            ),
            f"{percent(kept)}; at strength 2 {percent(beyond)}",
            bool((kept > 0.95).all()),
        ),
    ]


def every() -> list[Row]:
    """All runs."""
    rows = [row for mini, seed in product(MINIS, SEEDS) for row in measure(mini, seed)]
    return rows + [row for seed in SEEDS for row in measure_things(seed)]


def sample() -> Iterator[Row]:
    """Pentagon and hexagon steered to each other, and how far which neighbours of captions move."""
    encoder, about = shipped("mini-pairs")
    view, about = seen_by(encoder, shapes), about | {"world": shapes.NAME}
    for way in ("text", "neighbourhood"):
        labels = about | {"experiment": "ways", "slot": "pentagon, hexagon", "way": way}
        yield from tasks(view, PENTAGONS, WAYS[way]).figures((0.0, 0.3, 0.8), labels)
    yield from locality(view, about, ("text",), (0.3,))


def needs(row: Row) -> str:
    """A run, or a snapshot of one."""
    run = run_name(row["encoder"], row["seed"])
    return run if row.get("step") in (None, Recipe(row["encoder"], row["seed"]).steps) else f"{run}, earlier"


RECALLS = ("R@1", "R@10", "hit@10", "target@10", "kept@10")
TOLERANCE = dict.fromkeys(RECALLS, 0.01) | {"nDCG@10": 0.01, "cosine": 0.001, "ranks": 1.0, "stay": 0.01}
STUDY = Study(
    __file__,
    every,
    sample,
    TOLERANCE,
    claims,
    lambda: results.checksums(run_names((*MINIS, "mini-things"))),
    needs,
    SEEDS,
)

if __name__ == "__main__":
    STUDY.run()
