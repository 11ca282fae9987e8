"""Free queries, live: type, steer and rerank, and the pictures follow.

World, WORLDS  what can be searched, and what to know of it; those of the book
Bench          a world seen by an encoder: all that is slow to compute, once, in steps that can be stopped
search         a Question at a Bench -> what was Found, by the rooms of the book
Playground     the widget: controls, progress, and what was found

Only the last one is a widget. It needs ipywidgets, which requirements.txt holds; the package alone does not
ask for it.
"""

from geoclip_lite.widgets.bench import WORLDS, Bench, World
from geoclip_lite.widgets.playground import Playground
from geoclip_lite.widgets.search import Found, Match, Question, search

__all__ = ["WORLDS", "Bench", "Found", "Match", "Playground", "Question", "World", "search"]
