"""Draws book/_static/cover.png, the README's picture: scenes of the book, and what becomes of recall.

python book/cover.py
"""

from __future__ import annotations

from pathlib import Path

from matplotlib import pyplot as plt

from geoclip_lite import plots, results
from geoclip_lite.datasets import clevr_like

SHOWN = (2, 4, 6, 8)  # objects in the scenes above the curve


def main() -> None:
    plots.use_style()
    figure, axes = plt.subplot_mosaic(
        [[f"scene {n}" for n in SHOWN], ["curve"] * 4], figsize=(8, 5.2), dpi=110
    )
    scenes = {len(scene.objects): scene for scene in clevr_like.evaluation_scenes()}
    for n in SHOWN:
        axes[f"scene {n}"].imshow(scenes[n].image(256))
        axes[f"scene {n}"].set_axis_off()
    draw_curve(axes["curve"])
    figure.savefig(Path(__file__).parent / "_static" / "cover.png", facecolor="white")


def draw_curve(ax: plt.Axes) -> None:
    """R@10 by number of objects: mean of three seeds, bars from the lowest to the highest."""
    rows = results.read("minis").query("objects.notna() and metric == 'R@10'")
    by = rows.groupby(["encoder", "objects"], sort=False)["value"]
    table = by.agg(value="mean", low="min", high="max").reset_index()
    plots.with_intervals(table, x="objects", by="encoder", ax=ax)
    ax.set(xlabel="objects in the scene", ylabel="right picture in the top 10", ylim=(0, 1.03))
    ax.legend(title="training diet, three seeds each")


if __name__ == "__main__":
    main()
