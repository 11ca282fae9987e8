"""The workflows, offline: against their schema, and for what a schema cannot know."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from built_book import EXECUTED, PAGES, ROOT

NAMES = sorted(path.stem for path in ROOT.glob(".github/workflows/*"))
ON = True  # YAML 1.1 reads the key `on` as a truth value
REAL = "ViT-B-32-quickgelu/openai"
FILE = re.compile(r"\.?[\w-]+(?:/[\w.-]+)+|[\w-]+\.(?:txt|py|toml|yml|md)")
MADE_BY_THE_RUN = (".venv/", ".cache/", "_build/")
each_workflow = pytest.mark.parametrize("name", NAMES)


def path_of(name: str) -> Path:
    return ROOT / ".github" / "workflows" / f"{name}.yml"


def workflow(name: str) -> dict:
    return yaml.safe_load(path_of(name).read_text())


def steps(name: str) -> list[dict]:
    """The steps of all jobs of a workflow, in order."""
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


def scripts(name: str) -> str:
    """All that a workflow runs in a shell."""
    return "\n".join(step.get("run", "") for step in steps(name))


def check_schema(path: Path) -> subprocess.CompletedProcess:
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    return subprocess.run([*checker, path], capture_output=True, text=True)


# ---- all of them -------------------------------------------------------------------------------------


@each_workflow
def test_fits_the_schema(name):
    checked = check_schema(path_of(name))
    assert checked.returncode == 0, checked.stdout


@each_workflow
def test_a_misspelt_key_is_refused(name, tmp_path):
    broken = tmp_path / f"{name}.yml"
    broken.write_text(path_of(name).read_text().replace("runs-on:", "run-on:", 1))
    checked = check_schema(broken)
    assert checked.returncode == 1
    assert "run-on" in checked.stdout


@each_workflow
def test_a_job_ends_and_no_failure_is_passed_over(name):
    endless = [job for job, content in workflow(name)["jobs"].items() if "timeout-minutes" not in content]
    assert not endless, f"jobs without timeout-minutes: {endless}"
    assert "continue-on-error" not in path_of(name).read_text()
    assert "|| true" not in scripts(name)


@each_workflow
def test_may_only_read_unless_a_job_says_otherwise(name):
    assert workflow(name)["permissions"] == {"contents": "read"}
    checkouts = [step for step in steps(name) if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@each_workflow
def test_actions_are_pinned(name):
    used = [step["uses"] for step in steps(name) if "uses" in step]
    loose = [action for action in used if not re.search(r"@(v[\d.]+|[0-9a-f]{40})$", action)]
    assert not loose, f"actions without a version: {loose}"


@each_workflow
def test_a_newer_run_replaces_an_older_one_but_never_a_deployment(name):
    assert workflow(name)["concurrency"]["cancel-in-progress"] is (name != "publish")


def files_named(name: str) -> set[str]:
    """Files of the repository that the scripts, `make`, `python -m` and the caches of a workflow name."""
    keyed = [step.get("with", {}).get("cache-dependency-path", "") for step in steps(name)]
    words = {word for word in [*scripts(name).split(), *keyed] if FILE.fullmatch(word)}
    modules = re.findall(r"-m (geoclip_lite[\w.]*)", scripts(name))
    return {
        *(word for word in words if not word.startswith(MADE_BY_THE_RUN)),
        *(f"{module.replace('.', '/')}/__main__.py" for module in modules),
    }


@each_workflow
def test_files_and_targets_exist(name):
    files = files_named(name)
    missing = [file for file in files if not (ROOT / file).is_file()]
    targets = set(re.findall(r"\bmake (\w+)", scripts(name)))
    known = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert files
    assert not missing, f"no such files: {missing}"
    assert targets <= known, f"no such targets: {targets - known}"


@each_workflow
def test_uploads_what_the_build_writes(name):
    uploads = [step["with"] for step in steps(name) if "/upload-" in step.get("uses", "")]
    assert uploads or name == "links"
    for upload in uploads:
        made_by_a_step = upload["path"] in scripts(name) + (ROOT / "Makefile").read_text()
        assert ROOT / upload["path"] in (EXECUTED, PAGES) or made_by_a_step
        assert upload.get("include-hidden-files", False) is upload["path"].startswith(".")


# ---- ci ----------------------------------------------------------------------------------------------


def test_ci_runs_everything_on_every_python_that_the_package_admits():
    admitted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    first, end = map(int, re.fullmatch(r">=3\.(\d+),<3\.(\d+)", admitted).groups())
    strategy = workflow("ci")["jobs"]["test"]["strategy"]
    assert strategy["matrix"]["python"] == [f"3.{minor}" for minor in range(first, end)]
    assert strategy["fail-fast"] is False
    assert ".ci/run" in [step.get("run") for step in steps("ci")]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_ci_runs_for_main_and_for_pull_requests():
    assert workflow("ci")[ON] == {"push": {"branches": ["main"]}, "pull_request": None}


def test_ci_keeps_the_contract_of_an_index_on_a_current_milvus():
    job = workflow("ci")["jobs"]["milvus"]
    image, _, version = job["env"]["IMAGE"].partition(":v")
    pinned = re.search(r"^milvus==([\d.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert image == "milvusdb/milvus"
    assert [*map(int, version.split("."))] > [*map(int, pinned[1].split("."))]
    assert job["env"]["GEOCLIP_MILVUS_URI"].startswith("http://127.0.0.1:")
    order = ["docker run", "make setup", "healthz", "tests/test_index_milvus.py"]
    runs = "\n".join(step.get("run", "") for step in job["steps"])
    assert sorted(order, key=runs.index) == order


# ---- gpu ---------------------------------------------------------------------------------------------


def run_step(key: str, folder: Path, python: str, **variables: str) -> subprocess.CompletedProcess:
    """Run a step of the gpu workflow as its runner does, with a script in the place of .venv/bin/python."""
    (step,) = [step for step in steps("gpu") if step.get("id") == key]
    stand_in = folder / ".venv" / "bin" / "python"
    stand_in.parent.mkdir(parents=True)
    stand_in.write_text(f"#!/bin/sh\n{python}\n")
    stand_in.chmod(0o755)
    places = {"GITHUB_OUTPUT": str(folder / "output"), "GITHUB_STEP_SUMMARY": str(folder / "summary")}
    env = {**os.environ, **places, **variables}
    shell = ["bash", "-e", "-c", step["run"]]
    return subprocess.run(shell, cwd=folder, env=env, capture_output=True, text=True)


def position(text: str) -> int:
    """Which step of the gpu workflow runs this."""
    (found,) = [n for n, step in enumerate(steps("gpu")) if text in step.get("run", "")]
    return found


def test_gpu_keeps_forks_out_and_waits_for_the_label():
    condition = workflow("gpu")["jobs"]["notebooks"]["if"]
    assert "github.event.pull_request.head.repo.full_name == github.repository &&" in condition
    assert "contains(github.event.pull_request.labels.*.name, 'gpu')" in condition
    assert set(workflow("gpu")[ON]) == {"workflow_dispatch", "schedule", "pull_request"}


def test_gpu_looks_for_the_device_before_anything_else_runs():
    order = ["cuda.is_available()", "geoclip_lite.encoders", "make book", "-k cuda"]
    assert sorted(order, key=position) == order


def test_gpu_stops_on_a_machine_without_a_device(tmp_path):
    done = run_step("machine", tmp_path, f'exec {sys.executable} "$@"', CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert "AssertionError: torch finds no CUDA device" in done.stderr


def test_gpu_gives_the_chosen_encoder_to_the_notebooks():
    (job,) = workflow("gpu")["jobs"].values()
    assert job["env"]["REAL_ENCODER"] == REAL
    given = job["steps"][position("make book")]["env"]
    assert given == {"GEOCLIP_ENCODER": "${{ steps.encoder.outputs.name }}"}


@pytest.mark.parametrize(("status", "chosen", "said"), [(0, REAL, "real weights"), (1, "", "the minis: ")])
def test_gpu_takes_real_weights_or_says_that_it_took_the_minis(status, chosen, said, tmp_path):
    python = f'[ "$3" = mini-pairs ] && echo on cuda || exit {status}'
    done = run_step("encoder", tmp_path, python, REAL_ENCODER=REAL, MACHINE="torch 1.2.3, a device")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output").read_text() == f"name={chosen}\n"
    (line,) = (tmp_path / "summary").read_text().splitlines()
    assert line.startswith(f"**Notebooks on CUDA with {said}")
    assert line.endswith("(torch 1.2.3, a device)")


@pytest.mark.parametrize(
    "python",
    ["exit 1", "echo on cpu", '[ "$3" = mini-pairs ] && echo on cuda || exit 2'],
    ids=["no mini", "a mini on the processor", "no such encoder"],
)
def test_gpu_takes_no_bug_for_a_lack_of_weights(python, tmp_path):
    assert run_step("encoder", tmp_path, python, REAL_ENCODER=REAL, MACHINE="").returncode
    assert not (tmp_path / "output").exists()


def test_gpu_looks_up_nothing_that_an_earlier_run_computed():
    (job,) = workflow("gpu")["jobs"].values()
    workspace = "${{ github.workspace }}/"  # the checkout empties it
    kept = {workspace + step["with"]["path"] for step in job["steps"] if "/cache/" in step.get("uses", "")}
    assert kept == {job["env"]["HF_HOME"]}
    assert job["env"]["GEOCLIP_CACHE"].startswith(workspace)
    assert job["env"]["GEOCLIP_CACHE"] not in kept


# ---- publish -----------------------------------------------------------------------------------------


def test_publish_follows_ci_where_it_passed_on_main():
    after = workflow("publish")[ON]["workflow_run"]
    assert after == {"workflows": [workflow("ci")["name"]], "types": ["completed"], "branches": ["main"]}
    condition = workflow("publish")["jobs"]["build"]["if"]
    assert "github.event.workflow_run.event == 'push' &&" in condition
    assert "github.event.workflow_run.conclusion == 'success'" in condition


def test_publish_lets_no_code_of_the_book_write():
    jobs = workflow("publish")["jobs"]
    build, deploy = jobs["build"], jobs["deploy"]
    assert set(build["permissions"].values()) == {"read"}
    for job in (content for name, content in jobs.items() if name != "build"):
        said = "\n".join(step.get("run", "") for step in job["steps"])
        assert not re.search(r"python|\bmake\b|pip", said), "what may write runs git and gh alone"
    assert deploy["needs"] == "build"
    assert deploy["permissions"] == {"pages": "write", "id-token": "write"}
    assert [step["uses"].split("@")[0] for step in deploy["steps"]] == ["actions/deploy-pages"]


def test_publish_shows_the_outputs_that_ci_tested():
    stored = {
        name: [step["with"] for step in steps(name) if "/cache/" in step.get("uses", "")]
        for name in ("ci", "publish", "links")
    }
    (kept,) = stored["ci"]
    assert ROOT / kept["path"] == EXECUTED
    assert stored["publish"] == stored["links"] == [kept]
    for part in ("geoclip_lite/**", "results/*.json", "notebooks/**", "book/**", "requirements.txt"):
        assert f"'{part}'" in kept["key"], "what the outputs depend on, as book/build.py has it"
    build = {step.get("run"): step.get("env", {}) for step in workflow("publish")["jobs"]["build"]["steps"]}
    assert build["make book"]["CI"] == "false", "with CI=true everything would be run anew"


def test_no_file_knows_where_the_repository_is():
    address = workflow("publish")["jobs"]["build"]["steps"]
    named = [
        step["env"]["GEOCLIP_REPOSITORY"] for step in address if "GEOCLIP_REPOSITORY" in step.get("env", {})
    ]
    assert named == ["${{ github.server_url }}/${{ github.repository }}"]
    fixed = ("README.md", "_config.yml", "CONTRIBUTING.md", "CITATION.cff", "pyproject.toml", "book/intro.md")
    for name in fixed:
        assert not re.search(r"github\.com/[\w-]+/geoclip", (ROOT / name).read_text()), name


def test_a_release_is_made_of_a_version_tag_only():
    job = workflow("publish")["jobs"]["release"]
    assert job["if"] == "github.ref_type == 'tag'"
    assert set(job["needs"]) == {"build", "deploy"}
    (publish,) = [step["run"] for step in job["steps"] if "run" in step]
    assert "--verify-tag" in publish
    for file in ("SHA256SUMS", "notes.md", "*.tar.gz"):
        assert f"_build/release/{file}" in publish
