"""Build the book: run every notebook once, then let the tests and the pages share what it printed.

    python book/build.py            # what `make book` does

1. Each notebook named in `_toc.yml` or in LIVE is copied to `.cache/executed/` and run there by pytest and
   nbmake.
2. The executed copies fill Jupyter Book's cache, so the pages show exactly the outputs that were tested.
3. Jupyter Book writes `_build/html`; any warning stops it.

Jupyter Book's own cache looks at a notebook's code alone and would keep outputs that a changed package,
weight file or result has made stale. Here a digest over all of these decides what runs again. Pages are
always written from scratch; a build in which nothing changed stops before step 3. With CI=true everything
is run anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import nbformat
import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn

ROOT = Path(__file__).resolve().parents[1]
EXECUTED = ROOT / ".cache" / "executed"
TIMES = EXECUTED / "times.json"
PAGES = ROOT / "_build" / "html"
OUTPUT_CACHE = ROOT / "_build" / ".jupyter_cache"
LIVE = ["notebooks/playground.ipynb"]  # run with the others, but no pages: their widgets need a kernel
BAR = re.compile(r"^.*\d+%\|.*\|.*\[\d\d:\d\d")  # 67%|██████   | 672/1000 [00:10<00:04, 67.01it/s]
IN_CI = os.environ.get("CI", "").lower() == "true"


def main() -> None:
    """Run what is stale, write the pages if anything they show has changed, say where they are."""
    if IN_CI:
        shutil.rmtree(EXECUTED, ignore_errors=True)
        shutil.rmtree(PAGES.parent, ignore_errors=True)
    notebooks = notebooks_in_toc()
    times = execute([*notebooks, *LIVE])
    write_execution_table(times)
    stamp = PAGES / ".digest"
    inputs = digest_of_pages(notebooks)
    if not stamp.exists() or stamp.read_text() != inputs:
        fill_output_cache(notebooks, times)
        write_pages()
        stamp.write_text(inputs)
    print(f"\nThe book is ready. Open\n    {PAGES / 'index.html'}")


# ---- what there is, and whether it changed -----------------------------------------------------------


def notebooks_in_toc() -> list[str]:
    """The notebooks of the book in reading order, as paths from the root ("notebooks/01_....ipynb")."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    names = [f"{chapter['file']}.ipynb" for chapter in chapters]
    return [name for name in names if (ROOT / name).exists()]


def digest(*parts: Path | str) -> str:
    """SHA-256 over texts and over files, each file with its path so that a rename counts as a change."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            sha.update(str(part.relative_to(ROOT)).encode() + b"\0" + part.read_bytes())
        else:
            sha.update(part.encode() + b"\0")
    return sha.hexdigest()


def files_below(folder: Path) -> list[Path]:
    """All files of a folder in a fixed order, but for what Python or a notebook editor leaves there."""
    left_behind = {"__pycache__", ".ipynb_checkpoints"}
    return sorted(p for p in folder.rglob("*") if p.is_file() and not left_behind & set(p.parts))


def digest_of_world() -> str:
    """What every notebook depends on: package and weights, stored results, pins, the choice of encoder."""
    results = [path for path in files_below(ROOT / "results") if path.suffix != ".py"]
    chosen = [platform.python_version(), os.environ.get("GEOCLIP_ENCODER", "")]
    return digest(*files_below(ROOT / "geoclip_lite"), *results, ROOT / "requirements.txt", *chosen)


def digest_of_code(name: str) -> str:
    """What a notebook runs: its code cells and their metadata. Edited prose does not run a notebook again."""
    notebook = read(ROOT / name)
    cells = [[cell.source, cell.metadata] for cell in notebook.cells if cell.cell_type == "code"]
    return digest(name, json.dumps([cells, notebook.metadata.get("execution", {})], sort_keys=True))


def digest_of_pages(notebooks: list[str]) -> str:
    """What the pages are made of: configuration, prose, executed notebooks; the package for the live page."""
    prose = [*files_below(ROOT / "book"), *files_below(ROOT / "notebooks"), *sorted(ROOT.glob("*.md"))]
    package = files_below(ROOT / "geoclip_lite")
    settings = [ROOT / "_config.yml", ROOT / "_toc.yml", ROOT / "requirements.txt"]
    executed = [*[EXECUTED / name for name in notebooks], EXECUTED / "execution.md"]
    return digest(*settings, *prose, *package, *executed, os.environ.get("GEOCLIP_REPOSITORY", ""))


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


# ---- running the notebooks ---------------------------------------------------------------------------


def execute(notebooks: list[str]) -> dict[str, dict]:
    """Run the notebooks whose code or world changed; return seconds and digest of each one.

    Notebooks that succeed are kept even when another fails, so that a second try runs the failed ones only.
    """
    EXECUTED.mkdir(parents=True, exist_ok=True)
    known = json.loads(TIMES.read_text()) if TIMES.exists() else {}
    world = digest_of_world()
    current = {name: digest(world, digest_of_code(name)) for name in notebooks}
    times = {name: known[name] for name in notebooks if known.get(name, {}).get("digest") == current[name]}
    stale = [name for name in notebooks if name not in times]
    TIMES.write_text(json.dumps(times))  # an interrupted run leaves no trace of having succeeded
    complaints = run_with_nbmake(stale) if stale else {}
    for name in stale:
        if not complaints[name]:
            times[name] = {**json.loads(timing_of(name).read_text()), "digest": current[name]}
    TIMES.write_text(json.dumps(times, indent=1))
    if failed := [f"  {name}: {complaint}" for name, complaint in complaints.items() if complaint]:
        sys.exit("\n".join(["These notebooks failed (pytest's report stands above):", *failed]))
    return {name: times[name] for name in notebooks}


def run_with_nbmake(names: list[str]) -> dict[str, str]:
    """Run copies of the notebooks, two at a time, and return what went wrong with each ("" if nothing)."""
    for name in names:
        (EXECUTED / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, EXECUTED / name)
        timing_of(name).unlink(missing_ok=True)
    shutil.copyfile(ROOT / "book" / "stopwatch.py", EXECUTED / "conftest.py")
    options = ["--nbmake", "--overwrite", "--nbmake-timeout=600", "-q", "-p", "no:cacheprovider"]
    workers = ["-n", str(min(2, len(names)))]
    copies = [str(EXECUTED / name) for name in names]
    # The first import of matplotlib on a machine may print a message about fonts: not into a page.
    run(sys.executable, "-c", "import matplotlib.font_manager")
    run(sys.executable, "-m", "pytest", *options, *workers, *copies, may_fail=True)
    return {name: complaint_about(name) for name in names}


def run(*command: str | Path, may_fail: bool = False) -> None:
    """Run a command with one thread per library, since two notebooks share the machine. Stop if it fails."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    inherited = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    done = subprocess.run(command, cwd=ROOT, env=inherited | threads)
    if done.returncode and not may_fail:
        sys.exit(f"`{' '.join(map(str, command))}` failed: its messages stand above.")


def timing_of(name: str) -> Path:
    """Where stopwatch.py leaves the seconds of a notebook."""
    return (EXECUTED / name).with_suffix(".seconds.json")


def complaint_about(name: str) -> str:
    """Why an executed copy cannot stand in a page: an unexecuted cell, say, would show no output there."""
    notebook = read(EXECUTED / name)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        tags = cell.metadata.get("tags", [])
        if cell.source.strip() and cell.execution_count is None and "skip-execution" not in tags:
            return f"cell {number} was not executed"
        if any(o.output_type == "error" for o in cell.outputs) and "raises-exception" not in tags:
            return f"cell {number} raised an exception"
    return "" if timing_of(name).exists() else "pytest did not run it"


def without_traces(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """An executed notebook without time stamps, widget states and progress bars.

    Jupyter Book would look for its outputs under a key that has no time stamps; a widget is dead in a page;
    and a bar is there on slow machines only. Any other message on stderr is kept, and stops the build.
    """
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_progress(output)]
    notebook.metadata.pop("widgets", None)
    return notebook


def is_progress(output: nbformat.NotebookNode) -> bool:
    """Does an output hold nothing but the bars of tqdm, or the empty text that ends them?"""
    lines = output.text.replace("\r", "\n").split("\n") if output.get("name") == "stderr" else ["output"]
    return all(BAR.search(line) for line in lines if line.strip())


# ---- writing the pages -------------------------------------------------------------------------------


def write_execution_table(times: dict[str, dict]) -> None:
    """Write the provenance that book/execution.md shows: versions, and the seconds each notebook took."""
    packages = ", ".join(f"{name} {version(name)}" for name in ["torch", "numpy", "POT", "jupyter-book"])
    rows = [f"| `{name}` | {t['wall_s']:.0f} | {t['cpu_s']:.0f} |" for name, t in times.items()]
    head = ["| notebook | seconds on the clock | seconds of processor time |", "|:--|--:|--:|"]
    machine = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    encoder = os.environ.get("GEOCLIP_ENCODER") or "the default (mini CLIP)"
    about = f"Run with {machine}; {packages}. Encoder: {encoder}. Each notebook had one thread."
    (EXECUTED / "execution.md").write_text("\n".join([about, "", *head, *rows, ""]))


def fill_output_cache(notebooks: list[str], times: dict[str, dict]) -> None:
    """Give the executed notebooks to Jupyter Book, starting from an empty cache."""
    shutil.rmtree(OUTPUT_CACHE, ignore_errors=True)
    cache = get_cache(OUTPUT_CACHE)
    for name in notebooks:
        seconds = {"execution_seconds": times[name]["wall_s"]}
        bundle = CacheBundleIn(without_traces(read(EXECUTED / name)), name, data=seconds)
        cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
        cache.match_cache_notebook(read(ROOT / name))  # KeyError here: Jupyter Book would run it once more


def write_pages() -> None:
    """Let Jupyter Book write all pages anew; a warning or a reference to nowhere is an error.

    Then write what the page "Try it live" loads, and the slides.
    """
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.rmtree(PAGES.parent / ".doctrees", ignore_errors=True)
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    run(jupyter_book, "build", ROOT, "-W", "-n", "--keep-going", "--quiet")
    run(sys.executable, ROOT / "book" / "live" / "export.py", PAGES / "_static" / "live")
    run(sys.executable, ROOT / "book" / "slides.py", PAGES)


if __name__ == "__main__":
    main()
