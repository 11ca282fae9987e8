"""CONTRIBUTING.md, followed literally."""

import re
from pathlib import Path

import pytest
import torch

from geoclip_lite.encoders import DualEncoder, Stored

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


@pytest.fixture(scope="module")
def told():
    """What its Python leaves behind, cell after cell."""
    names = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    return names


def test_the_data_set_can_be_searched(told):
    scenes = told["scenes"]
    assert len(scenes) == len({scene.image_id for scene in scenes}) == 6
    assert {scene.image(32).size for scene in scenes} == {(32, 32)}
    assert set(told["found"]) >= {"R@1", "R@5", "MRR"}


def test_the_encoder_keeps_the_protocol_and_can_be_stored(told, tmp_path):
    colour, scenes = told["colour"], told["scenes"]
    kept = [name for name in vars(DualEncoder) if not name.startswith("_")] + list(
        DualEncoder.__annotations__
    )
    assert all(hasattr(colour, name) for name in kept)
    stored = Stored(colour, tmp_path)
    assert torch.equal(stored.encode_images([scene.image() for scene in scenes]), told["vectors"])
    texts = colour.encode_texts([scene.caption for scene in scenes])
    assert torch.allclose(texts.norm(dim=1), torch.ones(len(texts)))
    assert (texts * told["vectors"]).sum(1).min() > 0.99, "a flag has the mean colour of its caption"


def test_the_matcher_says_that_it_read_annotations(told):
    ranking = told["ranking"]
    assert ranking.oracle
    assert ranking.method == "common words"
    assert ranking.indices.sort(1).values.tolist() == told["first"].indices.sort(1).values.tolist()


def test_files_and_commands_that_it_names_exist():
    for path in re.findall(r"`((?:tests|book|geoclip_lite|results)/[\w/.]*)`", TEXT):
        assert (ROOT / path).exists(), path
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make (\w+)", TEXT)) <= targets
