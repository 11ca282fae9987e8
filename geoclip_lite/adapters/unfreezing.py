"""Stage B: training a part of the encoder itself, in small steps.

An adapter can only use what a frozen vector still holds. Behind it lie maps and hidden states that hold more;
so one lets go of the layers next to the output, with a learning rate far below that of the first training.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from jaxtyping import UInt8
from open_clip.model import CLIP
from torch import Tensor
from torch.nn import functional as F
from tqdm import trange

from geoclip_lite.adapters.batches import random_rows
from geoclip_lite.adapters.heads import MAX_SCALE
from geoclip_lite.adapters.losses import info_nce
from geoclip_lite.adapters.pairs import Pairs
from geoclip_lite.encoders.mini import MiniClip, embed_tokens, to_input

# How much of a mini is let go, by the beginnings of the names of its weights.
PARTS: dict[str, tuple[str, ...]] = {
    "projections": ("visual.attnpool.c_proj", "text_projection"),
    "last blocks": (
        "visual.attnpool",
        "visual.layer4",
        "text_projection",
        "ln_final",
        "transformer.resblocks.1",
    ),
    "everything": ("",),
}


def unfreeze(
    encoder: MiniClip,
    pixels: UInt8[Tensor, "pairs 3 size size"],
    captions: Sequence[str],
    pairs: Pairs,
    part: str = "last blocks",
    *,
    steps: int = 200,
    batch: int = 128,
    learning_rate: float = 1e-4,
    seed: int = 0,
    progress: bool = True,
) -> MiniClip:
    """A copy of the encoder of which a part was trained on the pairs, by the symmetric contrastive loss.

    Batch norm keeps the statistics of the first training.

    Args:
        pixels, captions: of the pairs.
        pairs: who belongs to whom; their vectors are not used.
        part: a name in `PARTS`.
        learning_rate: of Adam.

    Raises:
        ValueError: an unknown part, or pixels, captions and pairs that do not fit each other.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
    if not len(pixels) == len(captions) == len(pairs):
        sizes = f"{len(pixels)}, {len(captions)} and {len(pairs)}"
        raise ValueError(f"pixels, captions and pairs must be one per pair, got {sizes}")
    model = copy.deepcopy(encoder.model).eval()
    optimizer = torch.optim.Adam(_let_go(model, part), lr=learning_rate)
    tokens, generator = encoder.tokenizer(captions), torch.Generator().manual_seed(seed)
    for _ in trange(steps, desc=f"training {part}", mininterval=2, disable=not progress):
        rows = random_rows(len(pairs), batch, generator)
        images = F.normalize(model.visual(to_input(pixels[rows])), dim=-1)
        texts = F.normalize(embed_tokens(model, tokens[rows]), dim=-1)
        loss = info_nce(images, texts, model.logit_scale.exp(), pairs.match(rows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.logit_scale.data.clamp_(max=MAX_SCALE)
    recipe = encoder.recipe | {"unfrozen": part, "steps": steps, "learning_rate": learning_rate, "seed": seed}
    return MiniClip(f"{encoder.name}, {part} trained", model.requires_grad_(False), encoder.tokenizer, recipe)


def _let_go(model: CLIP, part: str) -> list[Tensor]:
    """Freezes everything but a part and the temperature; returns what is trained."""
    for name, weight in model.named_parameters():
        weight.requires_grad_(name.startswith(PARTS[part]) or name == "logit_scale")
    return [weight for weight in model.parameters() if weight.requires_grad]
