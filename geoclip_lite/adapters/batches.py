"""Which pairs meet in a step: at random, or with their hardest neighbours."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geoclip_lite.adapters.pairs import Pairs

HARD_PER_PAIR = 3  # neighbours that a mined batch brings along with each pair


def random_rows(pairs: int, batch: int, generator: torch.Generator) -> Int[Tensor, " batch"]:
    """A batch without repetition."""
    return torch.randperm(pairs, generator=generator)[:batch]


def mined_rows(
    hard: Int[Tensor, "pairs hard"], batch: int, generator: torch.Generator
) -> Int[Tensor, " batch"]:
    """Random pairs, each with its hard negatives, until the batch is full; none twice."""
    order = torch.randperm(len(hard), generator=generator)
    together = torch.cat([order[:, None], hard[order]], dim=1).flatten()
    rows = list(dict.fromkeys(together[: batch * (1 + hard.shape[1])].tolist()))
    return torch.tensor(rows[:batch])


def mine(pairs: Pairs, per_pair: int = HARD_PER_PAIR) -> Int[Tensor, "pairs hard"]:
    """For each text the nearest wrong pictures, found with faiss among the frozen vectors.

    Raises:
        ImportError: faiss is not installed.
        ValueError: some pair has too few wrong pictures.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError("negatives: mining needs faiss: pip install 'geoclip-lite[adapters]'") from error
    index = faiss.IndexFlatIP(pairs.dim)
    index.add(pairs.images.numpy())
    look = min(len(pairs), 16 * (per_pair + 1))
    found = torch.from_numpy(index.search(pairs.texts.numpy(), look)[1])
    wrong = (pairs.image_of[found] != pairs.image_of[:, None]) & (
        pairs.text_of[found] != pairs.text_of[:, None]
    )
    if (wrong.sum(1) < per_pair).any():
        row = int((wrong.sum(1) < per_pair).nonzero()[0])
        raise ValueError(
            f"pairs: pair {row} has fewer than {per_pair} wrong pictures among its {look} nearest"
        )
    first = wrong.int().argsort(dim=1, descending=True, stable=True)[:, :per_pair]
    return found.gather(1, first)


def random_wrong(batch: int, generator: torch.Generator) -> Int[Tensor, " batch"]:
    """For each pair of a batch another one."""
    return (torch.arange(batch) + torch.randint(1, batch, (batch,), generator=generator)) % batch


def mined_triplets(
    texts: Float[Tensor, "batch dim"],
    images: Float[Tensor, "batch dim"],
    labels: Int[Tensor, " batch"],
    kind: str,
    margin: float,
) -> tuple[Int[Tensor, " triplets"], Int[Tensor, " triplets"], Int[Tensor, " triplets"]]:
    """(text, right image, wrong image) by a miner of pytorch-metric-learning.

    Args:
        labels: of the pairs; equal ones are right answers to each other.
        kind: "semihard" (further than the right image, but within the margin) or "hard" (nearer than it).

    Raises:
        ImportError: pytorch-metric-learning is not installed.
    """
    try:
        from pytorch_metric_learning.distances import CosineSimilarity
        from pytorch_metric_learning.miners import TripletMarginMiner
    except ImportError as error:
        wanted = "pip install 'geoclip-lite[adapters]'"
        raise ImportError(f"negatives: {kind} triplets need pytorch-metric-learning: {wanted}") from error
    miner = TripletMarginMiner(margin, type_of_triplets=kind, distance=CosineSimilarity())
    # Two copies of the labels: given one tensor twice, the miner takes texts and images for the same items.
    return miner(texts, labels, images, labels.clone())
