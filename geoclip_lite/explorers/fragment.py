"""One explorer as one piece of HTML that needs nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from math import prod
from pathlib import Path

from geoclip_lite.explorers.panels import COLUMNS, SIDE, Control, Curves, Drawing, Strip

MOST_BYTES = 150_000
HERE = Path(__file__).parent
Panel = Strip | Curves | Drawing


@dataclass(frozen=True)
class Explorer:
    """Controls, panels and a caption for every position of the controls.

    Frames are numbered with the last control running fastest. A panel of `Curves` has a frame for each
    position of the only control.

    Args:
        title: what it is about.
        controls: one or more.
        panels: what to show; at most one `Strip`.
        captions: one a frame, a sentence with the frame's numbers; a screen reader speaks it.
        reveal: an answer that the reader can unfold.

    Raises:
        ValueError: a panel or the captions have another number of frames than the controls, or the whole
            is larger than 150 KB.
    """

    title: str
    controls: Sequence[Control]
    panels: Sequence[Panel]
    captions: Sequence[str]
    reveal: str = ""
    html: str = field(init=False, repr=False)

    def __post_init__(self):
        frames = prod(len(control.values) for control in self.controls)
        counts = [len(self.captions), *(len(panel.data()) for panel in self.panels)]
        if set(counts) != {frames}:
            raise ValueError(f"panels, captions: the controls have {frames} positions, got {counts} frames")
        object.__setattr__(self, "html", self._fragment())
        if (size := len(self.html.encode())) > MOST_BYTES:
            raise ValueError(
                f"panels: {size:,} bytes, more than {MOST_BYTES:,}: take fewer frames or pictures"
            )

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"Explorer({self.title!r}, {len(self.captions)} frames)"

    @property
    def start(self) -> int:
        """The number of the first frame."""
        number = 0
        for control in self.controls:
            number = number * len(control.values) + control.start
        return number

    def _fragment(self) -> str:
        data = json.dumps(self._data(), separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
        name = "gcl-" + hashlib.sha256((self.title + data).encode()).hexdigest()[:8]
        fields = "".join(control.html(f"{name}-{i}") for i, control in enumerate(self.controls))
        shown = "".join(panel.html(self.start, i) for i, panel in enumerate(self.panels))
        answer = (
            f"<details><summary>Reveal</summary><p>{escape(self.reveal)}</p></details>" if self.reveal else ""
        )
        script = (HERE / "explorer.js").read_text().replace("EXPLORER", name)
        return (
            f'<section class="gcl" id="{name}" aria-label="{escape(self.title)}" '
            'data-lm-suppress-shortcuts="true">'
            f"<style>{(HERE / 'explorer.css').read_text()}{self._sprite(name)}</style>"
            f'<p class="gcl-title">{escape(self.title)}</p><div class="gcl-controls" hidden>{fields}</div>'
            f'<div class="gcl-panels">{shown}</div>'
            f'<p class="gcl-caption" aria-live="polite">{escape(self.captions[self.start])}</p>{answer}'
            f'<script type="application/json">{data}</script><script>{script}</script></section>'
        )

    def _data(self) -> dict:
        return {
            "controls": [list(control.values) for control in self.controls],
            "panels": [{"kind": panel.kind, "frames": panel.data()} for panel in self.panels],
            "captions": list(self.captions),
            "sprite": {"side": SIDE, "columns": COLUMNS},
        }

    def _sprite(self, name: str) -> str:
        strips = [panel for panel in self.panels if isinstance(panel, Strip)]
        if len(strips) > 1:
            raise ValueError("panels: an explorer holds one strip, got more")
        if not strips:
            return ""
        return f'#{name} .gcl-strip [role="img"]{{background-image:url({strips[0].sprite()})}}'
