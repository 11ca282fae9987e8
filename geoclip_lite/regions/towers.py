"""Value maps: what each place of a picture says, in the space where captions live.

A CLIP pools its last feature map by attention: the picture's vector is a weighted mean of *values*, one a
place, sent through an output projection. MaskCLIP (Zhou et al., 2022) leaves the weighting out and projects
every value on its own. No training, no new weights: each place gets a vector beside those of the captions.

    ModifiedResNet      attention pool: value and output projection; the last strides may be left out for a
                        finer map
    VisionTransformer   last block without mixing: its values, feed-forward part and projection, per patch
    SigLIP (timm)       the same at its attention pool
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from jaxtyping import Float
from open_clip.modified_resnet import AttentionPool2d, Bottleneck, ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from timm.layers import AttentionPoolLatent
from torch import Tensor, nn
from torch.nn import functional as F

REFINES = (1, 2, 4, 8)  # how much finer a ResNet's map can be: one factor of 2 for each strided layer
KNOWN = (
    "ResNet CLIPs (the minis, RN50, RN101, ...), vision transformers of open_clip (ViT-B-32, ViT-L-14, ...), "
    "SigLIP's and Perception Encoders (ViT-B-16-SigLIP, PE-Core-B-16, ...)"
)

Pixels = Float[Tensor, "images 3 height width"]
Map = Float[Tensor, "images dim rows columns"]


class NoTokensError(ValueError):
    """The image tower has no value path that is known here."""


def value_map(visual: nn.Module, pixels: Pixels, refine: int = 1) -> Map:
    """A vector for every place, not scaled to unit length (means over places then weigh them as they are).

    Args:
        visual: the image tower of an open_clip model, in evaluation mode.
        pixels: preprocessed pictures.
        refine: how many times finer than the tower's own grid, one of its `refinements`.

    Raises:
        NoTokensError: a tower of another kind; the message says which have a value path.
        ValueError: a `refine` that the tower cannot do.
    """
    possible = refinements(visual)
    if refine not in possible:
        raise ValueError(
            f"refine must be one of {possible} for this {type(visual).__name__}, got {refine} (only ResNets, "
            "which shrink their map step by step, can do without a step)"
        )
    if isinstance(visual, ModifiedResNet):
        return _resnet_map(visual, pixels, refine)
    return _transformer_map(visual, pixels) if _is_plain(visual) else _latent_map(visual, pixels)


def refinements(visual: nn.Module) -> tuple[int, ...]:
    """How much finer than its own grid a tower's value map can be.

    Raises:
        NoTokensError: a tower without a value path that is known here.
    """
    if isinstance(visual, ModifiedResNet) and isinstance(visual.attnpool, AttentionPool2d):
        return REFINES
    if _is_plain(visual) or _pools_by_latent(visual):
        return (1,)
    raise NoTokensError(
        f"no value path is known for an image tower of type {type(visual).__name__}; there is one for "
        f"{KNOWN}. regions.crops works with every encoder"
    )


# --- ResNets --------------------------------------------------------------------------------------


def _resnet_map(visual: ModifiedResNet, pixels: Pixels, refine: int) -> Map:
    x = visual.layer1(visual.stem(pixels))
    strided = [visual.layer2, visual.layer3, visual.layer4]
    kept = len(strided) - REFINES.index(refine)
    for layer in strided[:kept] + [unstrided(layer) for layer in strided[kept:]]:
        x = layer(x)
    pool = visual.attnpool
    values = pool.c_proj(pool.v_proj(x.flatten(2).mT))
    return values.mT.unflatten(2, x.shape[2:])


def unstrided(layer: Sequence[Bottleneck]) -> nn.Sequential:
    """A copy of a layer that does not shrink its map.

    CLIP's ResNets shrink by average pools, and their convolutions have no stride. Without a pool the same
    filters run over a map that is twice as fine; those of later layers then see half as much of the picture.
    """
    finer = deepcopy(layer)
    for block in finer:
        block.avgpool = nn.Identity()
        if block.downsample is not None:
            block.downsample[0] = nn.Identity()
    return finer


# --- transformers ---------------------------------------------------------------------------------


def _is_plain(visual: nn.Module) -> bool:
    return (
        isinstance(visual, VisionTransformer)
        and visual.attn_pool is None
        and type(visual.transformer.resblocks[-1]) is ResidualAttentionBlock
    )


def _transformer_map(visual: VisionTransformer, pixels: Pixels) -> Map:
    """The last block as it is, but each patch attends to itself alone."""
    *before, last = visual.transformer.resblocks
    x = visual._embeds(pixels)
    for block in before:
        x = block(x)
    _, _, weight = last.attn.in_proj_weight.chunk(3)
    _, _, bias = last.attn.in_proj_bias.chunk(3)
    x = x + last.ls_1(last.attn.out_proj(F.linear(last.ln_1(x), weight, bias)))
    x = x + last.ls_2(last.mlp(last.ln_2(x)))
    patches = visual.ln_post(x)[:, 1:] @ visual.proj  # without the class token
    return patches.mT.unflatten(2, visual.grid_size)


def _pools_by_latent(visual: nn.Module) -> bool:
    trunk = getattr(visual, "trunk", None) if isinstance(visual, TimmModel) else None
    return isinstance(getattr(trunk, "attn_pool", None), AttentionPoolLatent)


def _latent_map(visual: TimmModel, pixels: Pixels) -> Map:
    """SigLIP's pool, with each patch's value in place of the weighted mean."""
    trunk, pool = visual.trunk, visual.trunk.attn_pool
    x = trunk.forward_features(pixels)[:, trunk.num_prefix_tokens :]
    if pool.pos_embed is not None:
        x = x + pool.pos_embed.to(x.dtype)
    x = pool.proj(pool.kv(x).chunk(2, dim=-1)[1])
    if pool.mlp is not None:
        x = x + pool.mlp(pool.norm(x))
    patches = visual.head(trunk.head(trunk.fc_norm(x)))
    return patches.mT.unflatten(2, trunk.patch_embed.dynamic_feat_size(pixels.shape[2:]))
