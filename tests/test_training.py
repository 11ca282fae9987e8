"""The training recipe: a run is a function of its recipe, whatever happened on the way."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from geoclip_lite.encoders import diets, load_mini, train
from geoclip_lite.encoders.train import Recipe
from geoclip_lite.files import sha256

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = Recipe("mini-pairs", seed=5, steps=6, batch=4, pool=12, warmup=2)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, one_thread):
    folder = tmp_path_factory.mktemp("whole")
    return folder, train.train(TINY, folder)


def test_the_same_seed_gives_the_same_bits(uninterrupted, tmp_path):
    assert sha256(train.train(TINY, tmp_path)) == sha256(uninterrupted[1])


def test_another_seed_gives_other_weights(uninterrupted, tmp_path):
    other = Recipe("mini-pairs", seed=6, steps=6, batch=4, pool=12, warmup=2)
    assert sha256(train.train(other, tmp_path)) != sha256(uninterrupted[1])


def test_interrupted_twice_and_resumed_ends_in_the_same_bits(uninterrupted, tmp_path):
    """Stopped between two states, so that steps are repeated, and again right at one."""
    assert train.train(TINY, tmp_path, stop_after=3, save_every=2) is None
    assert train.train(TINY, tmp_path, stop_after=4, save_every=2) is None
    assert sha256(train.train(TINY, tmp_path, save_every=2)) == sha256(uninterrupted[1])
    assert (tmp_path / "log.jsonl").read_text() == (uninterrupted[0] / "log.jsonl").read_text()


def test_killed_in_the_middle_and_resumed_ends_in_the_same_bits(uninterrupted, tmp_path):
    """A real SIGKILL, at whatever instruction it strikes once the third step is logged."""
    code = f"""
import torch
from pathlib import Path
from geoclip_lite.encoders.train import Recipe, train
torch.set_num_threads(1)
train({TINY!r}, Path({str(tmp_path)!r}), save_every=1)
"""
    log, process = tmp_path / "log.jsonl", subprocess.Popen([sys.executable, "-c", code])
    while process.poll() is None and (not log.exists() or len(log.read_text().splitlines()) < 3):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert sha256(train.train(TINY, tmp_path)) == sha256(uninterrupted[1])
    assert log.read_text() == (uninterrupted[0] / "log.jsonl").read_text()


def test_a_finished_run_is_not_trained_again(uninterrupted):
    folder, path = uninterrupted
    before = path.stat().st_mtime_ns
    assert train.train(TINY, folder) == path
    assert path.stat().st_mtime_ns == before


def test_a_folder_with_another_run_is_refused(uninterrupted):
    with pytest.raises(ValueError, match="choose another"):
        train.train(Recipe("mini-single", seed=5, steps=6, batch=4, pool=12), uninterrupted[0])


def test_every_checkpoint_is_kept_and_loads(uninterrupted):
    folder, last = uninterrupted
    assert TINY.checkpoints()[-1] == TINY.steps
    for step in set(TINY.checkpoints()):
        encoder = load_mini(train.checkpoint_path(folder, step))
        assert encoder.recipe["at_step"] == step
        assert encoder.encode_texts(["red circle"]).isfinite().all()
    assert last == train.checkpoint_path(folder, TINY.steps)


def test_the_log_has_a_line_a_step(uninterrupted):
    lines = [json.loads(line) for line in (uninterrupted[0] / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(TINY.steps))
    assert all(np.isfinite(line["loss"]) for line in lines)


def test_training_lowers_the_loss(tmp_path):
    recipe = Recipe("mini-single", steps=30, batch=16, pool=64, warmup=5)
    train.train(recipe, tmp_path)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3


def test_the_schedule_warms_up_and_ends_near_zero():
    recipe = Recipe("mini-single", steps=1000, warmup=100)
    rates = [recipe.rate(step) for step in range(1000)]
    assert np.argmax(rates) in (99, 100)
    assert max(rates) == pytest.approx(recipe.learning_rate)
    assert rates[-1] < 1e-5 * 1.5
    assert (np.diff(rates[100:]) <= 0).all()


def test_an_unknown_diet_is_refused():
    with pytest.raises(ValueError, match=f"diet must be one of {', '.join(diets.DIETS)}, got 'mini'"):
        Recipe("mini")


def test_the_command_trains(tmp_path):
    command = [sys.executable, "-m", "geoclip_lite.encoders.train", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "mini-single" in said
    assert "--seed" in said


# --- diets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "world"), [(n, w) for n, d in diets.DIETS.items() for w in d.worlds])
def test_captions_say_only_what_is_there_in_known_words(name, world):
    diet, rng = diets.DIETS[name], np.random.default_rng(0)
    known = set(diet.vocabulary())
    for _ in range(200):
        scene = diets.draw_scene(world, diet, rng)
        assert len(scene.objects) in diet.objects
        caption = diets.draw_caption(scene, world, diet, rng)
        if diet.alt_text and caption in diets.ALT_TEXTS:
            assert {*caption.split()} <= known
            continue
        said = {*caption.replace(",", " , ").split()}
        shown = {word for thing in scene.objects for word in thing.phrase.split()}
        assert said - shown <= {"a", "photo", "of", "the", "and", ",", world.GENERIC_NOUN}
        assert said | {*scene.caption.replace(",", " , ").split()} <= known


def test_alt_texts_are_as_frequent_as_the_diet_has_it_and_fit_any_picture():
    diet, rng = diets.DIETS["mini-alt"], np.random.default_rng(0)
    scene = diets.draw_scene(diet.worlds[0], diet, rng)
    captions = [diets.draw_caption(scene, diet.worlds[0], diet, rng) for _ in range(2000)]
    share = sum(caption in diets.ALT_TEXTS for caption in captions) / len(captions)
    assert share == pytest.approx(diet.alt_text, abs=0.03)
    values = {word for world in diet.worlds for word in world.words()} - {"a", "of", "and", "photo", ","}
    assert not {word for text in diets.ALT_TEXTS for word in text.split()} & values


def test_augmentation_moves_and_mirrors_but_keeps_bytes():
    pixels = torch.randint(0, 256, (32, 3, 64, 64), dtype=torch.uint8)
    changed = train.augment(pixels, np.random.default_rng(0))
    assert changed.dtype == torch.uint8
    assert changed.shape == pixels.shape
    assert not torch.equal(changed, pixels)
    assert torch.equal(changed, train.augment(pixels, np.random.default_rng(0)))
