"""The widget: controls, progress, and what was found."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import ipywidgets

from geoclip_lite import encoders
from geoclip_lite.widgets.bench import WORLDS, Bench, World
from geoclip_lite.widgets.html import (
    matches_html,
    notes_html,
    numbers_html,
    problem_html,
    stopped_html,
    strip_html,
)
from geoclip_lite.widgets.search import Found, Question, search


@dataclass(frozen=True)
class State:
    """All that the controls say."""

    world: str
    encoder: str
    question: Question


class Playground(ipywidgets.VBox):
    """Controls above, what was found below.

    What is ready is answered at once, in the handler of the control. What has to be computed first runs in a
    thread, behind a progress bar and a stop button; the controls stay in use, and the newest choice counts.
    No handler raises: every problem is shown in `note`.

    Args:
        worlds: by name.
        start: values of controls by name (`CONTROLS`), e.g. world="things", text="closed box".

    Raises:
        TypeError: there is no such control.
        traitlets.TraitError: a value that a control does not have.
    """

    CONTROLS = ("world", "encoder", "text", "reranker", "weight", "source", "target", "strength")

    def __init__(self, worlds: Mapping[str, World] = WORLDS, **start):
        if unknown := sorted(set(start) - set(self.CONTROLS)):
            raise TypeError(f"there is no control {unknown[0]!r}; there are {', '.join(self.CONTROLS)}")
        self.worlds = dict(worlds)
        self.found: Found | None = None  # what is shown
        self._casts = cache(lambda world: encoders.cast(*self.worlds[world].minis))
        self._benches: dict[tuple[str, str], Bench] = {}
        self._lock, self._stopping, self._settling = threading.RLock(), threading.Event(), False
        self._job: threading.Thread | None = None
        self._make_controls()
        self._make_outputs()
        super().__init__(self._rows())
        self.world.value = start.pop("world", self.world.value)
        with self._problems_shown():
            self._offer()
        for name, value in start.items():
            getattr(self, name).value = value
        self._observe()
        self._changed()

    def wait(self) -> None:
        """Returns when no work is under way; for scripts and tests, since no control answers meanwhile."""
        if job := self._job:
            job.join()

    # Parts ----------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        rerankers = [("none: cosine only", "none"), ("objects from pixels", "objects")]
        self.world = ipywidgets.Dropdown(options=list(self.worlds), description="World")
        self.encoder = ipywidgets.Dropdown(description="Encoder")
        self.text = ipywidgets.Text(description="Query", continuous_update=False)
        self.text.layout.width = "520px"
        self.reranker = ipywidgets.Dropdown(options=rerankers, description="Reranker")
        self.weight = ipywidgets.FloatSlider(0.2, min=0, max=1, step=0.05, description="Share of the cosine")
        self.source = ipywidgets.Combobox(description="Steer from", continuous_update=False)
        self.target = ipywidgets.Combobox(description="Steer to", continuous_update=False)
        self.strength = ipywidgets.FloatSlider(0, min=-0.5, max=2, step=0.05, description="Strength")
        for name in self.CONTROLS:
            getattr(self, name).style.description_width = "initial"

    def _make_outputs(self) -> None:
        self.progress = ipywidgets.IntProgress(style={"description_width": "initial"})
        self.stop = ipywidgets.Button(description="Stop", tooltip="Stop this work; what is done is kept")
        self.stop.on_click(lambda _: self._stopping.set())
        self.work = ipywidgets.HBox([self.progress, self.stop])
        self.note, self.numbers, self.strip, self.matches = (ipywidgets.HTML() for _ in range(4))
        self._show_work(False)

    def _rows(self) -> list[ipywidgets.Widget]:
        rows = [
            [self.world, self.encoder],
            [self.text],
            [self.reranker, self.weight],
            [self.source, self.target, self.strength],
        ]
        controls = [ipywidgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows]
        return [*controls, self.work, self.note, self.numbers, self.strip, self.matches]

    def _observe(self) -> None:
        self.world.observe(self._world_changed, "value")
        for name in self.CONTROLS[1:]:
            getattr(self, name).observe(self._changed, "value")

    def _offer(self) -> None:
        """What goes with the world: its encoders, and its example in place of another world's words."""
        names, before = list(self._casts(self.world.value)), self.encoder.value
        self.encoder.options = names
        self.encoder.value = before if before in names else names[0]
        self.text.value = self.worlds[self.world.value].example
        self.source.value = self.target.value = ""

    # What changes ---------------------------------------------------------------------------------

    def _world_changed(self, _) -> None:
        with self._problems_shown():
            self._settling = True
            try:
                self._offer()
            finally:
                self._settling = False
            self._changed()

    def _changed(self, _=None) -> None:
        """Answers what the controls say, at once or, where something has to be computed, later."""
        if self._settling:
            return
        with self._lock, self._problems_shown():
            self._asked = self._state()
            self._stopping.clear()
            if self._job:
                return  # it looks at what is asked when it is done
            bench = self._benches.get((self._asked.world, self._asked.encoder))
            if bench and bench.is_ready(self._asked.question.reranker):
                self._answer(bench, self._asked.question)
            else:
                self._start()

    def _state(self) -> State:
        text, reranker, weight, source, target, strength = (
            getattr(self, name).value for name in self.CONTROLS[2:]
        )
        question = Question(text.strip(), reranker, weight, source.strip(), target.strip(), strength)
        return State(self.world.value, self.encoder.value, question)

    def _answer(self, bench: Bench, question: Question) -> None:
        start = time.perf_counter()
        self.found = found = search(bench, question)
        self.strip.value, self.matches.value = strip_html(bench, found), matches_html(bench, found)
        self.note.value = notes_html(found)
        self.numbers.value = numbers_html(question, found, time.perf_counter() - start)
        self.source.options = self.target.options = bench.words

    @contextmanager
    def _problems_shown(self) -> Iterator[None]:
        """What goes wrong is shown, not raised: nobody reads the log of a kernel."""
        try:
            yield
        except Exception as problem:
            self._show_instead(problem_html(problem))

    def _show_instead(self, note: str) -> None:
        """A note in place of the answer, so that no old answer is taken for the new one."""
        self.found = None
        self.strip.value = self.matches.value = self.numbers.value = ""
        self.note.value = note

    # Long work ------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.progress.value, self.progress.description = 0, "starting"
        self._show_work(True)
        self._job = threading.Thread(target=self._work, daemon=True)
        self._job.start()

    def _work(self) -> None:
        """In a thread: until the newest question is answered, or the reader stops it."""
        while True:
            asked = self._asked
            with self._problems_shown():
                self._work_on(asked)
            with self._lock:
                if asked is self._asked:
                    self._job = None
                    self._show_work(False)
                    return

    def _work_on(self, asked: State) -> None:
        """Prepares and answers, unless something else is asked for meanwhile."""
        key = asked.world, asked.encoder
        if key not in self._benches:
            self._benches[key] = Bench(self.worlds[asked.world], self._casts(asked.world)[asked.encoder])
        for what, done, total in self._benches[key].prepare(asked.question.reranker):
            self.progress.max, self.progress.value, self.progress.description = total, done, what
            if self._stopping.is_set():
                self._show_instead(stopped_html(what, done, total))
                return
            if asked is not self._asked:
                return
        self._answer(self._benches[key], asked.question)

    def _show_work(self, shown: bool) -> None:
        self.work.layout.display = "" if shown else "none"
