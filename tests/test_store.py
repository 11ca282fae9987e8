"""The store: an encoder's own vectors, each computed once, whatever happens to the process or to the file."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from geoclip_lite.encoders import Stored, StoreWarning, TextWarning, load_encoder
from geoclip_lite.encoders.store import default_folder, image_key, text_key

WRITER = """
import sys, torch
from test_store import noise
from geoclip_lite.encoders import Stored, load_encoder
torch.set_num_threads(1)
encoder = Stored(load_encoder("mini-single", device="cpu"), sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    encoder.encode_images([noise(number), noise(number + 1)])
"""


class Counted:
    """Stands in for an encoder: notes what it is asked for and gives it vectors of its own."""

    name, dim, image_size, templates, fingerprint = "counted", 8, 64, ("{}",), "0123abcd"

    def __init__(self):
        self.asked = []

    def encode_texts(self, texts):
        self.asked += texts
        return self._vectors([text_key(text) for text in texts])

    def encode_images(self, images):
        self.asked += images
        return self._vectors([image_key(image) for image in images])

    def _vectors(self, keys):
        numbers = torch.tensor([list(key[: self.dim]) for key in keys]).float() + 1
        return torch.nn.functional.normalize(numbers, dim=1)


@pytest.fixture
def counted(tmp_path):
    return Stored(Counted(), tmp_path)


def noise(number):
    """A picture like no other."""
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (9, 7, 3), dtype=np.uint8))


def execute(path, command, *values):
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        return database.execute(command, values).fetchall()


# --- looking up -----------------------------------------------------------------------------------


def test_vectors_are_the_encoders_own_to_the_bit(tmp_path):
    mini = load_encoder("mini-pairs", device="cpu")
    texts, images = ["red star", "a blue circle"], [noise(n) for n in range(5)]
    for _ in range(2):
        stored = Stored(mini, tmp_path)
        assert torch.equal(stored.encode_texts(texts), mini.encode_texts(texts))
        assert torch.equal(stored.encode_images(images), mini.encode_images(images))
    about = (stored.name, stored.dim, stored.image_size, stored.templates, stored.fingerprint)
    assert about == (mini.name, mini.dim, mini.image_size, mini.templates, mini.fingerprint)


def test_each_item_is_computed_once_even_within_a_call(counted, tmp_path):
    first, second = noise(1), noise(2)
    counted.encode_texts(["a", "b", "a"])
    counted.encode_images([first, first.copy(), second])
    counted.encode_texts(["b", "c"])
    assert counted.encoder.asked == ["a", "b", first, second, "c"]
    again = Stored(Counted(), tmp_path)
    again.encode_texts(["c", "b", "a"])
    again.encode_images([second, first])
    assert again.encoder.asked == []


def test_rows_stand_in_the_order_asked_for(counted):
    counted.encode_texts(["b", "d"])
    texts = ["d", "a", "b", "a", "c"]
    vectors = counted.encode_texts(texts)
    assert torch.equal(vectors, Counted().encode_texts(texts))
    vectors[0] = 0  # what is handed out is the caller's
    assert torch.equal(counted.encode_texts(texts), Counted().encode_texts(texts))


def test_nothing_asked_nothing_computed(counted):
    assert counted.encode_texts([]).shape == counted.encode_images([]).shape == (0, 8)


def test_a_picture_is_known_by_mode_size_palette_and_pixels():
    image = noise(0)
    indexed = image.quantize(4)
    recoloured = indexed.copy()
    recoloured.putpalette([*range(12)])
    others = [image.convert("L"), image.convert("RGBA"), image.rotate(180), indexed, recoloured]
    others += [Image.new("RGB", (2, 6)), Image.new("RGB", (3, 4)), Image.new("RGB", (4, 3))]
    assert len({image_key(i) for i in [image, *others]}) == len(others) + 1
    assert image_key(image) == image_key(image.copy())


def test_encoders_do_not_share_files(tmp_path):
    pairs, single = (
        Stored(load_encoder(name, device="cpu"), tmp_path) for name in ("mini-pairs", "mini-single")
    )
    assert pairs.path != single.path
    pairs.encode_texts(["red star"])
    assert torch.equal(single.encode_texts(["red star"]), single.encoder.encode_texts(["red star"]))


def test_what_an_encoder_refuses_the_store_refuses(counted):
    with pytest.raises(TypeError, match=r"write \['red'\]"):
        counted.encode_texts("red")
    with pytest.raises(ValueError, match="without words"):
        counted.encode_texts(["red", " "])


def test_warnings_of_the_encoder_come_through(tmp_path):
    with pytest.warns(TextWarning, match="never saw: octagon"):
        Stored(load_encoder("mini-pairs", device="cpu"), tmp_path).encode_texts(["octagon"])


# --- the folder -----------------------------------------------------------------------------------


def test_the_folder_is_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("GEOCLIP_CACHE", str(tmp_path / "here"))
    assert Stored(Counted()).path.parent == default_folder() == tmp_path / "here"
    monkeypatch.setenv("GEOCLIP_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "geoclip-lite"


@pytest.mark.parametrize(
    "obstacle", ["a file where the folder should be", "a folder where the file should be"]
)
def test_a_folder_that_cannot_be_written_to_is_a_clear_error(tmp_path, obstacle):
    if obstacle.startswith("a file"):
        (tmp_path / "store").write_text("")
    else:
        (tmp_path / "store" / f"{Counted.fingerprint}.sqlite").mkdir(parents=True)
    with pytest.raises(OSError, match=r"cannot be used .* folder .*GEOCLIP_CACHE"):
        Stored(Counted(), tmp_path / "store")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_a_clear_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match=r"cannot be used .*GEOCLIP_CACHE"):
        Stored(Counted(), tmp_path)


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "vector = zeroblob(32)",
        "vector = substr(vector, 1, 31)",
        "vector = NULL, checksum = NULL",
        "checksum = checksum + 1",
        "vector = (SELECT vector FROM vectors AS other WHERE other.key != vectors.key)",
    ],
)
def test_a_damaged_row_is_computed_anew_with_a_warning(counted, change):
    expected = counted.encode_texts(["a", "b"])
    execute(counted.path, f"UPDATE vectors SET {change} WHERE key = ?", text_key("a"))
    with pytest.warns(StoreWarning, match=r"1 vectors in .*sqlite are damaged: computed anew") as caught:
        assert torch.equal(counted.encode_texts(["a", "b"]), expected)
    said = [warning for warning in caught if warning.category is StoreWarning]  # others warn on newer Pythons
    assert said[0].filename == __file__
    assert torch.equal(counted.encode_texts(["a", "b"]), expected)
    assert counted.encoder.asked == ["a", "b", "a"]


@pytest.mark.parametrize("damage", ["garbage", "truncated", "overwritten"])
def test_a_damaged_file_is_set_aside_with_a_warning(counted, damage):
    texts = [f"text {number}" for number in range(500)]
    expected = counted.encode_texts(texts)
    content = counted.path.read_bytes()
    middle = len(content) // 2
    overwritten = content[:4096] + b"\xff" * 4096 + content[8192:]
    broken = {"garbage": b"no database" * 99, "truncated": content[:middle], "overwritten": overwritten}[
        damage
    ]
    counted.path.write_bytes(broken)
    counted.path.with_name(f"{counted.path.name}-journal").write_bytes(b"of the old file")
    with pytest.warns(StoreWarning, match=r"cannot be read .* kept as 0123abcd\.damaged, begun anew"):
        assert torch.equal(counted.encode_texts(texts), expected)
    assert counted.path.with_suffix(".damaged").read_bytes() == broken
    assert torch.equal(counted.encode_texts(texts), expected)
    assert len(counted.encoder.asked) == 1000


def test_a_file_that_another_process_has_begun_anew_stays(counted, monkeypatch):
    expected, content, looks = counted.encode_texts(["a"]), counted.path.read_bytes(), []

    def identity():
        """By the second look, the other process has put its file in place."""
        looks.append(counted.path)
        if len(looks) == 2:
            counted.path.write_bytes(content)
        return len(looks)

    counted.path.write_bytes(b"no database" * 99)
    monkeypatch.setattr(counted, "_identity", identity)
    assert torch.equal(counted.encode_texts(["a"]), expected)
    assert not counted.path.with_suffix(".damaged").exists()


# --- several processes ----------------------------------------------------------------------------


def start_writer(folder, rounds):
    """A process that is ready to store the pictures 0 to `rounds`, two at a time."""
    command = [sys.executable, "-c", WRITER, str(folder), str(rounds)]
    here = Path(__file__).parent
    writer = subprocess.Popen(command, cwd=here, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "ready\n"
    return writer


def numbers_of_whole_rows(path, upto):
    """Which pictures a store holds, after a check that it holds what their encoder computes."""
    shown = [noise(number) for number in range(upto)]
    vectors = load_encoder("mini-single", device="cpu").encode_images(shown)
    rows = dict(execute(path, "SELECT key, vector FROM vectors"))
    held = [number for number in range(upto) if image_key(shown[number]) in rows]
    stored = [np.frombuffer(rows[image_key(shown[number])], np.float32) for number in held]
    assert len(held) == len(rows)
    assert np.allclose(stored, vectors[held], atol=1e-6)
    assert execute(path, "PRAGMA integrity_check") == [("ok",)]
    return held


def test_two_processes_write_to_one_store(tmp_path):
    writers = [start_writer(tmp_path, 60) for _ in range(2)]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0, 0]
    (path,) = tmp_path.glob("*")
    assert numbers_of_whole_rows(path, 61) == [*range(61)]


def test_a_killed_process_leaves_whole_rows(tmp_path):
    """A real SIGKILL, at whatever instruction it strikes once there are rows."""
    writer = start_writer(tmp_path, 10_000)
    writer.stdin.write("go\n")
    writer.stdin.flush()
    (path,) = tmp_path.glob("*.sqlite")
    while writer.poll() is None and execute(path, "SELECT count(*) FROM vectors") < [(5,)]:
        time.sleep(0.01)
    writer.kill()
    writer.communicate()
    encoder = Stored(load_encoder("mini-single", device="cpu"), tmp_path)
    encoder.encode_images([noise(0)])
    held = numbers_of_whole_rows(path, 500)
    assert held == [*range(len(held))]
