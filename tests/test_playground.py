"""The playground as a reader has it: JupyterLab, a kernel, a browser, a keyboard."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from built_book import ROOT

PATIENCE = 60  # seconds for JupyterLab to start, and for the notebook to run
QUICK = 10_000  # milliseconds for everything else
SETTINGS = {
    # Cells outside the window would else not be drawn, and their widgets could not be found.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
ALL_RAN = """() => {
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent);
    return prompts.length > 4 && prompts.every(text => /^\\[\\d+\\]:$/.test(text));
}"""


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def private(folder: Path) -> dict[str, str]:
    """An environment in which JupyterLab neither reads nor changes what a person has set up."""
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    names += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    for name in names:
        (folder / name).mkdir()
    for plugin, settings in SETTINGS.items():
        file = folder / "JUPYTERLAB_SETTINGS_DIR" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(settings))
    own = {name: str(folder / name) for name in names}
    return os.environ | own | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GEOCLIP_ENCODER": ""}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab that shows a copy of the playground, and nothing else."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / "playground.ipynb", folder / "notebooks")
    port = free_port()
    options = ["--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    options += ["--IdentityProvider.token=", f"--ServerApp.root_dir={folder / 'notebooks'}"]
    options += ["--ServerApp.allow_root=True", "--LabApp.extension_manager=readonly"]
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, env=private(folder), stdout=log, stderr=log, cwd=folder)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/api/status", server, folder / "log")
        yield address
    finally:
        server.terminate()  # JupyterLab then ends its kernels
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    """Until the server answers; if it has ended, its log says why."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def notebook(browser, lab):
    """The open notebook after all of its cells have run."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(QUICK)
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{lab}/lab/tree/playground.ipynb")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=1000 * PATIENCE)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(ALL_RAN, timeout=1000 * PATIENCE)
    yield page
    page.close()
    assert not complaints


def shown(widget) -> tuple[list[str], str]:
    """The alternatives of the pictures in a widget, and the line of numbers."""
    return (
        [picture.get_attribute("alt") for picture in widget.locator("ol img").all()],
        widget.get_by_text("best score").inner_text(),
    )


def widget(notebook, number: int):
    """A playground, once it shows pictures."""
    found = notebook.locator(".jp-OutputArea-output .widget-vbox").nth(number)
    found.scroll_into_view_if_needed()
    found.locator("ol img").first.wait_for(timeout=1000 * PATIENCE)
    return found


def test_a_reader_types_a_query(notebook):
    find = widget(notebook, 0)
    pictures, numbers = shown(find)
    find.get_by_label("Query").fill("yellow hexagon")
    find.get_by_label("Query").press("Enter")
    find.locator(f'ol img[alt="{pictures[0]}"]').wait_for(state="detached")
    now, numbers_now = shown(find)
    assert "yellow hexagon" in now[0]
    assert numbers_now != numbers


def test_a_reader_steers_with_the_arrow_keys(notebook):
    steer = widget(notebook, 1)
    pictures, numbers = shown(steer)
    assert numbers.startswith("steered 0.6")
    assert "open" in pictures[0]
    handle = steer.get_by_role("slider").last
    handle.focus()  # else JupyterLab takes the arrows
    for _ in range(12):
        handle.press("ArrowLeft")
    steer.get_by_text("cosine: best score").wait_for()
    now, _ = shown(steer)
    assert "open" not in now[0]


def test_a_reader_stops_long_work(notebook):
    find = widget(notebook, 0)
    find.get_by_label("Reranker").select_option("objects from pixels")
    find.get_by_role("button", name="Stop").click()
    find.get_by_text("Stopped looking for objects").wait_for()
    find.get_by_label("Reranker").select_option("none: cosine only")
    find.get_by_text("cosine: best score").wait_for()
    assert find.get_by_text("Stopped").count() == 0
