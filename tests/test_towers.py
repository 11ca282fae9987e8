"""Every kind of image tower, from its weights to a search: windows where there is a value path, else wholes.

Published architectures are built in their full size without weights; what runs is as small as families allow.
"""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
from _service import Call, Running
from fastapi.testclient import TestClient
from open_clip.model import _build_vision_tower
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

from geoclip_lite import regions
from geoclip_lite.embed.__main__ import main as embed
from geoclip_lite.embed.folder import FIELDS
from geoclip_lite.encoders import Stored, load_encoder
from geoclip_lite.index import BadInputError
from geoclip_lite.index.base import MAX_DIM
from geoclip_lite.pipeline import Pipeline, Settings
from geoclip_lite.regions import Cut, NoTokensError, suited_cut, value_regions
from geoclip_lite.service import collection as collections
from geoclip_lite.service.__main__ import main as serve
from geoclip_lite.service.collection import open_collection

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 1, "layers": 1}
POOLER = {"attentional_pool": True, "attn_pooler_queries": 4, "attn_pooler_heads": 1, "output_tokens": True}
VIT = {"layers": 1, "width": 64, "patch_size": 16}
COCA = {
    "multimodal_cfg": TEXT | {"dim_head": 32, "n_queries": 4, "context_length": 76},
    "text_cfg": TEXT | {"context_length": 76, "embed_cls": True, "output_tokens": True},
    "custom_text": True,
}
TIMM = {"image_size": 112, "timm_model_pretrained": False, "timm_proj": "linear"}
FAMILIES = {  # vision, other parts, and how many windows there are; 0: whole pictures
    "tiny-vit": (VIT | {"image_size": 112}, {}, 25),
    "tiny-fine-vit": (VIT | {"image_size": 240}, {}, 36),
    "tiny-wide-vit": (VIT | {"image_size": [64, 160]}, {}, 9),
    "tiny-resnet": ({"image_size": 64, "layers": [1, 1, 1, 1], "width": 16}, {}, 36),
    "tiny-latent": (TIMM | {"timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none"}, {}, 25),
    "tiny-coca": (VIT | POOLER | {"image_size": 112}, COCA, 0),
    "tiny-convnext": (TIMM | {"timm_model_name": "test_convnext", "timm_pool": ""}, {}, 0),
    "tiny-eva": (TIMM | {"timm_model_name": "test_vit", "timm_pool": "token"}, {}, 0),
}
WITH = [name for name, (_, _, windows) in FAMILIES.items() if windows]
WITHOUT = [name for name, (_, _, windows) in FAMILIES.items() if not windows]
QUERY = "a red circle and a blue star"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The name under which each family is loaded, with random weights."""
    folder, found = tmp_path_factory.mktemp("families"), {}
    for name, (vision, others, _) in FAMILIES.items():
        config = {"embed_dim": 64, "vision_cfg": vision, "text_cfg": TEXT, **others}
        (folder / f"{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder / f"{name}.json")
        found[name] = f"{name}/{random_weights(name, folder / f'{name}.safetensors')}"
    return found


def random_weights(architecture, path):
    torch.manual_seed(0)
    model = open_clip.create_model(architecture)
    save_file({name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A few pictures, wide and high."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number, size in enumerate([(90, 160), (160, 90), (120, 120), (64, 300)]):
        noise = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"picture {number}.png")
    return folder


# --- how pictures are cut -------------------------------------------------------------------------


def without_weights(architecture):
    """An encoder of which the image tower has shapes only."""
    config = open_clip.get_model_config(architecture)
    size = config["vision_cfg"].get("image_size", 224)
    with torch.device("meta"):
        vision = config["vision_cfg"] | {"timm_model_pretrained": False}
        visual = _build_vision_tower(config["embed_dim"], vision).eval()
    return SimpleNamespace(
        name=architecture,
        model=SimpleNamespace(visual=visual),
        dim=config["embed_dim"],
        image_size=size,
        device="meta",
        preprocess=lambda _: torch.empty(3, size, size),
    )


@pytest.mark.parametrize(
    ("architecture", "cut", "windows"),
    [
        ("ViT-B-32", Cut(1, 3), 25),
        ("ViT-B-32-256", Cut(1, 3), 36),
        ("ViT-B-16", Cut(1, 3, 8), 36),
        ("ViT-L-14-336", Cut(1, 3, 8), 36),
        ("ViT-bigG-14-CLIPA-336", Cut(1, 3, 7), 25),
        ("RN50", Cut(1, 3), 25),
        ("RN50x4", Cut(1, 3, 8), 36),
        ("RN50x64", Cut(1, 3, 7), 25),
        ("ViT-B-16-SigLIP-512", Cut(1, 3, 8), 36),
        ("ViT-SO400M-14-SigLIP-384", Cut(1, 3, 7), 25),
        ("ViT-gopt-16-SigLIP2-384", Cut(1, 2, 5), 16),
        ("PE-Core-bigG-14-448", Cut(1, 3, 7), 25),
    ],
)
def test_windows_of_real_towers_fit_into_a_row(architecture, cut, windows):
    encoder = without_weights(architecture)
    assert suited_cut(encoder) == cut
    side = cut.side or {"ViT-B-32-256": 8}.get(architecture, 7)
    assert (side - cut.window + 1) ** 2 == windows
    assert windows * encoder.dim <= MAX_DIM


@pytest.mark.parametrize(
    "architecture", ["coca_ViT-B-32", "convnext_base", "EVA02-B-16", "MobileCLIP-S1", "ViTamin-S"]
)
def test_towers_without_a_value_path_have_no_cut(architecture):
    with pytest.raises(NoTokensError, match="no value path"):
        suited_cut(without_weights(architecture))


def test_minis_are_cut_as_ever(tmp_path):
    """3 x 3 of 8 x 8 cells, and under the same name: indexes and records rest on it."""
    mini = load_encoder("mini-pairs", device="cpu")
    assert mini.fingerprint.startswith("fb31a9d14afb8af7")
    assert suited_cut(mini) == suited_cut(Stored(mini, tmp_path)) == Cut(4, 3)
    with Pipeline(mini, tmp_path / "p") as pipeline:
        assert pipeline.index.schema.encoder == f"{mini.fingerprint}, windows 3 at 4"
        assert (len(pipeline.boxes), pipeline.index.schema.payload) == (36, 36 * 128)


def test_a_pooled_map_is_the_mean_over_what_each_cell_touches(places):
    encoder, image = load_encoder(places["tiny-fine-vit"], device="cpu"), Image.effect_noise((240, 240), 80)
    with torch.inference_mode():
        cells = regions.value_map(encoder.model.visual, regions.to_tensor(encoder, [image]))[0]
    assert cells.shape == (64, 15, 15)
    edges = [(15 * i // 8, -(-15 * (i + 1) // 8)) for i in range(8)]
    pooled = torch.stack([cells[:, a:b, c:d].mean((1, 2)) for a, b in edges for c, d in edges], 1)
    found = value_regions(encoder, [image], side=8, progress=False)
    torch.testing.assert_close(found.vectors[0], F.normalize(pooled.T, dim=1), atol=1e-5, rtol=1e-4)
    assert found.boxes[9].tolist() == [1 / 8, 1 / 8, 2 / 8, 2 / 8]


@pytest.mark.parametrize("side", [0, 8])
def test_a_map_is_not_pooled_to_more_cells_than_it_has(places, side):
    encoder = load_encoder(places["tiny-vit"], device="cpu")
    with pytest.raises(ValueError, match=f"side must be 1 to 7, .* got {side}"):
        value_regions(encoder, [Image.new("RGB", (9, 9))], side=side, progress=False)


# --- the commands ---------------------------------------------------------------------------------


def run_embed(*arguments):
    return embed([*map(str, arguments), "--device", "cpu", "--windows"])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_folder_is_embedded_and_searched(name, places, photos, tmp_path, capsys):
    windows = FAMILIES[name][2]
    assert run_embed(photos, tmp_path / "p", "--encoder", places[name]) == 0
    said = capsys.readouterr()
    assert "4 embedded" in said.out
    assert ("whole pictures" in said.err) == (not windows)
    with Pipeline(load_encoder(places[name], device="cpu"), tmp_path / "p", fields=FIELDS) as pipeline:
        pipeline.verify()
        answer = pipeline.search(QUERY, k=4)
        assert len(answer.results) == len(pipeline) == 4
        assert len(pipeline.boxes) == windows
        assert {len(result.matches) for result in answer.results} == {2 if windows else 0}
        pipeline.delete(["picture 0.png"])
        assert len(pipeline) == 3


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Runs the service's command, and requests in place of its loop: what each is answered."""
    monkeypatch.setenv("GEOCLIP_CACHE", str(tmp_path))

    def run(*arguments, queries):
        answers = []

        def in_place_of_a_loop(server, sockets):
            with TestClient(
                server.config.app, base_url="http://localhost", raise_server_exceptions=False
            ) as client:
                answers.append(client.get("/api/about").json())
                answers.extend(client.post("/api/search", json={"query": QUERY} | query) for query in queries)

        monkeypatch.setattr("uvicorn.Server.run", in_place_of_a_loop)
        assert serve(["--port", "0", *map(str, arguments)]) == 0
        return answers

    return run


@pytest.mark.parametrize("name", WITH)
def test_a_service_finds_objects_in_windows(name, places, photos, asked, capsys):
    about, left_out, none = asked(photos, "--encoder", places[name], queries=[{}, {"reranker": "none"}])
    assert [encoder["windows"] for encoder in about["encoders"]] == [True]
    assert all(len(result["matches"]) == 2 for result in left_out.json()["results"])
    assert left_out.json()["weight"] < none.json()["weight"] == 1
    assert not left_out.json()["notes"]
    assert "whole pictures" not in capsys.readouterr().err


@pytest.mark.parametrize("name", WITHOUT)
def test_a_service_without_windows_says_so_and_searches_whole_pictures(name, places, photos, asked, capsys):
    rerankers = [{}, {"reranker": "none"}, {"reranker": "assignment"}, {"reranker": "max-sim"}]
    about, left_out, none, *refused = asked(photos, "--encoder", places[name], queries=rerankers)
    assert [encoder["windows"] for encoder in about["encoders"]] == [False]
    for answer in (left_out.json(), none.json()):
        assert [result["first_rank"] for result in answer["results"]] == [1, 2, 3, 4]
        assert not any(result["matches"] for result in answer["results"])
        assert "whole pictures" in " ".join(answer["notes"])
        assert answer["weight"] == 1
    for answer in refused:
        assert answer.status_code == 422
        assert "reranker" in answer.json()["detail"]
    assert "whole pictures" in capsys.readouterr().err


def test_the_drawn_gallery_can_be_centred_under_any_tower(places, monkeypatch, tmp_path):
    monkeypatch.setenv("GEOCLIP_CACHE", str(tmp_path))
    for name, size in {"DEMO": 3, "HELD_OUT": 6}.items():
        monkeypatch.setattr(collections, name, size)
    made = open_collection(None, [places[name] for name in ("tiny-vit", "tiny-coca")])
    for pipeline in made.pipelines.values():
        assert (pipeline.centring is None) == (pipeline.cut is None)
    made.close()


def test_a_cut_for_an_encoder_without_windows_is_refused(places, tmp_path):
    encoder = load_encoder(places["tiny-coca"], device="cpu")
    with pytest.raises(NoTokensError):
        Pipeline(encoder, tmp_path, settings=Settings(refine=1, window=1))
    with Pipeline(encoder, tmp_path) as pipeline, pytest.raises(BadInputError, match="query must"):
        pipeline.search("")


@pytest.mark.parametrize("architecture", ["ViT-B-32-quickgelu", "RN50"])
def test_the_command_of_the_readme_serves_a_full_model(architecture, photos, tmp_path, monkeypatch):
    """In a process of its own."""
    monkeypatch.setenv("GEOCLIP_CACHE", str(tmp_path))
    weights = random_weights(architecture, tmp_path / "w.safetensors")
    with Running(str(photos), "--encoder", f"{architecture}/{weights}", log=tmp_path / "log") as service:
        body = json.dumps({"query": QUERY, "k": 2}).encode()
        reply = service.ask(Call("POST", "/api/search", body, "application/json"))
        assert reply.status == 200
        assert all(len(result["matches"]) == 2 for result in json.loads(reply.body)["results"])
    weights.unlink()


# --- pictures that are not square -----------------------------------------------------------------


def test_frames_lie_where_an_encoder_looked(places, photos, tmp_path):
    """One that squeezes a wide picture sees all of it, and its windows are as wide."""
    squeezing = load_encoder(places["tiny-latent"], device="cpu")
    squeezing.model.visual.preprocess_cfg["resize_mode"] = "squash"
    squeezing = type(squeezing)("squeezing", "tiny-latent", squeezing.model, squeezing.tokenizer)
    wide, drawn = Image.new("RGB", (300, 100), "white"), {}
    for encoder in (squeezing, load_encoder(places["tiny-vit"], device="cpu")):
        with Pipeline(encoder, tmp_path / encoder.name) as pipeline:
            pipeline.add(["wide"], [wide])
            [result] = pipeline.search("circle", k=1, settings=Settings(weight=0.0)).results
            left, top, right, bottom = (
                result.draw(wide).convert("L").point(lambda v: 255 * (v < 250)).getbbox()
            )
            drawn[encoder.name] = (right - left) / (bottom - top)
    assert drawn.pop("squeezing") == pytest.approx(3, abs=0.1)
    assert list(drawn.values()) == [pytest.approx(1, abs=0.1)]


# --- one encoder on two devices -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mini-pairs", "tiny-vit"])
def test_an_index_begun_on_a_gpu_opens_on_a_laptop(name, places, photos, tmp_path):
    """The device is changed in name only: what was computed elsewhere differs by rounding."""
    place = places.get(name, name)
    there = load_encoder(place, device="cpu")
    there.device = torch.device("cuda")
    here = load_encoder(place, device="cpu")
    with Pipeline(here, tmp_path, fields=FIELDS) as pipeline:
        assert pipeline.index.schema.encoder.startswith(there.fingerprint)
    assert run_embed(photos, tmp_path, "--encoder", place) == 0
    there, here = Stored(there, tmp_path / "store"), Stored(here, tmp_path / "store")
    assert there.path != here.path, "a store gives the same vectors, to the last bit"
