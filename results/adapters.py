"""Residual adapters: when they help, what they cost, what it depends on; every seed of mini-products.

A project report names an order, naive two-tower MLP < zero-shot < residual adapter, and leaves its choices
unexplained. Here each choice is varied: architecture and loss apart, alpha against learning rate and training
size, start, temperature, negatives, penalties, early stopping, and training a part of the encoder.

Adapters are trained on titles of 5,000 listings. Queries are of other listings, typed by other people; what
must not be forgotten are the generic texts that the encoder was trained on. Whatever was chosen, was chosen
on a third set of listings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import pandas as pd
import torch
from _runs import SEEDS, run_name, run_names, shipped, trained
from _tables import Row, spread
from PIL import Image
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor

from geoclip_lite import adapters, geometry, metrics, relevance, results
from geoclip_lite.adapters import PARTS, PEERS, Adapts, Fitted, Pairs, Recipe, ZeroShot
from geoclip_lite.datasets import things
from geoclip_lite.datasets.products import CATEGORIES, shop, web
from geoclip_lite.datasets.products.shop import Listing
from geoclip_lite.encoders.mini import IMAGE_SIZE, MiniClip, load_mini, to_pixels
from geoclip_lite.results import Claim, Study
from geoclip_lite.retrieval import shortlist
from geoclip_lite.scenes import Scene

CHAPTER = "10_residual_adapters"
REPORT, PAPER = "project report on residual adapters", "Prakash et al. (2026), section 7"
MINI = "mini-products"
CATALOGUES = {"training": (5000, 11), "validation": (1000, 12), "gallery": (2000, 13)}  # listings, seed
QUERIES = 200  # of each kind
SIZES = (250, 1000, 5000)
ALPHAS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
RATES = (1e-4, 3e-4, 1e-3, 3e-3)
MAP = Recipe(steps=300)
LADDER = Recipe(steps=1500, patience=8)  # as long as validation pairs gain by it
ARMS = {
    f"{architecture}, {loss}": {"architecture": architecture, "loss": loss}
    for architecture, loss in product(("two-tower", "residual"), ("margin", "InfoNCE"))
}
NAIVE, ADAPTED = "two-tower, margin", "residual, InfoNCE"
METRICS = ("R@1", "R@5", "R@10", "MRR")
SAMPLED = {"part", "arm", "pairs", "alpha", "learning rate", "kind", *METRICS}  # of the sample's rows
# One thing at a time, from `LADDER` on.
CHANGES: dict[str, dict[str, object]] = {
    "as it is": {},
    **{f"alpha {a:g}": {"alpha": a} for a in (0.05, 1.0, 2.0)},
    "alpha learned": {"alpha_is": "learned"},
    **{f"alpha {a:g}, normalised": {"alpha_is": "normalised", "alpha": a} for a in (0.05, 0.2, 1.0)},
    **{f"drift penalty {p:g}": {"drift_penalty": p} for p in (0.3, 1.0, 3.0)},
    **{f"temperature from {t:g}": {"temperature": t} for t in (0.01, 0.03, 0.3)},
    "start at zero": {"start": "zero"},
    "start at a tenth": {"start": "small"},
    "batches of mined hard negatives": {"negatives": "mined"},
    "margin, random triplets": {"loss": "margin"},
    "margin, semihard triplets": {"loss": "margin", "negatives": "semihard"},
    "margin, hard triplets": {"loss": "margin", "negatives": "hard"},
    **{f"distortion penalty {p:g}": {"distortion_penalty": p} for p in (1.0, 10.0, 100.0)},
    "no early stopping": {"patience": None},
}


@cache
def catalogue(name: str, most: int | None = None) -> tuple[list[Listing], list[Image.Image]]:
    """The first listings, or all, and their photographs, drawn once."""
    listings = shop.catalogue(*CATALOGUES[name])[:most]
    return listings, [listing.scene().image(IMAGE_SIZE) for listing in listings]


@cache
def asked() -> tuple[list[shop.Query], Tensor]:
    """The queries over the gallery, and which listings satisfy them."""
    listings, _ = catalogue("gallery")
    queries = shop.queries(listings, QUERIES, seed=1)
    return queries, shop.relevance(queries, listings)


@cache
def elsewhere() -> dict[str, tuple[list[Scene], list[Image.Image], Tensor]]:
    """Two worlds that an adapter never sees: scenes, pictures, which answer which.

    generic   what the encoder was trained for: category and colour, in the words of the web
    things    another style of drawing: the things that the shop sells too, by noun and print
    """
    generic = web.evaluation_scenes()
    drawn = [s for s in things.evaluation_scenes() if s.objects[0].noun in CATEGORIES]
    printed = [_only_print(scene) for scene in drawn]
    return {
        name: (some, [scene.image(IMAGE_SIZE) for scene in some], relevance.contains(some, some))
        for name, some in (("generic", generic), ("things", printed))
    }


def _only_print(scene: Scene) -> Scene:
    """A thing with nothing said but its noun, and its print where it has one."""
    thing = things.canonical(scene).objects[0]
    kept = tuple(pair for pair in thing.attributes if pair[0] == "pattern")
    named = [type(thing)(thing.noun, kept)]
    return Scene(scene.image_id, web.describe(named), tuple(named), scene.draw)


# --- one encoder's view ---------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """All that one encoder sees, as vectors."""

    encoder: MiniClip
    train: Pairs
    validation: Pairs
    gallery: Tensor
    queries: Tensor
    others: dict[str, tuple[Tensor, Tensor]]  # world -> texts, pictures

    @classmethod
    def of(cls, encoder: MiniClip, most: int | None = None) -> View:
        """Encodes everything, or so many pairs of a kind and no other worlds."""
        return cls(
            encoder,
            *(pairs_of(encoder, name, most) for name in ("training", "validation")),
            encoder.encode_images(catalogue("gallery")[1]),
            encoder.encode_texts([query.text for query in asked()[0]]),
            {
                name: (encoder.encode_texts([s.caption for s in scenes]), encoder.encode_images(pictures))
                for name, (scenes, pictures, _) in (elsewhere() if most is None else {}).items()
            },
        )

    def per_query(self, adapts: Adapts) -> pd.DataFrame:
        """R@1, R@5, R@10 and MRR of every query."""
        return adapters.per_query(adapts, self.queries, self.gallery, asked()[1])

    def scores(self, adapts: Adapts, kinds: bool = True) -> list[Row]:
        """One row a kind of query, and one of all, which also says what the adapter costs."""
        means = adapters.by_kind(self.per_query(adapts), [query.kind for query in asked()[0]]).round(5)
        rows = means.reset_index().to_dict("records")
        rows[-1] |= self.costs(adapts)
        return rows if kinds else rows[-1:]

    def costs(self, adapts: Adapts) -> Row:
        """How far vectors moved, whether neighbours stayed, and R@1 in two worlds it was not trained for."""
        found = {
            f"R@1 {name}": float(
                metrics.hit_at(adapters.search(adapts, *vectors, k=1), elsewhere()[name][2], 1).mean()
            )
            for name, vectors in self.others.items()
        }
        moved = adapts.images(self.gallery)
        about = {
            "drift": adapters.mean_drift(adapts, self.queries, self.gallery),
            "neighbours kept": geometry.mutual_knn_overlap(self.gallery, moved, 10),
        }
        return {name: round(value, 5) for name, value in (about | found).items()}


def pairs_of(encoder: MiniClip, name: str, most: int | None = None) -> Pairs:
    """Photographs and titles of a catalogue."""
    listings, pictures = catalogue(name, most)
    titles = [listing.title for listing in listings]
    numbers = [listing.number for listing in listings]
    return Pairs.of(encoder.encode_images(pictures), encoder.encode_texts(titles), numbers, titles)


# --- what is measured -----------------------------------------------------------------------------


def best(fitted: Fitted) -> float:
    """The best validation score of a run."""
    return max(check.score for check in fitted.checks)


def ladder(view: View, seed: int) -> Iterable[Row]:
    """Every arm at every training size, each with the learning rate that its validation prefers."""
    zero = view.per_query(ZeroShot())
    for (arm, changes), n in product(ARMS.items(), SIZES):
        recipes = [LADDER.but(**changes, pairs=n, learning_rate=rate, seed=seed) for rate in RATES]
        chosen = max(adapters.fit(view.train, view.validation, recipes, progress=False), key=best)
        about = {"part": "ladder", "arm": arm, "pairs": n, "learning rate": chosen.recipe.learning_rate}
        yield from (about | row for row in view.scores(chosen.adapter))
        frame = view.per_query(chosen.adapter)
        for metric in METRICS:
            gain = metrics.paired_bootstrap(frame[metric], zero[metric])
            figures = {"gain": gain.value, "low": gain.low, "high": gain.high, "p": gain.p}
            about = {"part": "gain", "arm": arm, "pairs": n, "metric": metric}
            yield about | {name: round(value, 5) for name, value in figures.items()}


def peers(view: View, seed: int) -> Iterable[Row]:
    """What needs no training, and a look-up of words in titles, which needs no pictures."""
    for (arm, fit), n in product(PEERS.items(), SIZES):
        adapts = fit(view.train.first(n), view.validation)
        yield from ({"part": "ladder", "arm": arm, "pairs": n} | row for row in view.scores(adapts))
    yield from look_up()


def look_up() -> Iterable[Row]:
    """By the words of titles."""
    frame = pd.DataFrame(metrics.evaluate(shortlist(*keywords(), 100), asked()[1]))[list(METRICS)]
    rows = adapters.by_kind(frame, [query.kind for query in asked()[0]]).round(5).reset_index()
    yield from ({"part": "ladder", "arm": "keywords in titles"} | row for row in rows.to_dict("records"))


@cache
def keywords() -> tuple[Tensor, Tensor]:
    """Queries and titles by their words, each weighted by its rarity (TF-IDF)."""
    words = TfidfVectorizer().fit([listing.title for listing in catalogue("gallery")[0]])
    texts = ([query.text for query in asked()[0]], [listing.title for listing in catalogue("gallery")[0]])
    return tuple(torch.from_numpy(words.transform(some).toarray()).float() for some in texts)


def ablations(view: View, seed: int) -> Iterable[Row]:
    """One thing changed at a time, at two training sizes."""
    cases = list(product(CHANGES.items(), SIZES[1:]))
    recipes = [LADDER.but(**changes, pairs=n, seed=seed) for (_, changes), n in cases]
    for ((name, _), n), fitted in zip(cases, fit_all(view, recipes), strict=True):
        about = {"part": "ablation", "arm": name, "pairs": n, "kept": fitted.kept, "ended": fitted.ended}
        about |= {"alpha": round(float(fitted.adapter.alpha), 5), "steps": fitted.checks[-1].step}
        about |= {"validation": round(best(fitted), 5)}
        yield from (about | row for row in view.scores(fitted.adapter, kinds=False))


def alpha_map(view: View, seed: int) -> Iterable[Row]:
    """alpha x learning rate x training size, 300 steps each, the last state kept."""
    cases = list(product(ALPHAS, RATES, SIZES))
    recipes = [MAP.but(alpha=a, learning_rate=r, pairs=n, seed=seed) for a, r, n in cases]
    for (alpha, rate, n), fitted in zip(cases, fit_all(view, recipes), strict=True):
        about = {"part": "map", "alpha": alpha, "learning rate": rate, "pairs": n}
        about |= {"validation": round(fitted.checks[-1].score, 5)}
        yield from (about | row for row in view.scores(fitted.adapter, kinds=False))


def fit_all(view: View, recipes: list[Recipe]) -> list[Fitted]:
    """Trains them side by side."""
    return adapters.fit(view.train, view.validation, recipes, progress=False)


def unfreezing(view: View, seed: int) -> Iterable[Row]:
    """Parts of the encoder trained on all titles, each with the learning rate that validation prefers."""
    listings, pictures = catalogue("training")
    pixels, titles = to_pixels(pictures), [listing.title for listing in listings]
    for part in PARTS:
        candidates = [
            adapters.unfreeze(
                view.encoder, pixels, titles, view.train, part, learning_rate=rate, seed=seed, progress=False
            )
            for rate in (1e-4, 5e-4)
        ]
        chosen = max(candidates, key=validation_score)
        about = {"part": "unfreezing", "arm": part, "pairs": len(titles)}
        about |= {"learning rate": chosen.recipe["learning_rate"]}
        yield from (about | row for row in View.of(chosen).scores(ZeroShot()))


def validation_score(encoder: MiniClip) -> float:
    """What adapters are chosen by, for an encoder as it is."""
    pairs = pairs_of(encoder, "validation")
    match = pairs.match(torch.arange(len(pairs)))
    return float(adapters.mean_reciprocal_rank(pairs.texts, pairs.images, match))


def measure(seed: int) -> list[Row]:
    """All rows of one encoder."""
    view = View.of(load_mini(trained(MINI, seed)))
    parts = (peers, ladder, ablations, alpha_map, unfreezing)
    rows = []
    for part in parts:
        rows += [{"seed": seed} | row for row in part(view, seed)]
        print(f"seed {seed}: {part.__name__}, {len(rows)} rows", flush=True)
    return rows


# --- the claims -----------------------------------------------------------------------------------


class Figures:
    """Looks figures up: one number a seed."""

    def __init__(self, table: pd.DataFrame):
        self.table = table

    def __call__(self, metric: str, kind: str = "all", **where: object) -> pd.Series:
        rows = self.table[self.table.kind == kind]
        for column, value in where.items():
            rows = rows[rows[column] == value]
        if rows.empty or rows.seed.duplicated().any():
            raise LookupError(f"{metric!r} with {where}: {len(rows)} rows, expected one a seed")
        return rows.set_index("seed")[metric].sort_index()

    def arm(self, arm: str, n: int, metric: str = "R@10") -> pd.Series:
        """A figure of the ladder, in percent."""
        return 100 * self(metric, part="ladder", arm=arm, pairs=n)

    def change(self, name: str, n: int, metric: str = "R@10") -> pd.Series:
        """A figure of the ablations, in percent."""
        return 100 * self(metric, part="ablation", arm=name, pairs=n)


def claims(table: pd.DataFrame) -> list[Claim]:
    """What the report says, and what the paper and the report leave to others."""
    of = Figures(table)
    decided = [*_order(of), *_why(of), *_alpha(of), *_future(of)]
    return [
        Claim(text, source, said, measured, "shows" if holds else "differs", CHAPTER)
        for text, source, said, measured, holds in decided
    ]


Judged = tuple[str, str, str, str, bool]  # text, source, what it says, measured, whether it holds


def percent(values: pd.Series) -> str:
    """Mean over seeds, with the lowest and the highest."""
    return spread(values, "{:.1f}")


def _order(of: Figures) -> Iterable[Judged]:
    """Naive below zero-shot below residual: at every training size, and in every metric."""
    for n in SIZES:
        zero, naive, adapted = (of.arm(arm, n) for arm in ("zero-shot", NAIVE, ADAPTED))
        where = f"with {n:,} training pairs"
        yield (
            f"A naive two-tower MLP with margin loss is worse than zero-shot CLIP, {where}",
            REPORT,
            "worse",
            f"R@10 {percent(zero)} to {percent(naive)}",
            bool((naive < zero).all()),
        )
        yield (
            f"A residual adapter with InfoNCE is better than zero-shot CLIP, {where}",
            REPORT,
            "R@10 58.7 to 69.7",
            f"R@10 {percent(zero)} to {percent(adapted)}",
            bool((adapted > zero).all()),
        )
    gains = {m: of.arm(ADAPTED, SIZES[-1], m) - of.arm("zero-shot", SIZES[-1], m) for m in METRICS}
    yield (
        f"... and consistently in R@1, R@5 and MRR ({SIZES[-1]:,} pairs)",
        REPORT,
        "consistent",
        "points: " + ", ".join(f"{m} {percent(gain)}" for m, gain in gains.items()),
        all(bool((gain > 0).all()) for gain in gains.values()),
    )


def _why(of: Figures) -> Iterable[Judged]:
    """The report changes architecture and loss at once. Which of the two did it?"""
    for n in SIZES:
        cell = {arm: of.arm(arm, n) for arm in ARMS}
        by_loss = (cell["two-tower, InfoNCE"] + cell[ADAPTED] - cell[NAIVE] - cell["residual, margin"]) / 2
        by_shape = (cell["residual, margin"] + cell[ADAPTED] - cell[NAIVE] - cell["two-tower, InfoNCE"]) / 2
        yield (
            f"The residual connection does more for recall than the loss ({n:,} pairs; our test)",
            REPORT,
            "not taken apart",
            f"points of R@10: residual {percent(by_shape)}, InfoNCE {percent(by_loss)}",
            bool((by_shape > by_loss).all()),
        )
    kept = {arm: of.arm(arm, SIZES[-1], "neighbours kept") for arm in ("two-tower, InfoNCE", ADAPTED)}
    forgot = {arm: of.arm(arm, SIZES[-1], "R@1 generic") for arm in ("zero-shot", *kept)}
    yield (
        "A residual preserves the pretrained structure, a two-tower MLP does not (same loss)",
        REPORT,
        "preserved",
        "neighbours kept, percent: "
        + ", ".join(f"{arm} {percent(v)}" for arm, v in kept.items())
        + "; R@1 on generic texts: "
        + ", ".join(f"{arm} {percent(v)}" for arm, v in forgot.items()),
        bool((kept[ADAPTED] > kept["two-tower, InfoNCE"]).all())
        and bool((forgot[ADAPTED] > forgot["two-tower, InfoNCE"]).all()),
    )


def _alpha(of: Figures) -> Iterable[Judged]:
    """Is 0.2 a good alpha, and does alpha bound how far vectors move?"""
    table = of.table[of.table.part == "map"]
    best_alpha = table.groupby(["pairs", "learning rate", "alpha"])["R@10"].mean().unstack().idxmax(axis=1)
    cells = ", ".join(
        f"{alpha:g}: {count}" for alpha, count in best_alpha.value_counts().sort_index().items()
    )
    yield (
        "alpha = 0.2 is the right scale of the residual",
        REPORT,
        "0.2, not ablated",
        f"best of {len(ALPHAS)} in {len(best_alpha)} cells of learning rate and pairs, alpha: cells, {cells}",
        bool((best_alpha == 0.2).mean() > 0.5),
    )
    moved = 100 * table.groupby(["pairs", "learning rate", "alpha"]).drift.mean().unstack()
    small = moved[ALPHAS[0]].xs(RATES[-1], level="learning rate")
    large = moved[ALPHAS[-1]].xs(RATES[0], level="learning rate")
    each = ", ".join(f"{n:,}: {small[n]:.1f} and {large[n]:.1f}" for n in SIZES)
    yield (
        "A small alpha keeps vectors near where they were, whatever the learning rate (our test)",
        REPORT,
        "small, controlled adaptation",
        f"1 - cosine in percent, least alpha at the largest rate and largest at the least; pairs {each}",
        bool((small < large).all()),
    )


def _future(of: Figures) -> Iterable[Judged]:
    """What the report and the paper propose for later."""
    n = SIZES[-1]
    plain, mined = of.change("as it is", n), of.change("batches of mined hard negatives", n)
    yield (
        "Mined hard negatives help",
        f"{REPORT}, future work",
        "",
        f"R@10 {percent(plain)} to {percent(mined)} in InfoNCE batches; margin loss, random "
        f"{percent(of.change('margin, random triplets', n))}, semihard "
        f"{percent(of.change('margin, semihard triplets', n))}, hard "
        f"{percent(of.change('margin, hard triplets', n))}",
        bool((mined > plain).all()),
    )
    parts = {part: 100 * of("R@10", part="unfreezing", arm=part) for part in PARTS}
    adapted = of.arm(ADAPTED, n)
    yield (
        "Partial unfreezing (stage B) gains more than an adapter",
        f"{REPORT}, future work",
        "",
        f"R@10 adapter {percent(adapted)}; " + ", ".join(f"{part} {percent(v)}" for part, v in parts.items()),
        bool((parts["last blocks"] > adapted).all()),
    )
    bent = [name for name in CHANGES if name.startswith("distortion")]
    chosen = max(bent, key=lambda name: of.change(name, n, "validation").mean())
    yield (
        "A penalty on cross-modal distortion within neighbourhoods improves retrieval (adapters)",
        PAPER,
        "proposed",
        f"R@10 without {percent(plain)}, with a {chosen} (of {len(bent)}, by validation) "
        f"{percent(of.change(chosen, n))}",
        bool((of.change(chosen, n) > plain).all()),
    )


def every() -> list[Row]:
    """All rows of all encoders."""
    torch.set_num_threads(1)
    return [row for seed in SEEDS for row in measure(seed)]


def sample() -> Iterator[Row]:
    """What needs no training, and one short training run, by the encoder that is shipped."""
    encoder, about = shipped(MINI)
    n, seed = SIZES[0], about["seed"]
    view, short = View.of(encoder, n), MAP.but(alpha=0.2, learning_rate=1e-3, pairs=n, seed=seed)
    zero = {"part": "ladder", "arm": "zero-shot", "pairs": n}
    run = {"part": "map", "alpha": short.alpha, "learning rate": short.learning_rate, "pairs": n}
    rows = [*look_up(), *(zero | row for row in view.scores(ZeroShot()))]
    rows += [run | row for row in view.scores(fit_all(view, [short])[0].adapter, kinds=False)]
    for row in rows:
        yield {"seed": seed} | {name: row[name] for name in row if name in SAMPLED}


STUDY = Study(
    __file__,
    every,
    sample,
    dict.fromkeys(METRICS, 0.02),
    claims,
    lambda: results.checksums(run_names((MINI,))),
    lambda row: run_name(MINI, row["seed"]),
    SEEDS,
)

if __name__ == "__main__":
    STUDY.run()
