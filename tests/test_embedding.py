"""Bulk embedding: what ends up in the index, what is left out, and what a killed process leaves."""

import json
import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Barrier, Lock

import numpy as np
import odd_pictures
import pytest
import torch
from index_processes import process
from PIL import Image

from geoclip_lite.datasets import folder as folders
from geoclip_lite.embed import FIELDS, Cluster, ClusterError, DamagedPictureError, bulk, embed_folder
from geoclip_lite.embed.__main__ import main
from geoclip_lite.embed.files import File, files, read
from geoclip_lite.encoders import Stored, load_encoder
from geoclip_lite.encoders.squares import square_of
from geoclip_lite.index import Index, MismatchError, UnavailableError, open_index
from geoclip_lite.pipeline import Pipeline

IN_CI = os.environ.get("CI", "").lower() == "true"  # there, nothing is skipped
SIZES = [(64, 64), (80, 50), (31, 97), (200, 200)]


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("mini-pairs", device="cpu")


def noise(width, height, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def fill(folder, count, first=0):
    """Pictures of several sizes, kinds and depths."""
    for number in range(first, first + count):
        path = folder / f"{number % 3}" / f"{number:05}.{('png', 'jpg', 'webp')[number % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(*SIZES[number % 4], seed=number).save(path)
    return folder


def damage(path):
    path.write_bytes(path.read_bytes()[:40])


def opened(where, encoder, **other):
    wish = {"dim": encoder.dim, "encoder": encoder.fingerprint, "fields": FIELDS}
    return open_index(where, **wish | other)


def one_by_one(encoder, folder):
    """Ids and vectors, without any of the package's own bulk code."""
    scenes = folders.read(folder)
    return {scene.image_id: encoder.encode_images([scene.image()])[0] for scene in scenes}


def assert_holds(index, wanted):
    """These vectors and no others."""
    assert len(index) == len(wanted)
    found = index.read(list(wanted))
    torch.testing.assert_close(found.vectors, torch.stack([*wanted.values()]), atol=1e-5, rtol=0)


class Counting:
    """An encoder that notes how many pictures it is given."""

    def __init__(self, encoder):
        self.encoder, self.encoded = encoder, 0

    def __getattr__(self, name):
        return getattr(self.encoder, name)

    def encode_images(self, images):
        self.encoded += len(images)
        return self.encoder.encode_images(images)


# --- what ends up in the index --------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 7, 64])
@pytest.mark.parametrize("size", [3000, 2**24])
def test_the_index_holds_every_picture_as_the_encoder_sees_it(encoder, tmp_path, monkeypatch, batch, size):
    monkeypatch.setattr(bulk, "BYTES", size)
    folder = fill(tmp_path / "pictures", 30)
    with opened("memory:", encoder) as index:
        report = embed_folder(folder, encoder, index, batch=batch)
        assert (report.embedded, report.unchanged, report.damaged) == (30, 0, ())
        assert_holds(index, one_by_one(encoder, folder))


def test_a_store_of_embeddings_serves_too(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 5)
    with opened("memory:", encoder) as index:
        embed_folder(folder, Stored(encoder, tmp_path / "store"), index)
        assert_holds(index, one_by_one(encoder, folder))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK"])
@pytest.mark.parametrize("size", [(64, 64), (10, 300), (1, 1), (90, 64)])
def test_a_minis_square_is_encoded_like_its_picture(encoder, mode, size):
    image = noise(*size, seed=1).convert(mode)
    square = square_of(encoder, image)
    assert (square.size, square.mode) == ((64, 64), "RGB")
    assert square_of(encoder, square).tobytes() == square.tobytes()
    assert torch.equal(encoder.encode_images([square]), encoder.encode_images([image]))


def test_a_pipeline_gets_windows_too(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 20)
    scenes = folders.read(folder)
    with (
        Pipeline(encoder, tmp_path / "bulk", fields=FIELDS) as made,
        Pipeline(encoder, tmp_path / "added", fields={}) as reference,
    ):
        assert embed_folder(folder, encoder, made, batch=7).embedded == 20
        assert embed_folder(folder, encoder, made).unchanged == 20
        ids = [scene.image_id for scene in scenes]
        reference.add(ids, [scene.image() for scene in scenes])
        made.verify()
        for name in ("pictures", "windows"):
            found, wanted = (getattr(one, name).read(ids).vectors for one in (made, reference))
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


# --- what is not done again -----------------------------------------------------------------------


def test_a_second_run_embeds_only_what_is_new_or_has_changed(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 12)
    with opened(tmp_path / "index", encoder) as index:
        embed_folder(folder, encoder, index)
        fill(folder, 3, first=12)
        noise(50, 50, seed=99).save(folder / "0" / "00000.png")
        os.utime(folder / "1" / "00001.jpg", ns=(1, 1))
        counting = Counting(encoder)
        report = embed_folder(folder, counting, index)
        assert (report.embedded, report.unchanged) == (counting.encoded, 10) == (5, 10)
        assert_holds(index, one_by_one(encoder, folder))


def test_a_picture_that_changes_while_it_is_read_is_read_again_next_time(encoder, tmp_path):
    """Its stamp is from before the reading, so it is never younger than the content."""
    folder = fill(tmp_path / "pictures", 3)
    path = folder / "0" / "00000.png"
    late = Counting(encoder)
    late.square = lambda image: (noise(70, 70, seed=5).save(path), square_of(encoder, image))[1]
    with opened("memory:", encoder) as index:
        embed_folder(folder, late, index)
        assert embed_folder(folder, encoder, index).embedded == 1
        assert_holds(index, one_by_one(encoder, folder))


def test_pictures_that_have_gone_stay_in_the_index(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 4)
    with opened("memory:", encoder) as index:
        embed_folder(folder, encoder, index)
        (folder / "0" / "00000.png").unlink()
        assert embed_folder(folder, encoder, index).unchanged == 3
        assert len(index) == 4


# --- damage ---------------------------------------------------------------------------------------


def test_damaged_pictures_are_skipped_by_name_and_counted(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 30)
    broken = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.*"))[::4]]
    for name in broken:
        damage(folder / name)
    with opened("memory:", encoder) as index:
        report = embed_folder(folder, encoder, index, damaged="skip", batch=4)
        assert [one.name for one in report.damaged] == broken
        assert all("no readable picture" in one.reason for one in report.damaged)
        assert f"30 pictures: {30 - len(broken)} embedded, 0 already there, {len(broken)} damaged" in str(
            report
        )
        for name in broken:
            (folder / name).unlink()
        assert_holds(index, one_by_one(encoder, folder))


def test_a_damaged_picture_is_refused_by_name_and_what_came_before_is_kept(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 30)
    last = sorted(folder.rglob("*.*"))[-1]
    damage(last)
    with opened("memory:", encoder) as index:
        with pytest.raises(DamagedPictureError, match=rf"{last.name} is no readable.*; 29 others"):
            embed_folder(folder, encoder, index, batch=4)
        last.unlink()
        assert embed_folder(folder, encoder, index).unchanged == 29


def test_a_picture_damaged_later_keeps_its_vector(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 3)
    wanted = one_by_one(encoder, folder)
    with opened("memory:", encoder) as index:
        embed_folder(folder, encoder, index)
        damage(folder / "0" / "00000.png")
        assert len(embed_folder(folder, encoder, index, damaged="skip").damaged) == 1
        assert_holds(index, wanted)


def test_a_folder_of_nothing_but_damage_is_embedded_to_nothing(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 3)
    for path in folder.rglob("*.*"):
        damage(path)
    with (
        opened("memory:", encoder) as index,
        Pipeline(encoder, tmp_path / "pipeline", fields=FIELDS) as pipeline,
    ):
        for into in (index, pipeline):
            assert len(embed_folder(folder, encoder, into, damaged="skip").damaged) == 3
            assert len(into) == 0


@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"deep/" * 120 + b"a.png"])
def test_a_path_that_cannot_be_an_id_is_damage(encoder, tmp_path, name):
    folder = fill(tmp_path / "pictures", 2)
    path = folder / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    noise(64, 64, seed=0).save(path)
    with opened("memory:", encoder) as index:
        report = embed_folder(folder, encoder, index, damaged="skip")
        assert (report.embedded, len(report.damaged)) == (2, 1)
        assert report.damaged[0].reason.startswith("the path must be")


@pytest.mark.parametrize(("size", "said"), [((1, 1001), "too narrow"), ((70_000, 60), "too narrow")])
def test_a_strip_that_would_fill_the_memory_is_damage(encoder, tmp_path, size, said):
    Image.new("L", size).save(tmp_path / "strip.png")
    batch = read(tmp_path, lambda _: pytest.fail("scaled"), [File("strip.png", "")])
    assert said in batch.left_out[0].reason


def test_a_picture_too_large_to_be_honest_is_damage(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    batch = read(tmp_path, lambda _: pytest.fail("opened"), [File("bomb.png", "")])
    assert "pixels" in batch.left_out[0].reason


def test_a_picture_that_vanishes_is_damage_or_not_there(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 2)
    some = list(files(folder))
    (folder / some[0].name).unlink()
    assert [one.name for one in read(folder, partial(square_of, encoder), some).left_out] == [some[0].name]
    assert [one.name for one in files(folder)] == [some[1].name]


def test_a_link_that_leads_back_is_not_followed(tmp_path):
    folder = fill(tmp_path / "pictures", 3)
    (folder / "round").symlink_to(folder)
    (folder / "dead.png").symlink_to(folder / "nowhere.png")
    assert len(list(files(folder))) == 3


def test_a_link_to_pictures_elsewhere_is_followed(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 2)
    fill(tmp_path / "disk", 3)
    (folder / "disk").symlink_to(tmp_path / "disk")
    with opened("memory:", encoder) as index:
        assert embed_folder(folder, encoder, index).embedded == 5
        assert_holds(index, one_by_one(encoder, folder))


# --- how it works ---------------------------------------------------------------------------------


def test_pictures_are_read_side_by_side(encoder, tmp_path):
    meeting = Barrier(3, timeout=30)
    together = Counting(encoder)
    together.square = lambda image: (meeting.wait(), square_of(encoder, image))[1]
    folder = fill(tmp_path / "pictures", 9)
    with opened("memory:", encoder) as index:
        assert embed_folder(folder, together, index, batch=1, workers=3).embedded == 9


def test_few_pictures_are_in_memory_at_a_time(encoder, tmp_path):
    """Those that are encoded or wait for it, however large the folder."""
    lock, most, waiting = Lock(), 0, 0

    class Watching(Counting):
        def square(self, image):
            nonlocal most, waiting
            with lock:
                waiting += 1
                most = max(most, waiting)
            return square_of(encoder, image)

        def encode_images(self, images):
            nonlocal waiting
            time.sleep(0.01)  # slower than reading
            with lock:
                waiting -= len(images)
            return encoder.encode_images(images)

    folder = fill(tmp_path / "pictures", 150)
    with opened("memory:", encoder) as index:
        embed_folder(folder, Watching(encoder), index, batch=2, workers=2)
    assert 4 <= most <= 2 * (4 + 3), "batches of 2: four read or being read, three encoded or about to be"


def test_what_goes_wrong_in_the_encoder_or_the_index_is_not_swallowed(encoder, tmp_path, monkeypatch):
    folder = fill(tmp_path / "pictures", 30)

    class Tired(Counting):
        def encode_images(self, images):
            if self.encoded >= 10:
                raise RuntimeError("out of memory")
            return super().encode_images(images)

    with opened("memory:", encoder) as index:
        with pytest.raises(RuntimeError, match="out of memory"):
            embed_folder(folder, Tired(encoder), index, batch=5)
        monkeypatch.setattr(Index, "upsert", lambda *_: (_ for _ in ()).throw(UnavailableError("no room")))
        with pytest.raises(UnavailableError, match="no room"):
            embed_folder(folder, encoder, index)


def test_an_index_of_something_else_is_refused(encoder, tmp_path):
    folder = fill(tmp_path / "pictures", 2)
    with (
        opened("memory:", load_encoder("mini-single", device="cpu")) as index,
        pytest.raises(MismatchError, match="encoder"),
    ):
        embed_folder(folder, encoder, index)
    with opened("memory:", encoder, fields={}) as index, pytest.raises(MismatchError, match="FIELDS"):
        embed_folder(folder, encoder, index)
    with (
        Pipeline(encoder, tmp_path / "pipeline", fields={"price": float}) as pipeline,
        pytest.raises(MismatchError, match="FIELDS"),
    ):
        embed_folder(folder, encoder, pipeline)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"damaged": "ignore"}, "'refuse' or 'skip'"), ({"batch": 0}, "batch"), ({"workers": 0}, "workers")],
)
def test_arguments_that_cannot_be_are_refused(encoder, tmp_path, options, said):
    with opened("memory:", encoder) as index, pytest.raises(ValueError, match=said):
        embed_folder(fill(tmp_path, 1), encoder, index, **options)


# --- kill -9 --------------------------------------------------------------------------------------


def embed_and_tell(pipe, folder, where, windows):
    """Embeds, and says after every upsert which pictures are safe."""
    bulk.BYTES = 1  # every batch by itself
    upsert, encoder = Index.upsert, load_encoder("mini-pairs", device="cpu")

    def told(index, ids, vectors, fields=None):
        upsert(index, ids, vectors, fields)
        if fields:  # the windows of a pipeline have none, and are safe before their pictures
            pipe.send(list(ids))

    Index.upsert = told
    with Pipeline(encoder, where, fields=FIELDS) if windows else opened(where, encoder) as into:
        pipe.send(embed_folder(folder, encoder, into, batch=5))


def told_until_killed(arguments, words, moment):
    """What an embedding process says before it is killed, some seconds after so many words."""
    said = []
    with process(embed_and_tell, *arguments) as (worker, pipe):
        while len(said) < words and not any(isinstance(one, bulk.Report) for one in said):
            assert pipe.poll(120), "silent for two minutes"
            said.append(pipe.recv())
        worker.join(moment)
        worker.kill()
        worker.join()
        with suppress(EOFError, OSError):  # the last word may be cut short
            while pipe.poll():
                said.append(pipe.recv())
    return said


@pytest.mark.parametrize("windows", [False, True])
def test_kill_9_loses_nothing_and_repeats_nothing(encoder, tmp_path, windows):
    folder, rng = fill(tmp_path / "pictures", 80), random.Random(0)
    place = f"exact:{tmp_path / 'index'}{'/{}' if windows else ''}"
    pictures = place.format("pictures")
    safe, lives, report = [], 0, None
    while report is None:
        said = told_until_killed((folder, place, windows), rng.randint(0, 3), rng.uniform(0, 0.02))
        report = said.pop() if said and isinstance(said[-1], bulk.Report) else None
        safe += [name for names in said for name in names]
        lives += 1
    assert lives > 3
    assert len(set(safe)) == len(safe), "what was safe was not embedded again"
    with opened(pictures, encoder) as index:
        assert_holds(index, one_by_one(encoder, folder))
        index.verify()
    if windows:
        with Pipeline(encoder, place, fields=FIELDS) as pipeline:
            pipeline.verify()


# --- the command ----------------------------------------------------------------------------------


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["embed", *map(str, arguments)])
    return main()


def test_the_command_embeds_and_goes_on_where_it_was_killed(encoder, tmp_path):
    folder, where = fill(tmp_path / "pictures", 200), tmp_path / "index"
    command = [
        sys.executable,
        "-m",
        "geoclip_lite.embed",
        folder,
        where,
        "--encoder",
        "mini-pairs",
        "--device",
        "cpu",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    for _ in range(3000):
        time.sleep(0.01)
        if (where / "rows.lance").exists():
            break
    time.sleep(0.05)
    killed.kill()
    killed.communicate()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("200 pictures: ")
    with opened(where, encoder) as index:
        assert_holds(index, one_by_one(encoder, folder))


def test_the_command_names_what_is_damaged(encoder, tmp_path, monkeypatch, capsys):
    folder, where = fill(tmp_path / "pictures", 5), tmp_path / "index"
    damage(folder / "0" / "00000.png")
    arguments = (folder, where, "--encoder", "mini-pairs", "--device", "cpu")
    assert run(monkeypatch, *arguments) == 1
    assert "00000.png is no readable picture" in capsys.readouterr().err
    assert run(monkeypatch, *arguments, "--damaged", "skip", "--optimise") == 0
    said = capsys.readouterr()
    assert "0 embedded, 4 already there, 1 damaged" in said.out
    assert "00000.png is no readable picture" in said.err


def test_the_command_names_all_that_it_leaves_out_of_odd_pictures(encoder, tmp_path, monkeypatch, capsys):
    folder, where = tmp_path / "photos", tmp_path / "index"
    good, damaged, others = odd_pictures.fill(folder)
    damaged.add(odd_pictures.add_unnamed(folder))
    arguments = (folder, where, "--encoder", "mini-pairs", "--device", "cpu")
    assert run(monkeypatch, *arguments) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert run(monkeypatch, *arguments, "--damaged", "skip") == 0
    said = capsys.readouterr()
    total = len(good) + len(damaged)
    assert f"{total} pictures: " in said.out
    assert f"{len(damaged)} damaged" in said.out
    assert f"{len(others)} other" in said.out
    lines = said.err.splitlines()
    assert len(lines) == len(damaged | others)
    assert all(any(name in line for line in lines) for name in damaged | others)
    with opened(where, encoder) as index:
        assert len(index.read(sorted(good)).vectors) == len(index) == len(good)


def test_pictures_that_are_not_decoded_are_no_damage(encoder, tmp_path, monkeypatch, capsys):
    folder = fill(tmp_path / "pictures", 2)
    for name in ("a.HEIC", "b.jpg", "c.avif"):
        (folder / name).write_bytes(odd_pictures.HEIC)
    assert run(monkeypatch, folder, tmp_path / "index", "--encoder", "mini-pairs", "--device", "cpu") == 0
    said = capsys.readouterr()
    assert "2 pictures: 2 embedded" in said.out
    assert "3 other" in said.out
    assert said.err.count("JPEG or PNG") == 3


def test_the_command_can_be_interrupted(encoder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(type(encoder), "encode_images", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    arguments = (fill(tmp_path / "pictures", 5), tmp_path / "index", "--encoder", "mini-pairs")
    assert run(monkeypatch, *arguments, "--device", "cpu") == 1
    assert capsys.readouterr().err == "interrupted: the same command does the rest\n"


def test_the_command_fills_a_pipeline(encoder, tmp_path, monkeypatch):
    folder = fill(tmp_path / "pictures", 5)
    assert (
        run(monkeypatch, folder, tmp_path / "p", "--encoder", "mini-pairs", "--device", "cpu", "--windows")
        == 0
    )
    with Pipeline(encoder, tmp_path / "p", fields=FIELDS) as pipeline:
        assert len(pipeline.windows) == len(pipeline) == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "index", "--encoder", "mini-pairs"], "there is no folder nowhere"),
        ([".", "index", "--encoder", "mini-paris"], "did you mean 'mini-pairs'"),
        ([".", "nowhere:there", "--encoder", "mini-pairs"], "where must be"),
    ],
)
def test_the_command_says_in_a_line_what_is_wrong(monkeypatch, tmp_path, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]


# --- on a cluster ---------------------------------------------------------------------------------


needs_ray = pytest.mark.skipif(find_spec("ray") is None and not IN_CI, reason="Ray is not installed")


@needs_ray
def test_two_machines_give_the_same_index(encoder, tmp_path):
    """A cluster that lacks processors hangs without a word: the time limit makes that a failure."""
    folder, where = fill(tmp_path / "pictures", 40), tmp_path / "index"
    (folder / "0" / "\udcff.png").write_bytes(b"no picture, and no name that UTF-8 could hold")
    (folder / "0" / "phone.jpg").write_bytes(odd_pictures.HEIC)
    script = Path(__file__).with_name("embedding_on_ray.py")
    patience = {"RAY_raylet_start_wait_time_s": "120", "RAY_agent_register_timeout_ms": "120000"}
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"} | patience
    command = [sys.executable, script, folder, where]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    first, second = told["first"], told["second"]
    [unnamed], [heic] = first["damaged"], first["left_out"]
    assert (first["embedded"], first["unchanged"], unnamed["name"]) == (40, 0, "0/\udcff.png")
    assert unnamed["reason"].startswith("the path must be valid Unicode")
    assert heic["name"] == "0/phone.jpg"
    assert (second["embedded"], second["unchanged"]) == (0, 40)
    assert "room for 8 actors of 0.5 processors and 0 GPUs, not for 9" in told["too many"]
    assert told["machines"] == 2
    assert told["connected"], "a connection that was there before stays"
    for name in ("\udcff.png", "phone.jpg"):
        (folder / "0" / name).unlink()
    with opened(where, encoder) as index:
        assert_holds(index, one_by_one(encoder, folder))


def test_without_ray_the_extra_is_named(encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    folder = fill(tmp_path / "pictures", 1)
    with opened("memory:", encoder) as index, pytest.raises(ImportError, match=r"geoclip-lite\[ray\]"):
        embed_folder(folder, encoder, index, cluster=Cluster())


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "nowhere"])
def test_a_cluster_that_does_not_answer_is_named_at_once(encoder, tmp_path, address):
    folder, start = fill(tmp_path / "pictures", 1), time.monotonic()
    with opened("memory:", encoder) as index, pytest.raises(ClusterError, match=f"no cluster .* '{address}'"):
        embed_folder(folder, encoder, index, cluster=Cluster(address))
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("options", [{"actors": 0}, {"cpus": 0}, {"cpus": -1, "gpus": 1}])
def test_clusters_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        Cluster(**options)
