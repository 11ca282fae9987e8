"""What the papers print, as a table of its own: tables 1 to 7 and appendix J, and the report on adapters.

Recall in percent, as in the paper's tables 1, 2 and 4 to 7 (its table 3 has fractions); nDCG and CAS as
fractions. A cell that the paper leaves out is not in here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

KEYS = ["table", "data", "encoder", "space", "method"]
FILE = Path(__file__).parent / "paper_tables.csv"
# What else a table can be run on.
STAND_INS = {"clevr-hope": ("clevr", "clevr-like"), "shapes": ("shapes",), "shop": ("products",)}


@cache
def printed() -> pd.DataFrame:
    """One row a printed figure: table, data, encoder, space, method, metric, paper."""
    wide = pd.read_csv(FILE, dtype={"table": str})
    return wide.melt(KEYS, var_name="metric", value_name="paper").dropna(subset="paper", ignore_index=True)


def tables() -> list[str]:
    """Their numbers, in the paper's order."""
    return list(dict.fromkeys(printed().table))


def about(table: str) -> pd.DataFrame:
    """The figures of one table.

    Raises:
        ValueError: the paper has no such table.
    """
    if table not in tables():
        raise ValueError(f"table must be one of {', '.join(tables())}, got {table!r}")
    return printed()[printed().table == table]


def paper_data(name: str) -> str:
    """The paper's data set that a set is, or stands in for."""
    return next((paper for paper, names in STAND_INS.items() if name in names), name)
