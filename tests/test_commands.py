"""What every command of the package does before it works: say how it is used, at once and rightly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from geoclip_lite import encoders

ROOT = Path(__file__).parents[1]
HELP = """
import runpy, sys
sys.argv = ["command", "--help"]
try:
    runpy.run_module("geoclip_lite.{}", run_name="__main__")
except SystemExit as end:
    assert not end.code
slow = {{"torch", "open_clip", "numpy", "pandas", "nbformat", "matplotlib"}} & {{*sys.modules}}
assert not slow, slow
"""


@pytest.mark.parametrize(
    "command", ["datasets", "encoders", "scorecard", "course", "environment", "rewriting"]
)
def test_a_command_says_how_it_is_used_without_loading_what_is_slow(command):
    run = subprocess.run([sys.executable, "-c", HELP.format(command)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert f"python -m geoclip_lite.{command}" in run.stdout


def run(*arguments, **environment):
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


def test_the_minis_are_listed_and_an_unknown_name_points_there():
    listed = run("-m", "geoclip_lite.encoders", "list")
    assert listed.returncode == 0
    assert {*encoders.shipped()} <= {*listed.stdout.split()}
    refused = run("-m", "geoclip_lite.encoders", "nope")
    assert refused.returncode == 2
    assert "python -m geoclip_lite.encoders list" in refused.stderr


@pytest.mark.parametrize("helper", ["main_encoder", "cast"])
@pytest.mark.parametrize(
    ("name", "error"),
    [("nope", ValueError), ("my.safetensors", encoders.WeightsError), ("ViT-B-32/nope", ValueError)],
)
def test_an_encoder_of_the_environment_that_cannot_be_is_refused_by_its_variable(
    monkeypatch, tmp_path, helper, name, error
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOCLIP_ENCODER", name)
    with pytest.raises(error, match=f"GEOCLIP_ENCODER={name}"):
        getattr(encoders, helper)()


def test_a_policy_that_there_is_not_is_refused():
    refused = run("-m", "geoclip_lite.rewriting", "best")
    assert refused.returncode == 2
    assert "good, middling, weak" in refused.stderr


@pytest.mark.parametrize("user", ["0", "1000"])
def test_root_is_told_what_to_do_instead_of_opening_the_notebooks(tmp_path, user):
    """Commands of that name come first on the path; the notebooks' own is not started."""
    for name, line in {"id": f"echo {user}", "jupyter": "echo opened"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    command = ["make", "--no-print-directory", "lab", "READY=", f"BIN={tmp_path}"]
    path = f"{tmp_path}:{os.environ['PATH']}"
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PATH": path}
    )
    assert ("another user" in result.stdout) is (user == "0")
    assert (result.stdout == "opened\n") is (result.returncode == 0) is (user == "1000")


def test_what_a_package_gives_on_use_is_there_and_nothing_else():
    from geoclip_lite import rewriting, scorecard

    for package in (encoders, rewriting, scorecard):
        assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match=r"'geoclip_lite.encoders' has no attribute 'nothing'"):
        encoders.nothing  # noqa: B018
