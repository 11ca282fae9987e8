"""Training many adapters as one computation.

Runs that agree in everything but numbers (alpha, temperature, penalties, training size, seed) are stacked:
every weight gets one more dimension, a step is a batched matrix product, and a map of two hundred runs costs
minutes. Each run sees the batches that it would see alone, and ends where it would end alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.func import functional_call, stack_module_state
from tqdm import tqdm

from geoclip_lite.adapters import losses
from geoclip_lite.adapters.batches import mine, mined_rows, mined_triplets, random_rows, random_wrong
from geoclip_lite.adapters.heads import MAX_SCALE, Adapter
from geoclip_lite.adapters.pairs import Pairs, refuse_shared
from geoclip_lite.adapters.recipes import Recipe

CHECK_EVERY = 25  # steps
RUNS_AT_ONCE = 8  # in a validation, which needs a number for each pair of validation pairs
PATIENCE = 3.0  # seconds before a progress bar shows

Stacked = dict[str, Tensor]  # name of a weight -> runs x its shape
PerRun = Float[Tensor, " runs"]


@dataclass(frozen=True)
class Check:
    """One look at a run.

    Args:
        step: after how many steps.
        loss: of the training batch of that step.
        score: mean reciprocal rank on the validation pairs, text to image.
        drift: mean of 1 - cosine of the validation vectors with what they were.
    """

    step: int
    loss: float
    score: float
    drift: float


@dataclass(frozen=True)
class Fitted:
    """A trained adapter and how it came about.

    Args:
        adapter: in the state that was kept.
        recipe: of this run.
        checks: in order, step 0 first.
        kept: the step whose state was kept.
        ended: "steps" (all done), "early" (no better validation score for `patience` checks) or "diverged"
            (the loss was no number any more; the last good state was kept).
    """

    adapter: Adapter
    recipe: Recipe
    checks: tuple[Check, ...]
    kept: int
    ended: str


def fit(train: Pairs, validation: Pairs, recipes: Iterable[Recipe], *, progress: bool = True) -> list[Fitted]:
    """Trains an adapter for every recipe.

    Args:
        train: recipes with `pairs` use the first ones of these.
        validation: other pictures; they choose the state that is kept where a recipe has patience.
        progress: whether work of more than a few seconds shows a bar.

    Returns:
        one result a recipe, in their order.

    Raises:
        ValueError: fewer pairs than a batch, vectors of two lengths, or a picture in both parts.
        ImportError: a recipe mines negatives with a library that is missing.
    """
    recipes = list(recipes)
    _check(train, validation, recipes)
    together: dict[tuple, list[int]] = {}
    for number, recipe in enumerate(recipes):
        together.setdefault(recipe.structure, []).append(number)
    total = sum(recipes[numbers[0]].steps for numbers in together.values())
    results: dict[int, Fitted] = {}
    with tqdm(total=total, desc="adapters", unit="step", delay=PATIENCE, disable=not progress) as bar:
        for numbers in together.values():
            runs = Runs(train, validation, [recipes[i] for i in numbers])
            results |= zip(numbers, runs.train(bar), strict=True)
    return [results[i] for i in range(len(recipes))]


class Runs:
    """Several runs of one structure, side by side.

    Args:
        train, validation: see `fit`.
        recipes: one a run.
    """

    def __init__(self, train: Pairs, validation: Pairs, recipes: Sequence[Recipe]):
        self.train_pairs, self.validation, self.recipes = train, validation, recipes
        self.shared = recipes[0]
        adapters = [Adapter(train.dim, recipe) for recipe in recipes]
        weights, self.buffers = stack_module_state(adapters)
        self.weights: Stacked = dict(weights)
        self.adapter = copy.deepcopy(adapters[0]).to("meta")
        self.generators = [torch.Generator().manual_seed(recipe.seed) for recipe in recipes]
        self.sizes = [recipe.pairs or len(train) for recipe in recipes]
        self.hard = self._mined()
        self.book = Book(len(recipes), self.shared.patience)

    def _mined(self) -> list[Int[Tensor, "pairs hard"]] | None:
        if self.shared.negatives != "mined":
            return None
        by_size = {n: mine(self.train_pairs.first(n)) for n in set(self.sizes)}
        return [by_size[n] for n in self.sizes]

    def train(self, bar: tqdm) -> list[Fitted]:
        """All steps, or until every run has ended."""
        optimizer = torch.optim.Adam(self.weights.values(), lr=self.shared.learning_rate)
        self._look(0, torch.full((len(self.recipes),), torch.nan))
        for step in range(1, self.shared.steps + 1):
            loss = self.step_losses()
            optimizer.zero_grad()
            loss.sum().backward()  # runs share no weight, so each gets the gradient of its own loss
            optimizer.step()
            self.weights["scale"].data.clamp_(max=MAX_SCALE)
            self.book.lost(~loss.isfinite())
            if step % CHECK_EVERY == 0 or step == self.shared.steps:
                self._look(step, loss.detach())
            bar.update()
            if not self.book.going.any():
                break
        return [self._result(i) for i in range(len(self.recipes))]

    # --- one step ---------------------------------------------------------------------------------

    def step_losses(self) -> PerRun:
        """The loss of every run on a batch of its own."""
        rows = torch.stack([self._rows(i) for i in range(len(self.recipes))])
        frozen_images, frozen_texts = self.train_pairs.images[rows], self.train_pairs.texts[rows]
        match = self.train_pairs.match(rows)
        images, texts, scale = self.forward(frozen_images, frozen_texts)
        if self.shared.loss == "InfoNCE":
            loss = torch.vmap(losses.info_nce)(images, texts, scale, match)
        else:
            loss = self._margin_loss(images, texts, rows, match)
        drift, distortion = (self._numbers(name) for name in ("drift_penalty", "distortion_penalty"))
        if drift.any():
            moved = torch.vmap(losses.drift)
            loss = loss + drift * (moved(images, frozen_images) + moved(texts, frozen_texts)) / 2
        if distortion.any():
            loss = loss + distortion * torch.vmap(losses.distortion)(images, texts, frozen_images)
        return loss

    def forward(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor, PerRun]:
        """Every run's adapter on its own batch, runs first."""

        def one(weights: Stacked, buffers: Stacked, images: Tensor, texts: Tensor):
            return functional_call(self.adapter, (weights, buffers), (images, texts))

        return torch.vmap(one)(self.weights, self.buffers, images, texts)

    def _rows(self, run: int) -> Int[Tensor, " batch"]:
        generator, batch = self.generators[run], self.shared.batch
        if self.hard is not None:
            return mined_rows(self.hard[run], batch, generator)
        return random_rows(self.sizes[run], batch, generator)

    def _margin_loss(
        self, images: Tensor, texts: Tensor, rows: Int[Tensor, "runs batch"], match: Tensor
    ) -> PerRun:
        margins, kind = self._numbers("margin"), self.shared.negatives
        if kind in ("random", "mined"):
            wrong = torch.stack([random_wrong(self.shared.batch, g) for g in self.generators])
            return torch.vmap(losses.triplet)(texts, images, wrong, margins, match)
        found = [
            mined_triplets(t.detach(), v.detach(), self.train_pairs.text_of[r], kind, float(margin))
            for t, v, r, margin in zip(texts, images, rows, margins, strict=True)
        ]
        # Miners know of texts that are alike, but not of pictures that are.
        kept = [[of[~right[a, n]] for of in (a, p, n)] for (a, p, n), right in zip(found, match, strict=True)]
        each = [
            (margin - (t[a] * v[p]).sum(1) + (t[a] * v[n]).sum(1)).clamp(min=0).sum() / max(1, len(a))
            for t, v, (a, p, n), margin in zip(texts, images, kept, margins, strict=True)
        ]
        return torch.stack(each)

    def _numbers(self, name: str) -> PerRun:
        return torch.tensor([float(getattr(recipe, name)) for recipe in self.recipes])

    # --- looking, and keeping ---------------------------------------------------------------------

    @torch.no_grad()
    def _look(self, step: int, loss: PerRun) -> None:
        pairs = self.validation
        match = pairs.match(torch.arange(len(pairs)))

        def one(weights: Stacked, buffers: Stacked) -> tuple[Tensor, Tensor]:
            images, texts, _ = functional_call(self.adapter, (weights, buffers), (pairs.images, pairs.texts))
            moved = (losses.drift(images, pairs.images) + losses.drift(texts, pairs.texts)) / 2
            return mean_reciprocal_rank(texts, images, match), moved

        score, drift = torch.vmap(one, chunk_size=RUNS_AT_ONCE)(self.weights, self.buffers)
        self.book.enter(step, loss, score, drift, self.weights)

    def _result(self, run: int) -> Fitted:
        adapter = Adapter(self.train_pairs.dim, self.recipes[run])
        state = {name: weight[run] for name, weight in self.book.state.items()}
        adapter.load_state_dict(state, strict=False)  # buffers come from the recipe
        adapter.requires_grad_(False).eval()
        book = self.book
        return Fitted(
            adapter, self.recipes[run], tuple(book.checks[run]), int(book.kept[run]), book.ended[run]
        )


class Book:
    """Who is still going, and the state of every run that will be kept."""

    def __init__(self, runs: int, patience: int | None):
        self.patience = patience
        self.going = torch.ones(runs, dtype=torch.bool)
        self.best = torch.full((runs,), -torch.inf)
        self.waited = torch.zeros(runs, dtype=torch.int64)
        self.kept = torch.zeros(runs, dtype=torch.int64)
        self.ended = ["steps"] * runs
        self.checks: list[list[Check]] = [[] for _ in range(runs)]
        self.state: Stacked = {}

    def lost(self, which: Bool[Tensor, " runs"]) -> None:
        """These runs have diverged."""
        self._end(which & self.going, "diverged")

    def enter(self, step: int, loss: PerRun, score: PerRun, drift: PerRun, weights: Stacked) -> None:
        """A look at all runs: keeps the states that are to be kept."""
        finite = [weight.reshape(len(weight), -1).isfinite().all(1) for weight in weights.values()]
        # Weights that are finite may still be so large that what they give is not.
        self._end(self.going & ~torch.stack([*finite, drift.isfinite()]).all(0), "diverged")
        better = score > self.best
        keep = self.going & (better if self.patience else torch.ones_like(better))
        self._store(keep, weights)
        self.kept[keep] = step
        self.best = torch.where(self.going & better, score, self.best)
        self.waited = torch.where(better, 0, self.waited + 1)
        for run in self.going.nonzero()[:, 0].tolist():
            self.checks[run].append(Check(step, float(loss[run]), float(score[run]), float(drift[run])))
        if self.patience:
            self._end(self.going & (self.waited >= self.patience), "early")

    def _store(self, keep: Bool[Tensor, " runs"], weights: Stacked) -> None:
        for name, weight in weights.items():
            old, new = self.state.get(name, weight.detach()), weight.detach()
            self.state[name] = torch.where(keep.view(-1, *[1] * (new.ndim - 1)), new, old).clone()

    def _end(self, which: Bool[Tensor, " runs"], how: str) -> None:
        for run in which.nonzero()[:, 0].tolist():
            self.ended[run] = how
        self.going &= ~which


def mean_reciprocal_rank(
    texts: Float[Tensor, "pairs dim"], images: Float[Tensor, "pairs dim"], match: Bool[Tensor, "pairs pairs"]
) -> Float[Tensor, ""]:
    """Mean of 1 / rank of the best right image; wrong images with its score, or NaN, count as before it."""
    scores = texts @ images.mT
    right = scores.masked_fill(~match, -torch.inf).amax(-1, keepdim=True)
    before = (~(scores < right) & ~match).sum(-1)
    return (1 / (1 + before)).mean()


def _check(train: Pairs, validation: Pairs, recipes: Sequence[Recipe]) -> None:
    if train.dim != validation.dim:
        raise ValueError(
            f"train and validation must come from one encoder, got lengths {train.dim} and {validation.dim}"
        )
    refuse_shared(train=train, validation=validation)
    for recipe in recipes:
        pairs = recipe.pairs or len(train)
        if pairs > len(train):
            raise ValueError(f"pairs: a recipe asks for {pairs} training pairs, there are {len(train)}")
        if pairs < recipe.batch:
            raise ValueError(
                f"batch: {recipe.batch} pairs a step, but only {pairs} to train on; take a smaller batch"
            )
