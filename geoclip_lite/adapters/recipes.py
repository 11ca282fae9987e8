"""What can be chosen about an adapter, in one place: a run is a function of its pairs and its recipe."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

Architecture = Literal["residual", "two-tower"]
Loss = Literal["InfoNCE", "margin"]
Alpha = Literal["fixed", "learned", "normalised"]
Start = Literal["default", "zero", "small"]
Negatives = Literal["random", "mined", "semihard", "hard"]
CHOICES = {
    "architecture": Architecture,
    "loss": Loss,
    "alpha_is": Alpha,
    "start": Start,
    "negatives": Negatives,
}
# Runs that agree in all other fields differ in numbers only, and are trained as one batched computation.
VARIES = ("alpha", "temperature", "margin", "drift_penalty", "distortion_penalty", "pairs", "seed")


@dataclass(frozen=True)
class Recipe:
    """How an adapter is made and trained. The defaults are the residual adapter that the seed text describes.

    Args:
        architecture: residual: x + alpha f(x); two-tower: f(x), which forgets x. f has one hidden layer.
        loss: InfoNCE: CLIP's own; margin: a right picture must be nearer than a wrong one by `margin`.
        alpha: weight of the residual.
        alpha_is: fixed; learned, from `alpha` on; or normalised: fixed, and f(x) is scaled to unit length, so
            that alpha alone says how far a vector can move.
        hidden: units of the hidden layer.
        start: of f's last layer: PyTorch's default, zero (training starts at the identity), or a tenth.
        learning_rate: of Adam.
        steps: of training.
        batch: pairs in a step.
        temperature: at the start; it is learned too, down to 0.01 (CLIP's clamp).
        margin: in units of cosine.
        negatives: random: other pairs of the batch; mined: batches of pairs and their hardest wrong pairs;
            semihard, hard: triplets by the miner of that name (margin loss only).
        drift_penalty: times the mean of 1 - cosine of adapted with frozen vectors.
        distortion_penalty: times the cross-modal distortion within neighbourhoods, see `distortion`.
        pairs: how many training pairs to use; None takes all.
        patience: checks without a better validation score until a run stops, and its best state is kept; None
            never stops early, and keeps the last state.
        seed: of weights and batches.

    Raises:
        ValueError: a value that is not offered, or two that contradict each other.
    """

    architecture: Architecture = "residual"
    loss: Loss = "InfoNCE"
    alpha: float = 0.2
    alpha_is: Alpha = "fixed"
    hidden: int = 128
    start: Start = "default"
    learning_rate: float = 1e-3
    steps: int = 300
    batch: int = 128
    temperature: float = 0.07
    margin: float = 0.2
    negatives: Negatives = "random"
    drift_penalty: float = 0.0
    distortion_penalty: float = 0.0
    pairs: int | None = None
    patience: int | None = None
    seed: int = 0

    def __post_init__(self):
        for name, known in CHOICES.items():
            if getattr(self, name) not in get_args(known):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(known))}, got {getattr(self, name)!r}"
                )
        for name in ("alpha", "hidden", "learning_rate", "steps", "temperature", "patience", "pairs"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        for name in ("margin", "drift_penalty", "distortion_penalty"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or above, got {getattr(self, name)}")
        if self.batch < 2:
            raise ValueError(f"batch must be at least 2, or there is no wrong answer in it, got {self.batch}")
        self._check_together()

    def _check_together(self) -> None:
        if self.architecture == "two-tower" and self.start == "zero":
            raise ValueError("start: zero makes every vector of a two-tower MLP zero; take default or small")
        if self.alpha_is == "normalised" and self.start == "zero":
            raise ValueError("start: zero has no direction that could be normalised; take default or small")
        if self.negatives in ("semihard", "hard") and self.loss != "margin":
            raise ValueError(f"negatives: {self.negatives} triplets need the margin loss, got {self.loss}")

    def but(self, **changes: object) -> Recipe:
        """This recipe with some things changed."""
        return replace(self, **changes)

    @property
    def structure(self) -> tuple:
        """What runs must have in common to be trained as one batched computation."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.name not in VARIES)
