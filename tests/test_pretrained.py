"""open_clip behind the one interface: the vectors that open_clip itself gives, and errors that help.

No weights can be downloaded here, so they are drawn at random, saved, and loaded as a user's own would be.
Most tests use an architecture too small to be good at anything.
"""

import json
import os
import re
import subprocess
import sys
import time
from argparse import Namespace
from collections import OrderedDict, defaultdict
from contextlib import suppress
from datetime import date
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import ModuleSpec
from pathlib import Path
from threading import Thread
from types import ModuleType

import numpy as np
import open_clip
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file

from geoclip_lite.encoders import TextWarning, WeightsError, best_device, hub, load_encoder, shipped
from geoclip_lite.encoders.__main__ import main
from geoclip_lite.encoders.pretrained import load_open_clip

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
REAL = "ViT-B-32-quickgelu/openai"
TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 48, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}
TEXTS = ["a red star", "Two dogs, a naïve cat"]


def random_weights(architecture, path, **preprocessing):
    """Saves a random model in half precision; returns it as a file's reader should find it."""
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms(architecture, **preprocessing)
    save_file(model.half().state_dict(), path)
    return model.float().eval(), preprocess


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory):
    """Weights of the architectures "tiny" and "tiny-quickgelu", which open_clip learns about here."""
    folder = tmp_path_factory.mktemp("tiny")
    for name, config in {"tiny": TINY, "tiny-quickgelu": TINY | {"quick_gelu": True}}.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder / f"{name}.json")
    random_weights("tiny", folder / "tiny.safetensors")
    return folder / "tiny.safetensors"


@pytest.fixture(scope="module")
def tiny(tiny_file):
    return load_encoder(f"tiny/{tiny_file}", device="cpu")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """An empty cache, and a hub that refuses every connection."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    answer_from(monkeypatch, "http://127.0.0.1:9")


def answer_from(monkeypatch, address):
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def pictures(count, seed=0):
    """Noise of several sizes, some grey, some with transparency."""
    rng, modes = np.random.default_rng(seed), ["RGB", "RGBA", "L"]
    sides = rng.integers(20, 300, (count, 2))
    noise = [rng.integers(0, 256, (*side, 3), dtype=np.uint8) for side in sides]
    return [Image.fromarray(pixels).convert(modes[i % 3]) for i, pixels in enumerate(noise)]


def letters(texts, context_length=64):
    """Stands in for SigLIP's tokenizer, which is on the hub: letters, an end, and padding that equals it."""
    rows = [[*(2 + ord(letter) for letter in text)][: context_length - 1] for text in texts]
    return torch.tensor([row + [1] * (context_length - len(row)) for row in rows])


# --- vectors --------------------------------------------------------------------------------------


HALF = (0.5, 0.5, 0.5)
SIGLIPS = {"image_mean": HALF, "image_std": HALF, "image_resize_mode": "squash"}


@pytest.mark.parametrize(
    ("architecture", "tokenizer", "preprocessing"),
    [("ViT-B-32", None, {}), ("ViT-B-16-SigLIP", letters, SIGLIPS)],
)
def test_vectors_are_open_clips(tmp_path, architecture, tokenizer, preprocessing):
    path, images = tmp_path / "my.safetensors", pictures(2)
    model, preprocess = random_weights(architecture, path, **preprocessing)
    encoder = load_open_clip(architecture, str(path), tokenizer=tokenizer, device="cpu")
    path.unlink()
    tokens = (tokenizer or open_clip.get_tokenizer(architecture))(TEXTS)
    with torch.no_grad():
        expected_texts = model.encode_text(tokens, normalize=True)
        expected_images = model.encode_image(torch.stack([*map(preprocess, images)]), normalize=True)
    assert torch.allclose(encoder.encode_texts(TEXTS), expected_texts, atol=1e-6)
    assert torch.allclose(encoder.encode_images(images), expected_images, atol=1e-6)
    assert (encoder.dim, encoder.image_size) == (expected_texts.shape[1], 224)
    assert encoder.name == f"{architecture} (my.safetensors)"


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
def test_batches_do_not_change_vectors(tiny, batch):
    texts, images = [f"{number} stars" for number in range(5)], pictures(5)
    assert torch.allclose(tiny.encode_texts(texts, batch=batch), tiny.encode_texts(texts), atol=1e-6)
    assert torch.allclose(tiny.encode_images(images, batch=batch), tiny.encode_images(images), atol=1e-6)


def test_images_are_preprocessed_a_batch_at_a_time(tiny, monkeypatch):
    events, preprocess, tower = [], tiny.preprocess, tiny.model.encode_image
    monkeypatch.setattr(tiny, "preprocess", lambda image: (events.append("p"), preprocess(image))[1])
    monkeypatch.setattr(tiny.model, "encode_image", lambda x: (events.append("e"), tower(x))[1])
    tiny.encode_images(pictures(5), batch=2)
    assert "".join(events) == "ppeppepe"


@pytest.mark.parametrize("device", DEVICES)
def test_vectors_are_unit_rows_of_float32_on_the_cpu(tiny_file, tiny, device):
    encoder = load_encoder(f"tiny/{tiny_file}", device=device)
    assert encoder.device.type == device
    for vectors, expected in [
        (encoder.encode_texts(TEXTS), tiny.encode_texts(TEXTS)),
        (encoder.encode_images(pictures(2)), tiny.encode_images(pictures(2))),
    ]:
        assert (vectors.device.type, vectors.dtype) == ("cpu", torch.float32)
        assert torch.allclose(vectors.norm(dim=1), torch.ones(2))
        assert (vectors * expected).sum(dim=1).min() > 0.999


def test_no_texts_and_no_images_give_no_vectors(tiny):
    assert tiny.encode_texts([]).shape == tiny.encode_images([]).shape == (0, 24)


def test_the_progress_bar_shows_when_asked_or_on_a_terminal(tiny, capsys):
    tiny.encode_images(pictures(3))
    assert capsys.readouterr().err == "", "stderr is no terminal here, as when the book is built"
    tiny.encode_images(pictures(3), progress=True)
    assert "tiny" in capsys.readouterr().err


def test_padding_is_left_out_where_it_has_no_influence(tiny):
    """And only there: texts of all lengths, alone and together, are read as open_clip reads them."""
    texts = ["red", "a red star", " ".join(["star"] * 9), " ".join(["star"] * 10)]
    with torch.no_grad():
        expected = tiny.model.encode_text(tiny.tokenizer(texts), normalize=True)
    assert torch.allclose(tiny.encode_texts(texts), expected, atol=1e-6)
    for text, vector in zip(texts, expected, strict=True):
        assert torch.allclose(tiny.encode_texts([text])[0], vector, atol=1e-6)


def test_fingerprints_tell_weights_activations_and_tokenizers_apart(tiny_file, tiny, tmp_path):
    path, other = tiny_file, tmp_path / "other.safetensors"
    save_file({name: tensor * 1.01 for name, tensor in load_file(path).items()}, other)
    encoders = [
        load_encoder(f"tiny/{other}", device="cpu"),
        load_encoder(f"tiny-quickgelu/{path}", device="cpu"),
        load_open_clip("tiny", str(path), tokenizer=letters, device="cpu"),
    ]
    assert len({tiny.fingerprint, *(encoder.fingerprint for encoder in encoders)}) == 4
    assert load_encoder(f"tiny/{path}", device="cpu").fingerprint == tiny.fingerprint


# --- texts ----------------------------------------------------------------------------------------


def test_long_texts_are_cut_and_counted(tiny):
    fits, long, longer = "one two three four five six seven eight nine ten", " star" * 11, " star" * 50
    with pytest.warns(TextWarning, match="2 of 3 texts cut to 12 tokens") as caught:
        vectors = tiny.encode_texts([fits, long, longer])
    assert caught[0].filename == __file__
    assert torch.allclose(vectors[1], vectors[2], atol=1e-6)


def test_texts_are_counted_where_padding_looks_like_an_end(tiny_file):
    twelve = partial(letters, context_length=12)
    encoder = load_open_clip("tiny", str(tiny_file), tokenizer=twelve, device="cpu")
    encoder.encode_texts(["a" * 11])
    with pytest.warns(TextWarning, match="1 of 2 texts cut to 12 tokens"):
        encoder.encode_texts(["a" * 11, "a" * 12])


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_a_text_without_words_is_refused(tiny, text):
    with pytest.raises(ValueError, match="without words"):
        tiny.encode_texts(["red", text])


def test_a_bare_string_is_refused(tiny):
    with pytest.raises(TypeError, match=r"write \['red star'\]"):
        tiny.encode_texts("red star")


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "instead"),
    [("ViT-B-32/openai", REAL), ("ViT-B-32-quickgelu/laion2b_s34b_b79k", "ViT-B-32/laion2b_s34b_b79k")],
)
def test_the_wrong_activation_is_an_error_before_any_download(name, instead, monkeypatch):
    monkeypatch.setattr(hub, "_download", lambda *_: pytest.fail("asked the hub"))
    with pytest.raises(ValueError, match=f"another activation than .* load '{instead}'"):
        load_encoder(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ViT-B32/openai", "no encoder 'ViT-B32/openai'; did you mean 'ViT-B-32'"),
        ("ViT-B32//data/my.safetensors", "did you mean 'ViT-B-32'"),
        (
            "ViT-B-32/laion2b_s34b",
            "'ViT-B-32' .* none called 'laion2b_s34b'; did you mean .*laion2b_s34b_b79k",
        ),
        ("ViT-B-32/nothing-like-it", "it has: openai, .*'ViT-B-32/PATH'"),
        ("ViT-B-16-SigLIP", "it has: webli .*'ViT-B-16-SigLIP/TAG'"),
        ("ViT-M-16", "it has: none"),
        ("no-such-thing", f"known: {', '.join(shipped())} and ARCHITECTURE/TAG"),
    ],
)
def test_a_name_that_there_is_not_leads_to_one_that_there_is(name, said):
    with pytest.raises(ValueError, match=said):
        load_encoder(name)


def test_a_device_that_there_is_not_is_named(tiny_file):
    for name in (f"tiny/{tiny_file}", "mini-pairs"):
        with pytest.raises(ValueError, match=f"device: 'gpu' cannot be used .* '{best_device()}'"):
            load_encoder(name, device="gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda_is_an_error():
    with pytest.raises(ValueError, match="device: 'cuda' cannot be used here"):
        load_encoder("mini-pairs", device="cuda")


# --- files of weights -----------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no weights at .*nowhere\.pt: write 'ViT-B-32/PATH'"):
        load_encoder(f"ViT-B-32/{tmp_path}/nowhere.pt")
    with pytest.raises(WeightsError, match=r"no weights at .*nowhere\.safetensors"):
        load_encoder(f"{tmp_path}/nowhere.safetensors")


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_damaged_weights_are_refused(tiny_file, tmp_path, suffix, damage):
    path = tmp_path / f"damaged{suffix}"
    torch.save(load_file(tiny_file), path)
    content = path.read_bytes() if suffix == ".pt" else tiny_file.read_bytes()
    path.write_bytes({"truncated": content[:5000], "garbage": b"\x00" * 500, "empty": b""}[damage])
    with pytest.raises(WeightsError, match=f"damaged{suffix} holds no weights of tiny, or is damaged: "):
        load_encoder(f"tiny/{path}")


def test_torch_files_load_as_safetensors_do(tiny_file, tiny, tmp_path):
    torch.save({"state_dict": load_file(tiny_file)}, tmp_path / "weights.pt")
    assert load_encoder(f"tiny/{tmp_path}/weights.pt", device="cpu").fingerprint == tiny.fingerprint


@pytest.mark.parametrize("code", [Path.touch, os.mkdir, eval])
def test_code_in_a_torch_file_is_not_run(tiny_file, tmp_path, code):
    """Neither where it stands in place of weights nor where it stands beside them."""

    class Trap:
        def __reduce__(self):
            sprung = tmp_path / "sprung"
            return code, (f"open({str(sprung)!r}, 'w')" if code is eval else sprung,)

    torch.save({"weight": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(WeightsError, match=r"trap\.pt holds no weights"):
        load_encoder(f"ViT-B-32/{tmp_path}/trap.pt")
    torch.save({"state_dict": load_file(tiny_file), "args": Trap()}, tmp_path / "trap.pt")
    with suppress(WeightsError):
        load_encoder(f"tiny/{tmp_path}/trap.pt")
    assert not (tmp_path / "sprung").exists()


def renamed(weights, *prefixes):
    return {"".join(prefixes) + name: tensor for name, tensor in weights.items()}


def training(weights):
    """What else trainers keep."""
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2)).sum().backward()
    optimizer.step()
    about = {
        "epoch": np.float64(3),
        "best": np.float32(0.3),
        "curve": np.zeros(3),
    }
    arguments = Namespace(
        lr=1e-4, out=Path("runs"), since=date(2026, 1, 2), log=defaultdict(list, loss=[1.0])
    )
    return about | {"args": arguments, "optimizer": optimizer.state_dict(), "scaler": None}


@pytest.mark.parametrize(
    "checkpoint",
    [
        lambda w: {"state_dict": w, **training(w)},
        lambda w: {"model": w, **training(w)},
        lambda w: {"model_state_dict": w, "log": defaultdict(list, loss=[1.0])},
        lambda w: {"state_dict": renamed(w, "module."), **training(w)},
        lambda w: renamed(w, "_orig_mod."),
        lambda w: {"state_dict": renamed(w, "module.", "_orig_mod."), **training(w)},
        lambda w: {name.replace("visual.", "visual._orig_mod."): tensor for name, tensor in w.items()},
        lambda w: {
            "state_dict": renamed(w, "model.") | {"loss.scale": torch.ones(1)},
            "hparams": training(w),
        },
        lambda w: {name: tensor.bfloat16() for name, tensor in w.items()},
        lambda w: {name: torch.nn.Parameter(tensor) for name, tensor in w.items()},
    ],
)
def test_checkpoints_of_trainers_are_read(tiny_file, tiny, tmp_path, checkpoint):
    torch.save(checkpoint(load_file(tiny_file)), tmp_path / "epoch_1.ckpt")
    found = load_encoder(f"tiny/{tmp_path}/epoch_1.ckpt", device="cpu").model.state_dict()
    assert found.keys() == tiny.model.state_dict().keys()
    for name, tensor in tiny.model.state_dict().items():
        assert found[name].dtype == tensor.dtype
        assert torch.allclose(found[name], tensor, atol=1e-2, rtol=1e-2), name


def test_compiled_and_older_files_are_read(tiny_file, tiny, tmp_path):
    weights = load_file(tiny_file)
    save_file(renamed(weights, "_orig_mod."), tmp_path / "compiled.safetensors")
    torch.save(weights, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("compiled.safetensors", "old.pt"):
        assert load_encoder(f"tiny/{tmp_path}/{name}", device="cpu").fingerprint == tiny.fingerprint


def test_weights_are_read_by_what_a_file_holds_and_not_by_its_name(tiny_file, tiny, tmp_path):
    weights = load_file(tiny_file)
    save_file(weights, tmp_path / "weights.bin")
    torch.save(weights, tmp_path / "weights.safetensors")
    for name in ("weights.bin", "weights.safetensors"):
        assert load_encoder(f"tiny/{tmp_path}/{name}", device="cpu").fingerprint == tiny.fingerprint


def test_several_models_in_one_file_are_told_apart(tiny_file, tmp_path):
    """A moving average beside the model, say: which is meant is not guessed."""
    weights = load_file(tiny_file)
    both = renamed(weights, "model.") | renamed(weights, "ema_model.module.")
    torch.save({"state_dict": both}, tmp_path / "last.ckpt")
    with pytest.raises(WeightsError, match=r"several models.*'ema_model\.module\.', 'model\.'.*save"):
        load_encoder(f"tiny/{tmp_path}/last.ckpt")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("page.pt", b"<!DOCTYPE html><title>Log in</title>", "web page"),
        ("page.safetensors", b"\n<html></html>", "web page"),
        ("pointer.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("empty.pt", b"", "empty"),
        ("head.safetensors", b"\xff" * 8 + b"{}", "fetch it again"),
        ("text.pt", b"no weights " * 20, "state_dict"),
    ],
)
def test_files_that_are_no_weights_are_told_for_what_they_are(tiny_file, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=said):
        load_encoder(f"tiny/{tmp_path}/{name}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (torch.nn.Linear(2, 2), "state_dict"),
        ({"epoch": 3}, "state_dict"),
        ([1, 2], "state_dict"),
        ({"vision_model.embeddings.class_embedding": torch.zeros(3)}, "transformers"),
    ],
)
def test_what_holds_no_weights_of_open_clip_says_what_to_do(tiny_file, tmp_path, content, said):
    torch.save(content, tmp_path / "other.bin")
    with pytest.raises(WeightsError, match=said) as caught:
        load_encoder(f"tiny/{tmp_path}/other.bin")
    assert "weights_only" not in str(caught.value), "nobody is told to run a stranger's code"


def test_a_folder_in_place_of_a_file_is_named(tiny_file, tmp_path):
    (tmp_path / "weights.pt").mkdir()
    for place in (tmp_path, tmp_path / "weights.pt"):
        with pytest.raises(WeightsError, match="folder"):
            load_encoder(f"tiny/{place}")


@pytest.mark.parametrize(
    ("change", "misfit"),
    [
        (lambda weights: weights.pop("text_projection"), 'Missing key.* "text_projection"'),
        (lambda weights: weights.update(extra=torch.zeros(1)), 'Unexpected key.* "extra"'),
        (
            lambda weights: weights.update({"visual.proj": torch.zeros(64, 99)}),
            r"visual\.proj: .*64, 99.*64, 24",
        ),
        (lambda weights: weights.update(logit_bias=torch.zeros(())), 'Unexpected key.* "logit_bias"'),
        (lambda weights: weights.clear(), ""),
    ],
)
def test_weights_of_another_architecture_are_refused_with_the_first_misfit(
    tiny_file, tmp_path, change, misfit
):
    weights = OrderedDict(load_file(tiny_file))
    change(weights)
    save_file(weights, tmp_path / "other.safetensors")
    with pytest.raises(
        WeightsError, match=rf"other\.safetensors holds no weights of tiny.*{misfit}"
    ) as caught:
        load_encoder(f"tiny/{tmp_path}/other.safetensors")
    assert caught.value.__cause__


# --- the hub --------------------------------------------------------------------------------------


def test_published_weights_load_from_where_the_error_says(offline, caplog, capsys):
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"open_clip_model\.safetensors of the hub's timm/") as caught:
        load_encoder(REAL)
    assert time.monotonic() - start < 3 * hub.REACH
    assert not caplog.records
    assert capsys.readouterr() == ("", "")
    assert all(hint in str(caught.value) for hint in ("ViT-B-32-quickgelu/PATH", "mini-single", "mini-pairs"))
    assert caught.value.__cause__
    place = Path(re.search(r"Put it at (.*?), or anywhere", str(caught.value))[1])
    place.parent.mkdir(parents=True)
    model, _ = random_weights("ViT-B-32-quickgelu", place)
    encoder = load_encoder(REAL, device="cpu")
    place.unlink()
    with torch.no_grad():
        expected = model.encode_text(open_clip.tokenize(TEXTS), normalize=True)
    assert torch.allclose(encoder.encode_texts(TEXTS), expected, atol=1e-6)
    assert (encoder.name, encoder.dim, encoder.image_size) == (REAL, 512, 224)


def test_files_are_fetched_once_and_the_second_choice_if_there_is_no_first(monkeypatch, tmp_path):
    asked = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.command)
            found = self.path == "/owner/name/resolve/main/second.bin"
            self.send_response(200 if found else 404)
            for header in [
                ("X-Repo-Commit", "c0ffee"),
                ("ETag", '"tag"'),
                ("Content-Length", "7" if found else "0"),
            ]:
                self.send_header(*header)
            if not found:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(b"weights")

        def log_message(self, *_):
            pass

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        answer_from(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        path = hub.from_hub("owner/name", ["first.safetensors", "second.bin"], "advice")
        assert path.read_bytes() == b"weights"
        before = len(asked)
        assert hub.from_hub("owner/name", ["first.safetensors", "second.bin"], "advice") == path
        assert len(asked) == before > 0
        with pytest.raises(WeightsError, match=r"no first\.safetensors and no third\)\. advice; or take"):
            hub.from_hub("owner/name", ["first.safetensors", "third"], "advice")
        server.shutdown()


def test_siglip_without_its_tokenizer_says_what_is_missing(monkeypatch, offline):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WeightsError, match=r"tokenizer of ViT-B-16-SigLIP .*pip install transformers"):
        load_encoder("ViT-B-16-SigLIP/webli")
    transformers = ModuleType("transformers")
    transformers.__spec__ = ModuleSpec("transformers", None)
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    with pytest.raises(
        WeightsError, match=r"tokenizer_config\.json of the hub's timm/ViT-B-16-SigLIP .* copy .*mini-single"
    ):
        load_encoder("ViT-B-16-SigLIP/webli")


# --- the command ----------------------------------------------------------------------------------


def test_the_command_says_what_it_loaded(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["encoders", "mini-pairs"])
    assert main() == 0
    assert re.fullmatch(r"mini-pairs: 128 dimensions, 64 pixels, on \w+\n", capsys.readouterr().out)


def test_the_command_takes_no_misspelt_name_for_a_lack_of_weights(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["encoders", "mini-paris"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "did you mean 'mini-pairs'" in capsys.readouterr().err


def test_the_command_says_in_one_line_that_weights_are_out_of_reach(tmp_path):
    command = [sys.executable, "-m", "geoclip_lite.encoders", REAL]
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"open_clip_model\.safetensors of the hub's .*\n", done.stderr)
