"""What a bug report says of a machine, and what it must not say."""

from pathlib import Path

import numpy as np
import pytest

from geoclip_lite import environment
from geoclip_lite.encoders import WeightsError, shipped


def test_pins_are_read_with_extras_markers_and_builds():
    text = "# a comment\nnumpy==2.4.6\nray[data]==2.60.0\nmilvus==2.3.5; sys_platform == 'linux'\n-e .\n"
    assert environment.pins(text) == {"numpy": "2.4.6", "ray": "2.60.0", "milvus": "2.3.5"}
    assert len(environment.pins(environment.PINS.read_text())) > 30


def test_what_differs_is_named_with_both_versions():
    assert environment.differences({"numpy": np.__version__}) == []
    [other, missing] = environment.differences({"numpy": "0.1", "no-such-package": "1.0"})
    assert other == f"numpy: {np.__version__}, tested with 0.1"
    assert missing == "no-such-package: missing, tested with 1.0"


def test_the_report_names_versions_and_encoders_and_nobody(capsys):
    assert environment.main([]) in (0, 1)
    said = capsys.readouterr().out
    assert all(f"{name}: loads" in said for name in shipped())
    assert "torch" in said
    for secret in (str(Path.home()), str(environment.PINS.parent)):
        assert secret not in said


def test_an_encoder_that_does_not_load_is_an_error(monkeypatch, capsys):
    def damaged(name, device):
        raise WeightsError("damaged")

    monkeypatch.setattr(environment.encoders, "load_encoder", damaged)
    assert environment.main([]) == 1
    assert "mini-pairs: WeightsError" in capsys.readouterr().out


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_another_python_is_said(monkeypatch, capsys, version):
    monkeypatch.setattr(environment.sys, "version_info", (*version, 0))
    assert environment.main([]) == 1
    assert "tested with 3.11 to 3.13" in capsys.readouterr().out
