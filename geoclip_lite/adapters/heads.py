"""Heads on top of a frozen encoder: residual, or not."""

from __future__ import annotations

from math import log

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from geoclip_lite.adapters.recipes import Recipe

Vectors = Float[Tensor, "items dim"]
# The temperature stays above 0.01, as in CLIP. Trainers clamp the parameter itself after each step: a clamp
# within the loss has no gradient above its bound, and a parameter that got there would stay there.
MAX_SCALE = log(100)


class Adapter(nn.Module):
    """A head for pictures and one for texts: unit vectors in, unit vectors out.

    Args:
        dim: of the frozen vectors.
        recipe: what kind of heads; its seed draws their weights.
    """

    def __init__(self, dim: int, recipe: Recipe):
        super().__init__()
        self.dim, self.recipe = dim, recipe
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.image_head, self.text_head = (_mlp(dim, recipe) for _ in range(2))
        self.scale = nn.Parameter(torch.tensor(-log(recipe.temperature)))
        alpha = torch.tensor(recipe.alpha)
        if recipe.alpha_is == "learned":
            self.alpha = nn.Parameter(alpha)
        else:
            self.register_buffer("alpha", alpha)

    def images(self, vectors: Vectors) -> Vectors:
        """Adapted pictures."""
        return self._adapted(vectors, self.image_head)

    def texts(self, vectors: Vectors) -> Vectors:
        """Adapted texts."""
        return self._adapted(vectors, self.text_head)

    def forward(self, images: Vectors, texts: Vectors) -> tuple[Vectors, Vectors, Float[Tensor, ""]]:
        """Adapted pictures and texts, and the factor before their cosines."""
        return self.images(images), self.texts(texts), self.scale.exp()

    def _adapted(self, vectors: Vectors, head: nn.Module) -> Vectors:
        if vectors.shape[-1] != self.dim:
            raise ValueError(
                f"vectors must have length {self.dim}, as those it was trained on, got {vectors.shape[-1]}"
            )
        moved = head(vectors)
        if self.recipe.architecture == "two-tower":
            return F.normalize(moved, dim=-1)
        if self.recipe.alpha_is == "normalised":
            moved = F.normalize(moved, dim=-1)
        return F.normalize(vectors + self.alpha * moved, dim=-1)


def _mlp(dim: int, recipe: Recipe) -> nn.Sequential:
    layers = nn.Sequential(nn.Linear(dim, recipe.hidden), nn.ReLU(), nn.Linear(recipe.hidden, dim))
    share = {"default": 1.0, "small": 0.1, "zero": 0.0}[recipe.start]
    with torch.no_grad():
        for parameter in layers[-1].parameters():
            parameter.mul_(share)
    return layers
