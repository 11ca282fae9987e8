"""One style for every figure: colours that survive colour blindness and dark pages, markers beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import matplotlib as mpl
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame
from PIL import Image

# Okabe-Ito, reordered so that the first few differ most in lightness too, and a wine red.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#882255")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#767676"
ALWAYS = ("mini-single", "mini-pairs")  # what keeps its colour and marker in every figure of the book


def use_style() -> None:
    """Sets the book's style for all figures that follow."""
    sns.set_theme(style="ticks", font_scale=0.95)
    mpl.rcParams |= {
        "axes.prop_cycle": mpl.cycler(color=COLOURS, marker=MARKERS),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.35,
        "figure.figsize": (7, 3.6),
        "figure.dpi": 110,
        "figure.constrained_layout.use": True,
        "legend.frameon": False,
        "lines.markersize": 6,
    }


def strip(
    images: Sequence[Image.Image],
    titles: Sequence[str] | None = None,
    columns: int = 5,
    right: Sequence[bool] | None = None,
    size: float = 1.5,
) -> Figure:
    """Pictures in rows, each with a title; `right` frames hits in green and ticks them, others in grey.

    Args:
        images: pictures of any size.
        titles: one a picture, under it; long ones should hold their own line breaks.
        columns: pictures per row.
        right: one a picture.
        size: of a picture, in inches.
    """
    rows = -(-len(images) // columns)
    text = 0.17 * (1 + max((t.count("\n") for t in titles), default=0)) if titles else 0.05
    figure, axes = plt.subplots(rows, columns, figsize=(columns * size, rows * (size + text)), squeeze=False)
    for i, ax in enumerate(axes.flat):
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        if i >= len(images):
            ax.axis("off")
            continue
        ax.imshow(images[i])
        hit = right is not None and right[i]
        for spine in ax.spines.values():
            spine.set(visible=True, color=COLOURS[2] if hit else GREY, linewidth=3 if hit else 0.6)
        if titles:
            ax.set_xlabel(("✓ " if hit else "") + titles[i], fontsize=8)
    return figure


def looks(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Colour and marker for each name. Those in ALWAYS keep theirs in every figure of the book."""
    order = list(dict.fromkeys([*ALWAYS, *names]))
    return {
        name: {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        for i, name in enumerate(order)
    }


def with_intervals(table: DataFrame, x: str, by: str, ax: Axes, linestyle: str = "-") -> Axes:
    """One line with markers for each `by` (column `value`), and its 95 % interval (`low`, `high`) as bars.

    Args:
        linestyle: "" where x has no order that a line could follow.
    """
    look = looks(table[by])
    for name, rows in table.groupby(by, sort=False):
        around = abs(rows[["low", "high"]].sub(rows.value, axis=0)).to_numpy().T
        style = {"capsize": 3, "linewidth": 1.6, "linestyle": linestyle, **look[name]}
        ax.errorbar(rows[x], rows.value, yerr=around, label=name, **style)
    return ax
