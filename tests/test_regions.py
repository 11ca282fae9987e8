"""Regions: value maps written out by hand, loops over windows, brute force over matchings; what is refused.

A value is what a tower's pool would return if it saw one place alone. That is how the maps are checked:
pools of open_clip and timm are shown single places, and attention is masked to itself.
"""

import sys
from collections import Counter
from copy import deepcopy
from functools import partial
from itertools import permutations, product
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from near_ties import assert_same_ranking
from open_clip.model import _build_vision_tower
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import QuickGELU, VisionTransformer
from PIL import Image, ImageOps
from timm.models.vision_transformer import VisionTransformer as TimmTransformer
from torch import nn
from torch.nn import functional as F
from torch.nn.functional import normalize
from torch.testing import assert_close

from geoclip_lite.datasets import clevr_like, shapes
from geoclip_lite.encoders import Stored, load_encoder
from geoclip_lite.encoders.pretrained import OpenClipEncoder
from geoclip_lite.regions import (
    Centring,
    NoTokensError,
    RegionIndex,
    Regions,
    crops,
    listed_phrases,
    mix,
    noun_phrases,
    phrase_sets,
    refinements,
    rerank,
    to_tensor,
    value_map,
    value_regions,
    vision_tower,
)
from geoclip_lite.regions import phrases as phrases_module
from geoclip_lite.regions import search as search_module
from geoclip_lite.regions.tokens import window_boxes
from geoclip_lite.retrieval import Ranking, shortlist
from geoclip_lite.transport import PointSets

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
MATCHERS = ("assignment", "max-sim")
TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 48, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 99, "width": 64, "heads": 1, "layers": 1},
}
few = settings(max_examples=20, deadline=None)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def mini():
    return load_encoder("mini-single", device="cpu")


@pytest.fixture(scope="module")
def transformer():
    """A random open_clip model of 48 x 48 pixels and 3 x 3 patches."""
    torch.manual_seed(0)
    model = open_clip.CLIP(**TINY)
    model.visual.preprocess_cfg = {"size": 48, "mode": "RGB"}
    encoder = OpenClipEncoder("tiny", "ViT-B-32", model, tokenizer=None)
    encoder.dim = TINY["embed_dim"]
    return encoder


def randomised(tower, seed=0):
    """In double precision, with noise where an initialisation is constant: norms, biases, statistics."""
    generator = torch.Generator().manual_seed(seed)
    for vector in [p for p in tower.parameters() if p.ndim == 1]:
        vector.add_(0.3 * torch.randn(vector.shape, generator=generator))
    for norm in [m for m in tower.modules() if isinstance(m, nn.BatchNorm2d)]:
        norm.running_mean.add_(0.3 * torch.randn(norm.num_features, generator=generator))
        norm.running_var.mul_(0.5 + torch.rand(norm.num_features, generator=generator))
    return tower.double().eval()


def pixels_of(side, count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, side, side, generator=generator, dtype=torch.float64)


def picture(width, height, mode="RGB", seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def unit(*shape, seed=0):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


# --- ResNets --------------------------------------------------------------------------------------


def resnet(layers=(1, 2, 1, 2), side=64):
    torch.manual_seed(0)
    return randomised(ModifiedResNet(layers, output_dim=12, heads=4, image_size=side, width=8))


def batch_norm(norm, x):
    mean, var, weight, bias = (
        t[:, None, None] for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x - mean) / (var + norm.eps).sqrt() * weight + bias


def written_out(visual, pixels, refine):
    """The value map in operations; layers count their strides from the end."""
    x = pixels
    for number, stride in ((1, 2), (2, 1), (3, 1)):
        convolution, norm = getattr(visual, f"conv{number}"), getattr(visual, f"bn{number}")
        x = batch_norm(norm, F.conv2d(x, convolution.weight, stride=stride, padding=1)).relu()
    x = F.avg_pool2d(x, 2)
    for number in (1, 2, 3, 4):
        for place, block in enumerate(getattr(visual, f"layer{number}")):
            shrinks = place == 0 and number > 1 and refine < 2 ** (5 - number)
            pool = partial(F.avg_pool2d, kernel_size=2) if shrinks else lambda y: y
            y = batch_norm(block.bn1, F.conv2d(x, block.conv1.weight)).relu()
            y = pool(batch_norm(block.bn2, F.conv2d(y, block.conv2.weight, padding=1)).relu())
            y = batch_norm(block.bn3, F.conv2d(y, block.conv3.weight))
            if block.downsample is not None:
                _, convolution, norm = block.downsample
                x = batch_norm(norm, F.conv2d(pool(x), convolution.weight))
            x = (x + y).relu()
    v, c = visual.attnpool.v_proj, visual.attnpool.c_proj
    values = torch.einsum("ec,ncij->neij", v.weight, x) + v.bias[:, None, None]
    return torch.einsum("de,neij->ndij", c.weight, values) + c.bias[:, None, None]


@pytest.mark.parametrize("refine", [1, 2, 4, 8])
@pytest.mark.parametrize("layers", [(1, 1, 1, 1), (1, 2, 1, 2), (2, 1, 3, 1)])
def test_resnet_map_is_written_out(layers, refine):
    visual, pixels = resnet(layers), pixels_of(64)
    found = value_map(visual, pixels, refine)
    assert found.shape == (2, 12, 2 * refine, 2 * refine)
    assert_close(found, written_out(visual, pixels, refine))


@pytest.mark.parametrize("refine", [1, 2, 4, 8])
def test_mini_map_is_written_out(mini, refine):
    visual, pixels = deepcopy(mini.model.visual).double(), pixels_of(64)
    found = value_map(visual, pixels, refine)
    assert found.shape == (2, 128, 2 * refine, 2 * refine)
    assert_close(found, written_out(visual, pixels, refine))


def test_rn50_has_a_map():
    torch.manual_seed(0)
    visual = _build_vision_tower(1024, open_clip.get_model_config("RN50")["vision_cfg"])
    visual, pixels = randomised(visual).float(), pixels_of(224, count=1).float()
    assert value_map(visual, pixels).shape == (1, 1024, 7, 7)
    assert value_map(visual, pixels, refine=2).shape == (1, 1024, 14, 14)


def test_pool_without_weighting_is_the_mean_of_the_map():
    """Where all places weigh the same, the pool is the mean over [mean token, places], so over places."""
    visual, pixels = resnet(), pixels_of(64)
    pool = visual.attnpool
    for tensor in (*pool.q_proj.parameters(), *pool.k_proj.parameters(), pool.positional_embedding):
        tensor.zero_()
    assert_close(visual(pixels), value_map(visual, pixels).mean((2, 3)))


def test_pool_over_one_place_is_its_value():
    """Whatever queries and keys are: mean token and place are the same, and so are their values."""
    visual, pixels = resnet(), pixels_of(64)
    x = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(pixels)))))
    alone = AttentionPool2d(1, embed_dim=256, num_heads=4, output_dim=12).double()
    weights = visual.attnpool.state_dict() | {
        "positional_embedding": torch.zeros(2, 256, dtype=torch.float64)
    }
    alone.load_state_dict(weights)
    found = value_map(visual, pixels)
    for row, column in product(range(2), range(2)):
        assert_close(found[:, :, row, column], alone(x[:, :, row : row + 1, column : column + 1]))


def test_a_map_averages_to_the_coarser_one_where_nothing_is_clipped():
    """In the last block a pool is followed by linear layers and a ReLU; here the ReLU lets all through."""
    visual, pixels = resnet((1, 1, 1, 1)), pixels_of(64)
    visual.layer4[0].bn3.bias.add_(1000)
    fine, coarse = value_map(visual, pixels, refine=2), value_map(visual, pixels)
    assert_close(F.avg_pool2d(fine, 2), coarse)


def test_refining_leaves_the_tower_as_it_was():
    visual, pixels = resnet(), pixels_of(64)
    before, kinds, output = deepcopy(visual.state_dict()), str(visual), visual(pixels)
    value_map(visual, pixels, refine=8)
    assert str(visual) == kinds
    assert all(torch.equal(tensor, before[name]) for name, tensor in visual.state_dict().items())
    assert torch.equal(visual(pixels), output)


@pytest.mark.parametrize("refine", [0, 3, -1, 16])
def test_resnet_refuses_other_refinements(refine):
    with pytest.raises(ValueError, match=rf"refine must be .*1, 2, 4, 8.*ModifiedResNet, got {refine}"):
        value_map(resnet(), pixels_of(64), refine)


# --- transformers ---------------------------------------------------------------------------------


class Alone(nn.Module):
    """A block in which every token may look at itself only, by the mask that attention has for that."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x, attn_mask=None):
        shut = torch.full((x.shape[1], x.shape[1]), -torch.inf, dtype=x.dtype)
        return self.block(x, attn_mask=shut.fill_diagonal_(0))


def masked(visual):
    visual = deepcopy(visual)
    visual.transformer.resblocks[-1] = Alone(visual.transformer.resblocks[-1])
    return visual


def vit(**options):
    torch.manual_seed(0)
    size = {"image_size": 48, "patch_size": 16, "width": 32, "layers": 3, "heads": 4, "mlp_ratio": 2.0}
    return randomised(VisionTransformer(**(size | {"output_dim": 12} | options)))


VITS = {
    "plain": {},
    "layer scale": {"ls_init_value": 0.1},
    "QuickGELU": {"act_layer": QuickGELU},
    "average": {"pool_type": "avg"},
    "norm behind the average": {"pool_type": "avg", "final_ln_after_pool": True},
    "no first norm": {"no_ln_pre": True, "pos_embed_type": "sin_cos_2d"},
    "one layer": {"layers": 1},
    "not square": {"image_size": (32, 48)},
    "patch dropout, of training": {"patch_dropout": 0.5},
}


@pytest.mark.parametrize("kind", VITS)
def test_transformer_map_is_a_last_block_masked_to_itself(kind):
    visual = vit(**VITS[kind])
    pixels = pixels_of(48)[:, :, : visual.image_size[0]]
    reference = masked(visual)
    reference.output_tokens = True
    pooled, tokens = reference(pixels)
    tokens = visual.ln_post(tokens) if visual.final_ln_after_pool else tokens
    wanted = (tokens @ visual.proj).mT.unflatten(2, visual.grid_size)
    found = value_map(visual, pixels)
    assert found.shape == (2, 12, visual.image_size[0] // 16, 3)
    assert_close(found, wanted)
    if kind == "average":  # a mean of projections is the projection of the mean
        assert_close(found.mean((2, 3)), pooled)


def test_the_masked_block_is_another_than_the_towers_own():
    visual, pixels = vit(pool_type="avg"), pixels_of(48)
    assert (visual(pixels) - masked(visual)(pixels)).abs().max() > 0.01


@pytest.mark.parametrize("name", ["ViT-B-32-quickgelu", "ViT-B-16", "ViT-L-14", "ViT-L-14-CLIPA"])
def test_architectures_of_open_clip_are_built_as_here(name):
    config = open_clip.get_model_config(name)
    small = config["vision_cfg"] | {"layers": 2, "width": 64, "head_width": 16, "image_size": 56}
    torch.manual_seed(0)
    visual = randomised(_build_vision_tower(12, small, quick_gelu=config.get("quick_gelu", False)))
    pixels = pixels_of(56)
    grid = 56 // small["patch_size"]
    reference = masked(visual)
    reference.output_tokens = True
    tokens = reference(pixels)[1]
    tokens = visual.ln_post(tokens) if visual.final_ln_after_pool else tokens
    found = value_map(visual, pixels)
    assert found.shape == (2, 12, grid, grid)
    assert_close(found.flatten(2).mT, tokens @ visual.proj)


def one_by_one(visual, pixels):
    """The pool and what follows it, over one patch at a time."""
    trunk = visual.trunk
    tokens = trunk.forward_features(pixels)[:, trunk.num_prefix_tokens :]
    alone = [visual.head(trunk.forward_head(token[:, None])) for token in tokens.unbind(1)]
    return torch.stack(alone, dim=2)


def latent(**options):
    """TimmModel around a small SigLIP."""
    torch.manual_seed(0)
    visual = TimmModel("test_vit", embed_dim=12, image_size=48, pool="avg", proj="none")
    size = {"img_size": 48, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 4}
    siglips = {"global_pool": "map", "class_token": False, "num_classes": 0}
    visual.trunk = TimmTransformer(**(size | siglips | options))
    return randomised(visual)


LATENTS = {
    "SigLIP": {},
    "class token": {"class_token": True},
    "registers": {"class_token": True, "reg_tokens": 3},
    "classifier": {"num_classes": 12},
    "norm behind the pool": {"fc_norm": True},
}


@pytest.mark.parametrize("kind", LATENTS)
def test_latent_map_is_the_pool_over_one_patch_at_a_time(kind):
    visual, pixels = latent(**LATENTS[kind]), pixels_of(48)
    visual.trunk.pool_include_prefix = True  # else a head would take a single patch for a class token
    found = value_map(visual, pixels)
    assert found.shape[2:] == (3, 3)
    assert_close(found.flatten(2), one_by_one(visual, pixels))


def test_latent_map_of_a_head_that_projects():
    visual, pixels = latent(), pixels_of(48)
    visual.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(32, 12, dtype=torch.float64)).eval()
    assert_close(value_map(visual, pixels).flatten(2), one_by_one(visual, pixels))


def test_latent_map_adds_the_pools_own_positions():
    """Single patches would all get position 0, so each is shown with the position that it has."""
    visual, pixels = latent(), pixels_of(48)
    without = value_map(visual, pixels)
    pool, tokens = visual.trunk.attn_pool, visual.trunk.forward_features(pixels)
    positions = torch.randn(9, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    wanted = torch.stack([pool((tokens + positions)[:, i : i + 1]) for i in range(9)], dim=2)
    pool.pos_embed = nn.Parameter(positions)
    assert_close(value_map(visual, pixels).flatten(2), wanted)
    assert not torch.allclose(value_map(visual, pixels), without)


@pytest.mark.parametrize(
    ("name", "patch"), [("ViT-B-16-SigLIP", 16), ("ViT-B-32-SigLIP2-256", 32), ("PE-Core-T-16-384", 16)]
)
def test_latent_map_of_real_architectures(name, patch):
    config = open_clip.get_model_config(name)
    torch.manual_seed(0)
    visual = _build_vision_tower(config["embed_dim"], config["vision_cfg"])
    side = config["vision_cfg"]["image_size"]
    visual, pixels = randomised(visual).float(), pixels_of(side, count=1).float()
    found = value_map(visual, pixels)
    assert found.shape == (1, config["embed_dim"], side // patch, side // patch)
    assert_close(found.flatten(2), one_by_one(visual, pixels), atol=1e-4, rtol=1e-4)


def test_latent_map_of_a_picture_that_is_not_square():
    visual = latent(img_size=(32, 128))
    pixels = pixels_of(128)[:, :, :32]
    found = value_map(visual, pixels)
    assert found.shape == (2, 32, 2, 8)
    assert_close(found.flatten(2), one_by_one(visual, pixels))


def others():
    pooler = {"attentional_pool": True, "attn_pooler_queries": 4, "attn_pooler_heads": 4}
    return {
        "VisionTransformer": vit(**pooler),  # CoCa's
        "VisionTransformer of other blocks": vit(qk_norm=True),
        "TimmModel": TimmModel("test_convnext", embed_dim=12, image_size=64, pool="avg"),
        "Linear": nn.Linear(3, 3),
    }


@pytest.mark.parametrize("refine", [1, 2])
def test_other_towers_are_refused_with_names_of_those_that_work(refine):
    for kind, visual in others().items():
        pixels = torch.zeros(1, 3, 48, 48)
        named = rf"type {kind.split()[0]}; .*RN50.*ViT-B-32.*ViT-B-16-SigLIP.*regions\.crops"
        with pytest.raises(NoTokensError, match=named):
            value_map(visual, pixels, refine)


def test_a_resnet_without_attention_pool_is_refused():
    visual = resnet()
    visual.attnpool = nn.AdaptiveAvgPool2d(1)
    with pytest.raises(NoTokensError, match="type ModifiedResNet"):
        value_map(visual, pixels_of(64))


@pytest.mark.parametrize("refine", [2, 0])
def test_transformers_cannot_be_refined(refine):
    for visual in (vit(), latent()):
        with pytest.raises(ValueError, match=r"refine must be .*1.*only ResNets") as caught:
            value_map(visual, pixels_of(48), refine)
        assert f"{type(visual).__name__}, got {refine}" in str(caught.value)


def test_what_can_be_refined_is_known_beforehand():
    assert refinements(resnet()) == (1, 2, 4, 8)
    assert refinements(vit()) == refinements(latent()) == (1,)
    for visual in others().values():
        with pytest.raises(NoTokensError, match="no value path is known"):
            refinements(visual)


# --- regions of value maps ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "columns", "window"), [(1, 1, 1), (2, 3, 1), (2, 3, 2), (4, 4, 3), (5, 4, 4)]
)
def test_windows_lie_where_a_loop_puts_them(rows, columns, window):
    wanted = [
        [left / columns, top / rows, (left + window) / columns, (top + window) / rows]
        for top in range(rows - window + 1)
        for left in range(columns - window + 1)
    ]
    assert_close(window_boxes(rows, columns, window), torch.tensor(wanted))


def looped(cells, window):
    """Images x windows x dim, row by row."""
    rows, columns = cells.shape[2] - window + 1, cells.shape[3] - window + 1
    windows = [
        cells[:, :, i : i + window, j : j + window].mean((2, 3)) for i in range(rows) for j in range(columns)
    ]
    return torch.stack([w / w.norm(dim=1, keepdim=True) for w in windows], dim=1)


@pytest.mark.parametrize(("refine", "window"), [(1, 1), (1, 2), (2, 3), (4, 2), (8, 1)])
def test_regions_of_a_mini_are_means_over_windows(mini, refine, window):
    images = [picture(64, 64, seed=seed) for seed in range(3)]
    bytes_ = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])
    cells = value_map(mini.model.visual, bytes_ / 64 - 2, refine)
    found = value_regions(mini, images, refine=refine, window=window, progress=False)
    assert_close(found.vectors, looped(cells, window), atol=1e-5, rtol=1e-4)
    assert_close(found.boxes, window_boxes(2 * refine, 2 * refine, window))
    assert (len(found), found.vectors.dtype) == (3, torch.float32)


@pytest.mark.parametrize("window", [1, 2, 3])
def test_regions_of_a_transformer_are_means_over_windows(transformer, window):
    images = [picture(90, 48, "RGBA"), picture(30, 77, "L")]
    pixels = torch.stack([transformer.preprocess(image) for image in images])
    cells = value_map(transformer.model.visual, pixels)
    found = value_regions(transformer, images, window=window)
    assert_close(found.vectors, looped(cells, window), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_batches_do_not_change_regions(mini, transformer, batch):
    images = [picture(40 + seed, 64, seed=seed) for seed in range(5)]
    for encoder in (mini, transformer):
        for regions_of in (partial(value_regions, window=2), partial(crops, scales=(1, 2))):
            found, wanted = regions_of(encoder, images, batch=batch), regions_of(encoder, images)
            assert_close(found.vectors, wanted.vectors, atol=1e-6, rtol=0)
            assert torch.equal(found.boxes, wanted.boxes)


@pytest.mark.parametrize(
    "image",
    [picture(3, 5), picture(5, 3, "L"), picture(64, 64, "RGBA"), picture(1, 1), picture(200, 31, "P")],
)
def test_pictures_of_any_size_and_mode(mini, transformer, image):
    seen = ImageOps.fit(image.convert("RGB"), (64, 64))
    assert torch.equal(value_regions(mini, [image]).vectors, value_regions(mini, [seen]).vectors)
    for regions in (crops(mini, [image]), value_regions(transformer, [image]), crops(transformer, [image])):
        lengths = regions.vectors.norm(dim=2)
        assert_close(lengths, torch.ones_like(lengths))


def test_regions_lie_where_their_boxes_say(mini):
    """Where a quarter of an empty picture is filled, the regions of that quarter change most."""
    empty = Image.new("RGB", (64, 64), "white")
    for left, top in product((0, 1), repeat=2):
        filled = empty.copy()
        filled.paste(picture(32, 32), (32 * left, 32 * top))
        pair = value_regions(mini, [empty, filled], refine=4)
        changed = 1 - (pair.vectors[0] * pair.vectors[1]).sum(1)
        quarter = (pair.centres > 0.5).long() @ torch.tensor([1, 2])
        means = [float(changed[quarter == number].mean()) for number in range(4)]
        assert int(np.argmax(means)) == left + 2 * top


def test_towers_and_their_input_are_at_hand(mini, transformer, tmp_path):
    images = [picture(64, 64), picture(40, 90, "L")]
    assert vision_tower(mini) is vision_tower(Stored(mini, tmp_path)) is mini.model.visual
    assert vision_tower(transformer) is transformer.model.visual
    for encoder in (mini, Stored(mini, tmp_path), transformer):
        vectors = normalize(vision_tower(encoder)(to_tensor(encoder, images)), dim=1)
        assert_close(vectors, encoder.encode_images(images), atol=1e-6, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_regions_come_back_to_the_cpu_and_depend_little_on_the_device(mini, device):
    images = [picture(64, 64, seed=seed) for seed in range(2)]
    found = value_regions(load_encoder("mini-single", device=device), images, refine=2)
    assert found.vectors.device.type == found.boxes.device.type == "cpu"
    assert_close(found.vectors, value_regions(mini, images, refine=2).vectors, atol=1e-2, rtol=0)


def test_a_store_is_looked_through(mini, tmp_path):
    images, stored = [picture(64, 50), picture(20, 64)], Stored(mini, tmp_path)
    found = value_regions(stored, images, refine=2, window=2)
    assert torch.equal(found.vectors, value_regions(mini, images, refine=2, window=2).vectors)
    for _ in range(2):
        assert_close(crops(stored, images).vectors, crops(mini, images).vectors, atol=1e-6, rtol=0)


def test_an_encoder_without_model_is_refused():
    for of in (vision_tower, partial(value_regions, images=[picture(64, 64)])):
        with pytest.raises(NoTokensError, match=r"words .*no value map; use regions\.crops"):
            of(SimpleNamespace(name="words"))


@pytest.mark.parametrize("of", [value_regions, crops])
def test_no_images_are_refused(mini, of):
    with pytest.raises(ValueError, match="at least one picture"):
        of(mini, [])


@pytest.mark.parametrize("window", [0, 3, -1])
def test_windows_must_fit_the_map(mini, window):
    with pytest.raises(ValueError, match=f"window must be 1 to 2, the map is 2 x 2, got {window}"):
        value_regions(mini, [picture(64, 64)], window=window)


def test_regions_must_fit_their_boxes():
    boxes = window_boxes(2, 2, 1)
    for vectors in (unit(3, 5, 8), unit(4, 8), torch.empty(0, 4, 8)):
        with pytest.raises(ValueError, match="with a box per region"):
            Regions(vectors, boxes)


def test_some_pictures_and_centres():
    regions = Regions(unit(5, 4, 8), window_boxes(2, 2, 1))
    some = regions.of([4, 0])
    assert torch.equal(some.vectors, regions.vectors[[4, 0]])
    assert torch.equal(some.boxes, regions.boxes)
    assert torch.equal(regions.of(torch.tensor([2])).vectors, regions.vectors[2:3])
    assert regions.centres.tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


# --- crops ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scales", [(1,), (2,), (3,), (2, 3), (1, 4)])
@pytest.mark.parametrize("size", [(48, 48), (80, 48), (48, 71)])
def test_crops_are_cut_and_encoded_by_hand(mini, transformer, scales, size):
    images = [picture(*size), picture(*size, "L", seed=1)]
    for encoder in (mini, transformer):
        wanted, boxes = [], []
        for image in images:
            square = ImageOps.fit(image, (48, 48))
            for scale in scales:
                step = 48 // scale // 2
                for top, left in product(range(0, 48 - step, step), repeat=2):
                    box = (left, top, left + 2 * step, top + 2 * step)
                    wanted.append(square.crop(box))
                    boxes.append([side / 48 for side in box])
        found = crops(encoder, images, scales=scales)
        regions = sum((2 * scale - 1) ** 2 for scale in scales)
        assert found.vectors.shape == (2, regions, encoder.dim)
        assert_close(found.boxes, torch.tensor(boxes[:regions]))
        assert_close(found.vectors.flatten(0, 1), encoder.encode_images(wanted), atol=1e-6, rtol=0)


def test_the_whole_picture_is_the_pictures_vector(mini, transformer):
    images = [picture(64, 64), picture(30, 30, "L")]
    for encoder in (mini, transformer):
        found = crops(encoder, images, scales=(1,))
        assert_close(found.vectors[:, 0], encoder.encode_images(images), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("side", "scale"), [(1, 3), (2, 4), (3, 3), (5, 7)])
def test_crops_of_tiny_pictures_stay_inside(mini, side, scale):
    found = crops(mini, [Image.new("RGB", (side, side), "white")], scales=(scale,))
    assert_close(found.vectors, found.vectors[:, :1].expand_as(found.vectors), atol=1e-6, rtol=0)


@pytest.mark.parametrize("scales", [(), (0,), (2, -1)])
def test_scales_that_cannot_be_are_refused(mini, scales):
    with pytest.raises(ValueError, match="whole numbers of at least 1"):
        crops(mini, [picture(64, 64)], scales=scales)


# --- centring -------------------------------------------------------------------------------------


def test_centring_takes_off_the_means():
    phrases, regions = unit(7, 6), Regions(unit(3, 4, 6, seed=1), window_boxes(2, 2, 1))
    centring = Centring.fit(phrases, regions)
    mean = sum(phrases) / 7
    assert_close(centring.phrases(phrases), torch.stack([(p - mean) / (p - mean).norm() for p in phrases]))
    mean = sum(regions.vectors.flatten(0, 1)) / 12
    found = centring.regions(regions)
    for i, j in product(range(3), range(4)):
        moved = regions.vectors[i, j] - mean
        assert_close(found.vectors[i, j], moved / moved.norm())
    assert torch.equal(found.boxes, regions.boxes)


def test_centred_vectors_have_length_one():
    phrases, regions = unit(7, 6), Regions(unit(3, 4, 6, seed=1), window_boxes(2, 2, 1))
    centring = Centring.fit(phrases, regions)
    others = Regions(unit(9, 4, 6, seed=2), regions.boxes)
    assert_close(centring.phrases(unit(5, 6, seed=3)).norm(dim=1), torch.ones(5))
    assert_close(centring.regions(others).vectors.norm(dim=2), torch.ones(9, 4))


def test_sets_of_phrases_are_centred_phrase_by_phrase():
    queries = sets_of_size(1, 3, 2)
    centring = Centring.fit(unit(7, 6), fake_regions(3))
    found = centring.phrase_sets(queries)
    assert torch.equal(found.sizes, queries.sizes)
    for i in range(3):
        assert_close(found[i], centring.phrases(queries[i]))


def test_a_cone_shared_by_all_is_gone():
    """A constant added to all phrases, and another to all regions, changes no centred cosine."""

    def cosines(up, aside):
        moved, shown = phrases + up, Regions(regions + aside, window_boxes(2, 2, 1))
        centring = Centring.fit(moved, shown)
        return centring.regions(shown).vectors @ centring.phrases(moved).T

    phrases, regions = unit(7, 6), unit(3, 4, 6, seed=1)
    up, aside = unit(2, 6, seed=2)
    assert_close(cosines(up, aside), cosines(0 * up, 0 * aside), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("side", ["phrases", "regions"])
def test_what_is_nothing_but_the_mean_is_refused(side):
    """It has no direction left: to go on with a zero vector would break the promise of unit rows."""
    phrases, regions = unit(7, 6), Regions(unit(1, 1, 6, seed=1), window_boxes(1, 1, 1))
    centring = Centring.fit(phrases[:1], regions)
    with pytest.raises(ValueError, match="non-zero length"):
        centring.phrases(phrases[:1]) if side == "phrases" else centring.regions(regions)


# --- phrases of lists -----------------------------------------------------------------------------


@pytest.mark.parametrize("world", [shapes, clevr_like])
def test_captions_of_the_worlds_are_lists_of_their_objects(world):
    for scene in [*world.evaluation_scenes()[:200], *world.validation_scenes()[:50]]:
        assert Counter(listed_phrases(scene.caption)) == Counter(thing.phrase for thing in scene.objects)


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("red cube", ["red cube"]),
        ("a photo of a red cube", ["red cube"]),
        ("A Photo Of The Red cube, An orange AND a Blue ball", ["Red cube", "orange", "Blue ball"]),
        ("  a red cube and a red cube. ", ["red cube", "red cube"]),
        ("an image of a cat, a dog, and two small birds.", ["cat", "dog", "two small birds"]),
        ("the cat ,the dog", ["cat", "dog"]),
        ("an anthracite andiron, a sandy thermos", ["anthracite andiron", "sandy thermos"]),
        ("“a cat”, (a dog),", ["cat", "dog"]),
        ("a basin, an onyx ring", ["basin", "onyx ring"]),  # words that hold a tie are no ties
    ],
)
def test_lists_are_taken_apart(caption, phrases):
    assert listed_phrases(caption) == phrases


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("a cat on a mat", "'on' in 'cat on a mat'"),
        ("a dog with a hat", "'with'"),
        ("a red cube, a ball Left of a cube", "'of'"),
        ("a dog that is asleep", "'that'"),
        ("", "an empty phrase"),
        (" . ", "an empty phrase"),
        ("a, , b", "an empty phrase"),
        ("a cat and and a dog", ""),
        ("a photo of a", "an empty phrase"),
        ("the, a cat", "an empty phrase"),
    ],
)
def test_what_is_no_list_is_refused(caption, found):
    with pytest.raises(ValueError, match=rf"no list of objects \(.*{found}.*noun_phrases"):
        listed_phrases(caption)


# --- phrases of free text -------------------------------------------------------------------------


class Chunk(list):
    """Stands in for a noun chunk of spaCy; its root is its last word."""

    root = property(lambda self: self[-1])


def parsed(*chunks):
    """A parser that finds these chunks, written as "the/DET red/ADJ cube/NOUN"."""
    words = [
        Chunk(SimpleNamespace(text=w.split("/")[0], pos_=w.split("/")[1]) for w in chunk.split())
        for chunk in chunks
    ]
    return lambda text: SimpleNamespace(noun_chunks=iter(words))


def test_determiners_and_pronouns_are_left_out():
    parse = parsed(
        "It/PRON", "the/DET red/ADJ cube/NOUN", "all/DET", "Rome/PROPN", "two/NUM the/DET men/NOUN"
    )
    assert noun_phrases("...", parse) == ["red cube", "Rome", "two men"]


@pytest.mark.parametrize("chunks", [(), ("it/PRON",), ("those/DET",)])
def test_text_without_noun_phrases_is_refused(chunks):
    with pytest.raises(ValueError, match="no noun phrase in 'over there'"):
        noun_phrases("over there", parsed(*chunks))


def test_without_spacy_the_extra_is_named(monkeypatch):
    phrases_module._english.cache_clear()
    monkeypatch.setattr(phrases_module, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "geoclip-lite\[nlp\]"'):
        noun_phrases("a cat on a mat")


def test_spacys_model_is_loaded_once_or_named(monkeypatch):
    phrases_module._english.cache_clear()
    loaded, there = [], False
    spacy = SimpleNamespace(
        util=SimpleNamespace(is_package=lambda name: there),
        load=lambda name: loaded.append(name) or parsed("a/DET cat/NOUN"),
    )
    monkeypatch.setattr(phrases_module, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "spacy", spacy)
    with pytest.raises(ImportError, match="python -m spacy download en_core_web_sm"):
        noun_phrases("a cat")
    there = True
    assert noun_phrases("a cat") == ["cat"]
    phrases_module._english()
    assert loaded == ["en_core_web_sm"]
    phrases_module._english.cache_clear()


# --- sets of phrases ------------------------------------------------------------------------------


def test_every_phrase_is_encoded_once_and_in_order():
    asked = []

    def encode(phrases):
        asked.append(phrases)
        return torch.eye(3)[: len(phrases)]

    sets = phrase_sets(["a red cube, a ball", "a ball", "a cat and a ball, a cat"], encode)
    assert asked == [["red cube", "ball", "cat"]]
    assert [sets[i].argmax(1).tolist() for i in range(3)] == [[0, 1], [1], [2, 1, 2]]
    assert sets.vectors.shape == (6, 3)


def test_phrases_come_from_any_parser():
    sets = phrase_sets(["cat/mat", "mat"], lambda phrases: torch.eye(2), parse=lambda text: text.split("/"))
    assert [sets[i].argmax(1).tolist() for i in range(2)] == [[0, 1], [1]]


def test_captions_that_cannot_be_parsed_are_refused():
    with pytest.raises(ValueError, match="'a cat on a mat' is no list"):
        phrase_sets(["a cat", "a cat on a mat"], lambda phrases: torch.eye(2))


# --- reranking ------------------------------------------------------------------------------------


def sets_of_size(*sizes, seed=0, dim=6):
    return PointSets.of([unit(n, dim, seed=seed + 100 * i) for i, n in enumerate(sizes)])


def fake_regions(images, regions=4, seed=1, dim=6):
    return Regions(unit(images, regions, dim, seed=seed), window_boxes(regions, 1, 1))


def one_to_one(cosines):
    """The best sum over all ways to give phrases regions of their own, divided by all phrases."""
    n, m = cosines.shape
    if n > m:
        return max(sum(cosines[i, j] for j, i in enumerate(way)) for way in permutations(range(n), m)) / n
    return max(sum(cosines[i, j] for i, j in enumerate(way)) for way in permutations(range(m), n)) / n


def by_hand(matcher, phrases, regions):
    cosines = (phrases.double() @ regions.double().T).numpy()
    return cosines.max(1).mean() if matcher == "max-sim" else one_to_one(cosines)


def every_score(matcher, queries, regions):
    """Queries x pictures."""
    rows = [[by_hand(matcher, queries[q], shown) for shown in regions] for q in range(len(queries))]
    return torch.tensor(rows, dtype=torch.float32)


def spread(ranking):
    """Scores in the order of the gallery; NaN for what was not ranked."""
    blank = torch.full((len(ranking.scores), ranking.gallery_size), torch.nan)
    return blank.scatter(1, ranking.indices, ranking.scores.float())


def chosen(queries, pictures, k, seed=5):
    """A first stage at random."""
    scores = torch.randn(queries, pictures, generator=torch.Generator().manual_seed(seed))
    return Ranking.of_scores(scores, k)


@pytest.mark.parametrize("matcher", MATCHERS)
@pytest.mark.parametrize("regions", [1, 2, 4, 5])
def test_rerank_is_brute_force(matcher, regions):
    queries, gallery = sets_of_size(1, 2, 3, 4, 4), fake_regions(9, regions)
    first = chosen(5, 9, 6)
    found = rerank(first, queries, gallery, matcher)
    wanted = every_score(matcher, queries, gallery.vectors)
    assert_close(found.scores, wanted.gather(1, found.indices), atol=1e-6, rtol=0)
    assert torch.equal(found.indices.sort().values, first.indices.sort().values)
    assert found.method == f"regions, {matcher}"
    assert (found.oracle, found.transductive, found.gallery_size) == (False, False, 9)


@pytest.mark.parametrize("matcher", MATCHERS)
def test_pairs_at_once_change_nothing(matcher, monkeypatch):
    queries, gallery, first = sets_of_size(1, 2, 3, 4, 4), fake_regions(9), chosen(5, 9, 6)
    wanted = rerank(first, queries, gallery, matcher)
    for at_once in (1, 7, 13):
        monkeypatch.setattr(search_module, "PAIRS_AT_ONCE", at_once)
        assert_same_ranking(rerank(first, queries, gallery, matcher), wanted)


@few
@given(st.integers(1, 4), st.integers(4, 6), st.integers(0, 99))
def test_a_region_for_each_phrase_scores_no_more_than_regions_for_all(phrases, regions, seed):
    queries, gallery = sets_of_size(phrases, seed=seed), fake_regions(8, regions, seed + 1)
    first = chosen(1, 8, 8)
    shared, own = (spread(rerank(first, queries, gallery, m)) for m in ("max-sim", "assignment"))
    assert (shared >= own - 1e-6).all()
    if phrases == 1:
        assert_close(shared, own)


def test_neither_the_order_of_phrases_nor_that_of_regions_matters():
    queries, gallery, first = sets_of_size(3, 4), fake_regions(8, 5), chosen(2, 8, 8)
    turned = PointSets.of([queries[0].flip(0), queries[1][[2, 0, 3, 1]]])
    moved = Regions(gallery.vectors[:, [3, 1, 4, 0, 2]], gallery.boxes)
    for matcher in MATCHERS:
        wanted = spread(rerank(first, queries, gallery, matcher))
        assert_close(spread(rerank(first, turned, moved, matcher)), wanted, atol=1e-6, rtol=0)


def test_one_region_for_two_like_phrases():
    """What tells the matchers apart: a picture of one red cube is asked for two."""
    phrase, other = torch.eye(3)[0], torch.eye(3)[1]
    queries = PointSets.of([torch.stack([phrase, phrase])])
    gallery = Regions(torch.stack([torch.stack([phrase, other])]), window_boxes(2, 1, 1))
    first = Ranking.of_scores(torch.zeros(1, 1))
    assert float(rerank(first, queries, gallery, "max-sim").scores) == 1
    assert float(rerank(first, queries, gallery, "assignment").scores) == 0.5


def test_flags_of_the_first_stage_stay():
    queries, gallery = sets_of_size(2), fake_regions(4)
    first = Ranking.of_scores(torch.zeros(1, 4), oracle=True, transductive=True)
    found = rerank(first, queries, gallery)
    assert found.oracle
    assert found.transductive


@pytest.mark.parametrize("matcher", MATCHERS)
def test_equal_pictures_tie(matcher):
    queries, once = sets_of_size(1, 2, 3, 4), fake_regions(3)
    gallery = once.of([0, 1, 2] * 7)
    found = rerank(Ranking.of_scores(torch.zeros(4, 21)), queries, gallery, matcher)
    for scores, indices in zip(found.scores.split(7, dim=1), found.indices.split(7, dim=1), strict=True):
        assert_close(scores, scores[:, :1].expand_as(scores), atol=1e-6, rtol=0)
        assert (indices % 3 == indices[:, :1] % 3).all()


@pytest.mark.parametrize(
    ("pictures", "queries", "dim", "matcher", "named"),
    [
        (4, 2, 6, "cosine", r"matcher must be one of assignment, max-sim, got 'cosine'"),
        (4, 2, 5, "max-sim", r"one space, got vectors of length 6 against 5"),
        (5, 2, 6, "assignment", r"2 and 4, got 2 queries and 5 pictures"),
        (4, 3, 6, "assignment", r"2 and 4, got 3 queries and 4 pictures"),
    ],
)
def test_rerank_refuses_what_does_not_fit(pictures, queries, dim, matcher, named):
    with pytest.raises(ValueError, match=named):
        rerank(chosen(2, 4, 3), sets_of_size(*[2] * queries), fake_regions(pictures, dim=dim), matcher)


# --- mixing ---------------------------------------------------------------------------------------


def two_stages():
    first = chosen(5, 9, 6)
    return rerank(first, sets_of_size(1, 2, 3, 4, 4), fake_regions(9)), first


def test_mix_is_a_weighted_sum_of_the_same_pictures_scores():
    reranked, first = two_stages()
    for weight in (0, 0.3, 0.5, 1):
        found = mix(reranked, first, weight)
        wanted = (1 - weight) * spread(reranked) + weight * spread(first)
        assert_close(spread(found), wanted, equal_nan=True)
        assert found.method == "regions, assignment + cosine"
        assert (found.oracle, found.transductive) == (False, False)


def test_mix_keeps_either_side_at_its_end():
    reranked, first = two_stages()
    for weight, wanted in ((0, reranked), (1, first)):
        found = mix(reranked, first, weight)
        assert torch.equal(found.indices, wanted.indices)
        assert torch.equal(found.scores, wanted.scores)


def test_mix_finds_the_pictures_in_any_order():
    reranked, first = two_stages()
    shuffled = first.rescored(torch.randn(5, 6, generator=torch.Generator().manual_seed(9)), "shuffled")
    for weight in (0, 0.3, 1):
        wanted = (1 - weight) * spread(reranked) + weight * spread(shuffled)
        assert_close(spread(mix(reranked, shuffled, weight)), wanted, equal_nan=True)


@pytest.mark.parametrize("flag", ["oracle", "transductive"])
@pytest.mark.parametrize("side", ["reranked", "first"])
def test_mix_is_no_purer_than_its_parts(flag, side):
    reranked, first = two_stages()
    stages = {"reranked": reranked, "first": first}
    stages[side] = stages[side].rescored(stages[side].scores, "flagged", **{flag: True})
    assert getattr(mix(**stages, weight=0.5), flag)


def test_mix_refuses_other_candidates():
    reranked, first = two_stages()
    for other in (first.top(5), chosen(5, 9, 6, seed=8), chosen(4, 9, 6)):
        with pytest.raises(ValueError, match="same candidates of the same queries"):
            mix(reranked, other, 0.5)


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_weights_outside_are_refused(weight):
    reranked, first = two_stages()
    with pytest.raises(ValueError, match=r"weight must be 0 .*to 1 "):
        mix(reranked, first, weight)
    index = RegionIndex.of(fake_regions(9), unit(9, 6))
    with pytest.raises(ValueError, match=r"weight must be 0 .*to 1 "):
        index.search(sets_of_size(2), unit(1, 6), 1, weight=weight)


# --- a whole gallery ------------------------------------------------------------------------------


def blended(index, queries, captions, matcher, weight):
    """All scores by brute force, over the regions that the index holds."""
    matched = every_score(matcher, queries, index.regions.float())
    return (1 - weight) * matched + weight * captions @ index.pictures.T


def assert_best(found, scores):
    """The best k of all scores; which of two equal ones stands first is left open."""
    k = found.k
    assert_close(found.scores, scores.topk(k).values, atol=1e-5, rtol=0)
    assert_close(found.scores, scores.gather(1, found.indices), atol=1e-5, rtol=0)


@pytest.mark.parametrize("matcher", MATCHERS)
@pytest.mark.parametrize("weight", [0, 0.3, 1])
@pytest.mark.parametrize("k", [1, 5, 70])
def test_search_is_brute_force(matcher, weight, k):
    queries, captions = sets_of_size(1, 2, 3, 3, 4), unit(5, 6, seed=3)
    index = RegionIndex.of(fake_regions(70), unit(70, 6, seed=4))
    found = index.search(queries, captions, k, matcher=matcher, weight=weight)
    assert_best(found, blended(index, queries, captions, matcher, weight))
    assert found.method == f"late interaction, {matcher}"
    assert (found.oracle, found.transductive, found.gallery_size) == (False, False, len(index))


@pytest.mark.parametrize("first_look", [1, 2, 300])
@pytest.mark.parametrize("regions", [4, 2, 1])
def test_search_is_brute_force_with_phrases_that_fit_nowhere(regions, first_look, monkeypatch):
    """Cosines below zero, and fewer regions than phrases: those that stay alone count 0, which is more."""
    monkeypatch.setattr(search_module, "FIRST_LOOK", first_look)
    away = torch.tensor([2.0, 0, 0, 0, 0, 0])
    queries = PointSets.of([normalize(unit(n, 6, seed=n) - away, dim=1) for n in (1, 2, 3, 4)])
    shown = fake_regions(120, regions)
    index = RegionIndex.of(
        Regions(normalize(shown.vectors + away / 3, dim=2), shown.boxes), unit(120, 6, seed=4)
    )
    captions = unit(4, 6, seed=3)
    for matcher, weight in product(MATCHERS, (0, 0.3)):
        found = index.search(queries, captions, 1, matcher=matcher, weight=weight)
        assert_best(found, blended(index, queries, captions, matcher, weight))


@pytest.mark.parametrize("matcher", MATCHERS)
def test_how_much_is_done_at_once_changes_nothing(matcher, monkeypatch):
    queries, captions = sets_of_size(1, 2, 3, 3, 4, 2), unit(6, 6, seed=3)
    index = RegionIndex.of(fake_regions(90), unit(90, 6, seed=4))
    wanted = index.search(queries, captions, 3, matcher=matcher, weight=0.3)
    for name, sizes in {
        "COSINES_AT_ONCE": (1, 100, 200),
        "FIRST_LOOK": (1, 10, 1000),
        "PAIRS_AT_ONCE": (1, 50),
    }.items():
        for size in sizes:
            with monkeypatch.context() as patch:
                patch.setattr(search_module, name, size)
                found = index.search(queries, captions, 3, matcher=matcher, weight=0.3)
            assert_same_ranking(found, wanted)


def test_only_pictures_that_could_win_are_matched(monkeypatch):
    """The bound is worth something: where it holds at once, few pictures are matched."""
    matched, one_to_one_ = [], search_module._one_to_one

    def counted(cosines, phrases):
        matched.append(sum(len(of_query) for of_query in cosines))
        return one_to_one_(cosines, phrases)

    monkeypatch.setattr(search_module, "_one_to_one", counted)
    queries, captions = sets_of_size(*[3] * 10, dim=16), unit(10, 16)
    index = RegionIndex.of(fake_regions(2000, 9, dim=16), unit(2000, 16, seed=4))
    index.search(queries, captions, 5)
    assert sum(matched) < 10 * 2000 / 4


@pytest.mark.parametrize("matcher", MATCHERS)
def test_search_agrees_with_reranking_the_whole_gallery(matcher):
    """But for half precision."""
    queries, captions, gallery = sets_of_size(1, 2, 3, 3, 4), unit(5, 6, seed=3), fake_regions(40)
    pictures = unit(40, 6, seed=4)
    first = shortlist(captions, pictures, 40)
    wanted = mix(rerank(first, queries, gallery, matcher), first, 0.3)
    found = RegionIndex.of(gallery, pictures).search(queries, captions, 40, matcher=matcher, weight=0.3)
    assert_close(spread(found), spread(wanted), atol=2e-3, rtol=0)


def test_the_plain_cosine_alone_is_the_first_stage():
    captions, pictures = unit(5, 6, seed=3), unit(40, 6, seed=4)
    index = RegionIndex.of(fake_regions(40), pictures)
    wanted = shortlist(captions, pictures, 7)
    for matcher in MATCHERS:
        found = index.search(sets_of_size(1, 2, 3, 3, 4), captions, 7, matcher=matcher, weight=1)
        assert_same_ranking(found, wanted)


def test_vectors_of_any_length_are_scaled():
    queries, captions, pictures = sets_of_size(2, 3), unit(2, 6, seed=3), unit(40, 6, seed=4)
    wanted = RegionIndex.of(fake_regions(40), pictures).search(queries, captions, 5, weight=0.5)
    found = RegionIndex.of(fake_regions(40), 3 * pictures).search(queries, 7 * captions, 5, weight=0.5)
    assert_same_ranking(found, wanted)


@pytest.mark.parametrize("matcher", MATCHERS)
@pytest.mark.parametrize("k", [1, 5, 9, 60])
def test_ties_between_equal_pictures(matcher, k):
    """A gallery that holds every picture six times, with a cut within and between groups."""
    once, pictures = fake_regions(10), unit(10, 6, seed=4)
    copies = torch.arange(10).repeat(6)
    queries, captions = sets_of_size(1, 2, 3), unit(3, 6, seed=3)
    index = RegionIndex.of(once.of(copies), pictures[copies])
    found = index.search(queries, captions, k, matcher=matcher, weight=0.3)
    assert_best(found, blended(index, queries, captions, matcher, 0.3))
    for scores in found.scores[:, : k // 6 * 6].split(6, dim=1):
        assert_close(scores, scores[:, :1].expand_as(scores), atol=1e-6, rtol=0)


def test_an_index_holds_half_precision():
    regions, pictures = fake_regions(9), unit(9, 6)
    index = RegionIndex.of(regions, pictures)
    assert index.regions.dtype == torch.float16
    assert_close(index.regions.float(), regions.vectors, atol=5e-4, rtol=0)
    assert len(index) == 9


def test_an_index_needs_one_vector_per_picture():
    for pictures in (unit(8, 6), unit(9, 5)):
        with pytest.raises(ValueError, match=r"same pictures and space, got \(9, 4, 6\)"):
            RegionIndex.of(fake_regions(9), pictures)


@pytest.mark.parametrize(
    ("queries", "captions", "k", "matcher", "named"),
    [
        (sets_of_size(2, 3), (2, 6), 3, "fgw", "matcher must be one of assignment, max-sim, got 'fgw'"),
        (sets_of_size(2, 3), (2, 6), 10, "max-sim", "k must be 1 to 9, the size of the gallery, got 10"),
        (sets_of_size(2, 3), (2, 6), 0, "assignment", "k must be 1 to 9, the size of the gallery, got 0"),
        (sets_of_size(2, 3), (3, 6), 3, "assignment", "one vector per query"),
        (sets_of_size(2, 3), (2, 5), 3, "assignment", "one vector per query"),
        (sets_of_size(2, 3, dim=5), (2, 6), 3, "assignment", "one space, got vectors of length 5 against 6"),
    ],
)
def test_search_refuses_what_does_not_fit(queries, captions, k, matcher, named):
    index = RegionIndex.of(fake_regions(9), unit(9, 6))
    with pytest.raises(ValueError, match=named):
        index.search(queries, unit(*captions), k, matcher=matcher)
