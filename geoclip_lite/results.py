"""Records of what takes longer than a chapter may, and the part of each that is measured again.

A script in `results/` is a `Study`: it measures something and writes a record beside itself, with tidy rows,
the checkpoints, seeds and versions they rest on, and a sample: a small part that takes seconds and needs the
shipped encoders only. The tests measure every sample again and compare it within the record's tolerance. So
renaming or moving code costs nothing, and what moves a number is caught. Pages read records through `read`.

A claim of a paper is part of the record that tested it, with a verdict computed there.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import nan
from pathlib import Path
from typing import Literal

import pandas as pd
from pandas.io.formats.style import Styler

from geoclip_lite.files import write_atomically

FOLDER = Path(__file__).parents[1] / "results"
TRAINING = "training"  # the record that holds the checksum of every trained run
UNSHIPPED = "unshipped"  # marks a row that needs an encoder which is not shipped: it keeps its value
VERSIONS = ("torch", "open_clip_torch", "numpy", "scipy", "pillow")

Row = dict[str, object]
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


# --- what is measured, and measured again ---------------------------------------------------------


def run_of(row: Row) -> str | None:
    """The trained run that a row was measured on ("mini-pairs-seed1"), if it names encoder and seed."""
    return f"{row['encoder']}-seed{row['seed']}" if {"encoder", "seed"} <= row.keys() else None


@dataclass(frozen=True)
class Study:
    """What a script measures, and the part by which one can tell that its record still holds.

    Args:
        script: the script's `__file__`; its record lies beside it.
        measure: all rows, one measurement each, of numbers, strings and booleans.
        sample: a small part of them, in seconds, by shipped encoders alone.
        tolerance: the figures that a sample is compared by, each with how far it may be off (counts, losses,
            recalls; never times). All else in a sample's row is its label.
        claims: the papers' statements that the rows decide.
        checkpoints: sha256 of the encoders by name, see `checksums`.
        needs: names the encoder that a row cannot be measured without; None: there is none.
        seeds: that were measured.
    """

    script: str | Path
    measure: Callable[[], Iterable[Row]]
    sample: Callable[[], Iterable[Row]]
    tolerance: Mapping[str, float]
    claims: Callable[[pd.DataFrame], Sequence[Claim]] = lambda table: ()
    checkpoints: Callable[[], Mapping[str, str]] = dict
    needs: Callable[[Row], str | None] = run_of
    seeds: Sequence[int] = (0,)

    @property
    def name(self) -> str:
        """Of the script and its record."""
        return Path(self.script).stem

    def run(self) -> None:
        """Measures and writes the record. Of one that holds, only the claims are decided again."""
        known = self.name in names()
        if not known or (different := list(self.differences())):
            print(*(different if known else ()), sep="\n", flush=True)
            return self.write(self.measure(), self.sample())
        print(f"results/{self.name}.json holds; to measure all of it again, delete it first")
        held = record(self.name)
        return self.write(held["rows"], held["sample"], held["versions"])

    def write(
        self, rows: Iterable[Row], sample: Iterable[Row], measured_with: Mapping[str, str] | None = None
    ) -> None:
        """Writes `results/<name>.json`, one row a line so that changes can be read.

        Raises:
            ValueError: no rows, or no sample of them.
        """
        ships, rows = shipped_runs(), list(rows)
        for row in rows:
            if (needed := self.needs(row)) and needed not in ships:
                row[UNSHIPPED] = True
        head = {
            "script": f"{self.name}.py",
            "checkpoints": self._checkpoints(),
            "seeds": list(self.seeds),
            "versions": dict(measured_with or versions()),
            "tolerance": dict(self.tolerance),
            "claims": [asdict(claim) for claim in self.claims(_table(rows))],
        }
        tables = {"sample": list(sample), "rows": rows}
        if empty := [name for name, some in tables.items() if not some]:
            raise ValueError(f"{empty[0]}: {self.name}.py measured nothing")
        parts = [json.dumps(head, indent=1)[:-2]]
        for name, some in tables.items():
            parts.append(f' "{name}": [\n  ' + ",\n  ".join(map(_line, some)) + "\n ]")
        write_atomically(FOLDER / f"{self.name}.json", ",\n".join(parts).encode() + b"\n}\n")

    def differences(self) -> Iterator[str]:
        """Measures the sample again; what differs from the record beyond its tolerance, in words."""
        held, again = record(self.name), [json.loads(_line(row)) for row in self.sample()]
        if held["checkpoints"] != self._checkpoints():
            yield f"{self.name}: the record is of other checkpoints"
        if len(held["sample"]) != len(again):
            yield f"{self.name}: the sample has {len(again)} rows, recorded are {len(held['sample'])}"
        for old, new in zip(held["sample"], again, strict=False):
            figures = {name: off for name, off in held["tolerance"].items() if name in old}
            labels = {name: value for name, value in old.items() if name not in figures}
            if not figures or labels != {name: new[name] for name in new if name not in figures}:
                yield f"{self.name}: recorded {old}, now {new}"
            elif off := [n for n, most in figures.items() if not abs(old[n] - new.get(n, nan)) <= most]:
                told = ", ".join(f"{n} {old[n]} recorded, now {new.get(n)}" for n in off)
                yield f"{self.name}: {labels}: {told}"

    def _checkpoints(self) -> dict[str, dict[str, object]]:
        ships = set(shipped_runs().values())
        return {
            name: {"sha256": sha256, "shipped": sha256 in ships}
            for name, sha256 in self.checkpoints().items()
        }


def _line(row: Row) -> str:
    """A row as JSON; numpy's and torch's numbers as Python's."""
    return json.dumps(row, default=lambda number: number.item())


def _table(rows: Sequence[Row]) -> pd.DataFrame:
    """As pages see them."""
    return pd.DataFrame(rows).drop(columns=UNSHIPPED, errors="ignore")


def checksums(runs: Sequence[str]) -> dict[str, str]:
    """sha256 of the weights of trained runs, by name ("mini-pairs-seed1"), as the record of training has it.

    Raises:
        LookupError: a run that is not in that record.
    """
    known = {run_of(row): row["sha256"] for row in _training()}
    if missing := [run for run in runs if run not in known]:
        raise LookupError(f"runs: no run {missing[0]!r} in the record of training; there are {sorted(known)}")
    return {run: known[run] for run in runs}


def shipped_runs() -> dict[str, str]:
    """The runs whose weights come with the package: name -> sha256."""
    return {run_of(row): row["sha256"] for row in _training() if row["shipped"]}


def _training() -> list[Row]:
    """A row for every trained run; none before the first training."""
    return record(TRAINING)["rows"] if TRAINING in names() else []


# --- records --------------------------------------------------------------------------------------


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
    return _table(record(name)["rows"])


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
