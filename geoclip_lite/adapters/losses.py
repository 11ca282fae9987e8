"""What an adapter is trained to do. Every function takes one run; the trainer maps it over many.

InfoNCE is open_clip's loss. Added here are targets that know of several right answers, the margin loss of the
naive approach, and two penalties: on drift, and on cross-modal distortion.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from open_clip.loss import ClipLoss
from torch import Tensor

Vectors = Float[Tensor, "batch dim"]
Match = Bool[Tensor, "batch batch"]
Scalar = Float[Tensor, ""]
NEIGHBOURS = 10


class MultiPositiveClipLoss(ClipLoss):
    """open_clip's loss where a row may have several right columns, which share its target evenly.

    With one right column in each row it is `ClipLoss`.

    Args:
        match: which pairs of the batch are right answers to each other; symmetric, with a full diagonal.
    """

    def __init__(self, match: Match):
        super().__init__()
        self.targets = match / match.sum(-1, keepdim=True)

    def get_ground_truth(self, device: torch.device, num_logits: int) -> Float[Tensor, "batch batch"]:
        """Shares of each column in each row, for both directions (`match` is symmetric)."""
        return self.targets


def info_nce(images: Vectors, texts: Vectors, scale: Scalar, match: Match) -> Scalar:
    """The symmetric contrastive loss."""
    return MultiPositiveClipLoss(match)(images, texts, scale)


def triplet(
    texts: Vectors, images: Vectors, wrong: Int[Tensor, " batch"], margin: Scalar, match: Match
) -> Scalar:
    """Mean of max(0, margin - cos(text, its image) + cos(text, a wrong image)); right "wrong" ones count 0.

    Args:
        wrong: number of the wrong image for each text.
    """
    right = (texts * images).sum(-1)
    other = (texts * images[wrong]).sum(-1)
    mistaken = match.gather(-1, wrong[..., None])[..., 0]
    return ((margin - right + other).clamp(min=0) * ~mistaken).mean()


def drift(adapted: Vectors, frozen: Vectors) -> Scalar:
    """Mean of 1 - cosine between what a vector was and what it has become."""
    return (1 - (adapted * frozen).sum(-1)).mean()


def distortion(images: Vectors, texts: Vectors, frozen: Vectors, neighbours: int = NEIGHBOURS) -> Scalar:
    """Cross-modal distortion within neighbourhoods: mean of (cos(v_i, v_j) - cos(t_i, t_j))^2.

    j runs over the nearest neighbours of i among the frozen pictures of the batch, so that what counts as
    near does not change while training. The paper proposes such a penalty as future work (section 7) without
    a formula; this is the plainest one.

    Args:
        frozen: pictures before adapting.
        neighbours: of each picture.

    Raises:
        ValueError: a batch that has no more pictures than a neighbourhood.
    """
    if len(frozen) <= neighbours:
        raise ValueError(f"distortion: {neighbours} neighbours need a batch of more than {neighbours}")
    near = (
        (frozen @ frozen.mT - 2 * torch.eye(len(frozen), dtype=frozen.dtype)).topk(neighbours, dim=-1).indices
    )
    differences = (images @ images.mT - texts @ texts.mT).gather(-1, near)
    return differences.square().mean()
