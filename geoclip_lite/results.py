"""Results that cannot rot: records of what takes longer than a chapter may.

A script in `results/` measures something and writes a record beside itself: tidy rows, the versions it ran
on, and a digest of every module and every trained run that its numbers depend on. A page reads records
through `read`, and the tests refuse a record whose digest no longer fits: change the code, and the record
must be measured again (`make results`).

A claim of a paper is part of the record that tested it, with a verdict computed there.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import pandas as pd
from pandas.io.formats.style import Styler

from geoclip_lite.files import write_atomically

PACKAGE = Path(__file__).parent
FOLDER = PACKAGE.parent / "results"
TRAINING = "training"  # the record that holds the checksum of every trained run
VERSIONS = ("torch", "open_clip_torch", "numpy", "scipy", "pillow")

Verdict = Literal["shows", "differs", "cannot be tested here", "not in our copy"]


@dataclass(frozen=True)
class Claim:
    """One statement of a paper, and what became of it here.

    Args:
        text: the statement, in our words.
        source: where it stands, e.g. "Prakash et al. 2026, table 1".
        paper: the paper's figure, as printed; empty where it gives none.
        measured: what was measured here, numbers included; formatted by code, never typed.
        verdict: computed from the measurement.
        experiment: the page that shows the experiment, e.g. "01_pointwise_retrieval".
    """

    text: str
    source: str
    paper: str
    measured: str
    verdict: Verdict
    experiment: str


# --- what a number depends on ---------------------------------------------------------------------


def imports(path: Path) -> list[Path]:
    """What a Python file imports of this package, or of the scripts beside the records, as files."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return sorted(file for name in names if (file := _module_file(name)))


def _module_file(name: str) -> Path | None:
    """geoclip_lite.metrics -> its file; None for what is neither of this package nor of `results/`."""
    first, *rest = name.split(".")
    place = PACKAGE.joinpath(*rest) if first == PACKAGE.name else FOLDER.joinpath(first, *rest)
    candidates = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


def dependencies(script: Path) -> list[Path]:
    """The script and every module of this package that it reaches, directly or not."""
    found, waiting = set(), [Path(script).resolve()]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imports(path)
    return sorted(found)


def _meaning(node: object) -> object:
    """A syntax tree without what changes no number: positions, comments, docstrings, empty fields."""
    if isinstance(node, list):
        return [_meaning(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if ast.get_docstring(node) if isinstance(node, _DOCUMENTED) else None:
        fields["body"] = fields["body"][1:]
    return [type(node).__name__, *([k, _meaning(v)] for k, v in fields.items() if v not in (None, []))]


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def digest(files: Iterable[Path], runs: Sequence[str] = ()) -> str:
    """One checksum over files, code by its meaning, everything else by its bytes, and over trained runs."""
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(path.name.encode())
        is_code = path.suffix == ".py"
        total.update(repr(_meaning(ast.parse(path.read_text()))).encode() if is_code else path.read_bytes())
    if runs:
        total.update(json.dumps(checksums(runs)).encode())
    return total.hexdigest()


def checksums(runs: Sequence[str]) -> dict[str, str]:
    """sha256 of the weights of trained runs, by name ("mini-pairs-seed1"), as the record of training has it.

    Raises:
        LookupError: a run that is not in that record.
    """
    known = {f"{row['encoder']}-seed{row['seed']}": row["sha256"] for row in record(TRAINING)["rows"]}
    if missing := [run for run in runs if run not in known]:
        raise LookupError(f"runs: no run {missing[0]!r} in the record of training; there are {sorted(known)}")
    return {run: known[run] for run in runs}


# --- records --------------------------------------------------------------------------------------


def write(script: Path, rows: Sequence[dict], claims: Sequence[Claim] = (), runs: Sequence[str] = ()) -> Path:
    """Writes the record of a script: `results/<name>.json`, one row a line so that changes can be read.

    Args:
        script: the script's `__file__`.
        rows: tidy rows, one measurement each, of numbers, strings and booleans.
        claims: the papers' statements that these rows decide.
        runs: the trained runs that were measured, as in `checksums`.
    """
    if not rows:
        raise ValueError(f"rows: {Path(script).name} measured nothing")
    script = Path(script).resolve()
    depends = dependencies(script)
    record = {
        "digest": digest(depends, runs),
        "depends": sorted({str(path.relative_to(path.parents[1])) for path in depends}),
        "runs": list(runs),
        "versions": versions(),
        "claims": [asdict(claim) for claim in claims],
    }
    head = json.dumps(record, indent=1)[:-2]
    body = ",\n  ".join(json.dumps(row) for row in rows)
    path = FOLDER / f"{script.stem}.json"
    write_atomically(path, f'{head},\n "rows": [\n  {body}\n ]\n}}\n'.encode())
    return path


def versions() -> dict[str, str]:
    """What a record was measured with."""
    return {"python": platform.python_version()} | {name: version(name) for name in VERSIONS}


def names() -> list[str]:
    """The records there are."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def record(name: str) -> dict:
    """A whole record, rows and provenance."""
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"name: no record {name!r} in {FOLDER}; there are {names()}. `make results`?")
    return json.loads(path.read_text())


def read(name: str) -> pd.DataFrame:
    """A record's rows as a table."""
    return pd.DataFrame(record(name)["rows"])


def is_fresh(name: str) -> bool:
    """Does the record's digest fit the code and the trained runs of today?"""
    found = record(name)
    return digest(dependencies(FOLDER / f"{name}.py"), found.get("runs", ())) == found["digest"]


def up_to_date(script: Path) -> bool:
    """Is there a fresh record of this script? Says so, for a script's first lines."""
    name = Path(script).stem
    fresh = name in names() and is_fresh(name)
    if fresh:
        print(f"results/{name}.json is up to date")
    return fresh


def claims() -> pd.DataFrame:
    """The claims of all records, with the record that decided each."""
    found = [claim | {"record": name} for name in names() for claim in record(name)["claims"]]
    return pd.DataFrame(found, columns=[*Claim.__dataclass_fields__, "record"])


def verdicts(experiment: str) -> Styler:
    """The claims that a chapter decided, as the table at its end.

    Args:
        experiment: as in `Claim`.

    Raises:
        LookupError: no record holds a claim of this chapter.
    """
    columns = {"text": "claim", "source": "where", "paper": "paper", "measured": "here", "verdict": "verdict"}
    found = claims()
    found = found[found.experiment == experiment]
    if found.empty:
        raise LookupError(f"experiment: no record decides a claim of {experiment!r}")
    table = found[list(columns)].rename(columns=columns)
    return table.style.hide().set_table_attributes('class="verdicts"')
