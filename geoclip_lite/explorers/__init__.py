"""Explorers: figures that a reader moves, in the published page without a kernel and in JupyterLab alike.

Everything an explorer can show is computed beforehand: a frame for every position of its controls. The page
holds the frames, one sprite of pictures, and a few lines of script that look up the frame. Without script
the first frame stands there as a still picture.

    Control   a slider, or a choice from a list
    Strip     pictures in a row, some of them marked as right
    Curves    lines over the values of the first control, with a cursor
    Drawing   inline SVG, one for each frame; it can be picked from with the pointer
    Explorer  controls, panels and a caption for every frame
    drawings  what several chapters draw: matchings, plans, maps, boxes on a picture, bars

What is computed for a frame should come from the same function as the chapter's static figure.
"""

from geoclip_lite.explorers import drawings
from geoclip_lite.explorers.fragment import Explorer
from geoclip_lite.explorers.panels import Control, Curves, Drawing, Strip

__all__ = ["Control", "Curves", "Drawing", "Explorer", "Strip", "drawings"]
