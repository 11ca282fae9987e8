"""Figures: every encoder keeps its look, and an interval is drawn where it lies."""

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from geoclip_lite import plots


@pytest.fixture(autouse=True)
def close_figures():
    with mpl.rc_context():
        plt.switch_backend("agg")
        yield
        plt.close("all")


def test_the_minis_look_the_same_in_every_company():
    alone, crowded = plots.looks(["mini-pairs"]), plots.looks(["ViT-B-32/x", "mini-pairs", "mini-single"])
    for name in plots.ALWAYS:
        assert alone[name] == crowded[name]
    styles = [(look["color"], look["marker"]) for look in crowded.values()]
    assert len(set(styles)) == len(styles)


def test_there_is_a_look_for_more_names_than_colours():
    assert len(plots.looks([f"encoder {i}" for i in range(20)])) == 20 + len(plots.ALWAYS)


@pytest.mark.parametrize("linestyle", ["-", ""])
def test_intervals_are_drawn_where_they_lie(linestyle):
    table = pd.DataFrame({"k": [1, 5], "method": "mini-single", "value": [0.3, 0.6], "low": [0.2, 0.5]})
    table["high"] = [0.35, 0.8]
    ax = plots.with_intervals(table, x="k", by="method", ax=plt.figure().subplots(), linestyle=linestyle)
    (bars,) = ax.containers
    ends = [segment[:, 1].tolist() for segment in bars.lines[2][0].get_segments()]
    assert ends == [pytest.approx([0.2, 0.35]), pytest.approx([0.5, 0.8])]
    assert bars.lines[0].get_linestyle() == ("-" if linestyle else "None")
    assert bars.lines[0].get_color() == plots.COLOURS[0]


def test_a_strip_frames_and_ticks_the_right_ones():
    figure = plots.strip(
        [Image.new("RGB", (8, 8))] * 3, ["a", "b", "c"], columns=2, right=[False, True, False]
    )
    assert [ax.get_xlabel() for ax in figure.axes[:3]] == ["a", "✓ b", "c"]
    assert len(figure.axes) == 4
