"""A model that sees, as a judge: asked once a question, with its replies validated and kept.

judge = ModelJudge(EndpointModel(Endpoint("http://localhost:8000/v1", "a-model", timeout=120)))
print(judge.cost(questions))       # before anything is sent
judge(questions)
"""

from __future__ import annotations

import warnings
from base64 import b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import ClassVar, Protocol

from PIL import Image
from tqdm import tqdm

from geoclip_lite import chat
from geoclip_lite.chat import BadReplyError, Endpoint
from geoclip_lite.encoders.store import default_folder, image_key
from geoclip_lite.images import rgb
from geoclip_lite.judge.calls import Budget, Cost, Entry, JudgeWarning
from geoclip_lite.judge.questions import Asked, Judgement, Question, prompt, read
from geoclip_lite.scenes import Scene

ATTEMPTS = 2  # at a valid reply; with the second the model is told what was wrong with the first
PATIENCE = 3.0  # seconds before a progress bar shows


class Model(Protocol):
    """A language model that sees.

    Attributes:
        name: part of what replies are kept under, so different for different weights.
    """

    name: str

    def reply(self, turns: Sequence[str], picture: Image.Image) -> str:
        """What the model says next.

        Args:
            turns: ours and the model's, in turn, ours first and last.
            picture: shown with the first turn.

        Raises:
            LanguageModelError: it says nothing.
        """
        ...


@dataclass(frozen=True)
class EndpointModel:
    """A model behind an OpenAI-compatible interface that takes pictures."""

    endpoint: Endpoint

    @property
    def name(self) -> str:
        """As the server calls it."""
        return self.endpoint.model

    def reply(self, turns: Sequence[str], picture: Image.Image) -> str:
        """See `Model` and `chat.complete`."""
        png = BytesIO()
        picture.save(png, "PNG")
        address = f"data:image/png;base64,{b64encode(png.getvalue()).decode()}"
        first = [{"type": "image_url", "image_url": {"url": address}}, {"type": "text", "text": turns[0]}]
        contents = [first, *turns[1:]]
        roles = ["assistant" if i % 2 else "user" for i in range(len(turns))]
        said = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
        return chat.complete(said, self.endpoint)


@dataclass(frozen=True)
class ModelJudge:
    """Asks a model. What it has said before is looked up, whoever asked.

    Args:
        model: an `EndpointModel`, a `LocalModel`, or whatever fits the protocol.
        budget: a run that would cost more is refused before anything is asked.
        folder: for replies; None: "judgements" in the package's cache, see `encoders.store.default_folder`.
        size: longer side of the pictures that it is shown, in pixels, at most.
        workers: questions asked at a time; above 1 for a server that answers several at once.
        progress: whether a run of more than a few seconds shows a bar.

    Raises:
        ValueError: a size or a number of workers below 1.
    """

    model: Model
    budget: Budget = field(default_factory=Budget)
    folder: Path | None = None
    size: int = 336
    workers: int = 1
    progress: bool = True
    oracle: ClassVar[bool] = False

    def __post_init__(self):
        if self.size < 1 or self.workers < 1:
            raise ValueError(f"size and workers must be at least 1, got {self.size} and {self.workers}")

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    def cost(self, questions: Sequence[Question]) -> Cost:
        """What `judge(questions)` would take, with what is known already taken off. Asks nothing."""
        return self._plan(questions).cost

    def __call__(self, questions: Sequence[Question]) -> list[Judgement | None]:
        """One answer a question; None, with a warning, where two attempts brought no valid one.

        Every valid reply is kept as it comes: after an error, or a stop, only the rest is asked.

        Raises:
            BudgetError: it would cost more than the budget allows.
            BadReplyError: not one answer is valid, nor was before.
            UnreachableError, RefusedError: see `chat.complete`.
        """
        plan = self._plan(questions)
        self.budget.check(plan.cost)
        answers = plan.known | self._ask_all(plan.open)
        failed = [answer for answer in answers.values() if isinstance(answer, BadReplyError)]
        if failed:
            told = f"{self.name} gave no valid reply to {len(failed):,} of {len(answers):,} questions"
            if len(failed) == len(answers):
                raise BadReplyError(f"{told}: {failed[0]}")
            warnings.warn(f"{told}, for instance: {failed[0]}", JudgeWarning, stacklevel=2)
        valid = {entry: answer for entry, answer in answers.items() if isinstance(answer, Judgement)}
        return [valid.get(entry) for entry in plan.entries]

    def _plan(self, questions: Sequence[Question]) -> _Plan:
        """What is known, and what must be asked. Equal questions are asked once."""
        scenes = {item.image_id: item for _, item in questions}
        looks = {name: _Look.at(self._picture(item)) for name, item in scenes.items()}
        entries = [Entry(self.name, prompt(asked), looks[item.image_id].key) for asked, item in questions]
        different = dict(zip(entries, questions, strict=True))
        kept = {entry: self._kept(entry, asked) for entry, (asked, _) in different.items()}
        known = {entry: answer for entry, answer in kept.items() if answer is not None}
        open_ = {entry: question for entry, question in different.items() if entry not in known}
        sizes = [looks[item.image_id].size for _, item in open_.values()]
        cost = self.budget.cost([entry.prompt for entry in open_], sizes, cached=len(known))
        return _Plan(entries, known, open_, cost)

    def _kept(self, entry: Entry, asked: Asked) -> Judgement | None:
        reply = entry.load(self._folder)
        try:
            return read(reply, asked) if reply is not None else None
        except BadReplyError:  # kept by a version that asked for less
            return None

    def _ask_all(self, open_: dict[Entry, Question]) -> dict[Entry, Judgement | BadReplyError]:
        with ThreadPoolExecutor(self.workers) as pool:  # after an error, map starts nothing more
            said = pool.map(self._ask, open_, open_.values())
            hidden = {"delay": PATIENCE, "disable": not self.progress}
            bar = tqdm(said, self.name, total=len(open_), unit="question", **hidden)
            return dict(zip(open_, bar, strict=True))

    def _ask(self, entry: Entry, question: Question) -> Judgement | BadReplyError:
        """An answer, or what was wrong with the last attempt at one."""
        asked, item = question
        picture, turns = self._picture(item), [entry.prompt]
        for _ in range(ATTEMPTS):
            try:
                turns.append(self.model.reply(turns, picture))
                answer = read(turns[-1], asked)
            except BadReplyError as error:
                wrong = error
                if len(turns) % 2:  # it said nothing, so there is nothing to correct
                    break
                turns.append(f"{error}. Reply with the JSON alone.")
            else:
                entry.save(self._folder, turns[-1])
                return answer
        return wrong

    def _picture(self, item: Scene) -> Image.Image:
        """As the model is shown it."""
        picture = rgb(item.image(self.size)).copy()
        picture.thumbnail((self.size, self.size))
        return picture

    @property
    def _folder(self) -> Path:
        return self.folder or default_folder() / "judgements"


@dataclass(frozen=True)
class _Look:
    """What must be remembered of a picture that was drawn."""

    key: str
    size: tuple[int, int]

    @classmethod
    def at(cls, picture: Image.Image) -> _Look:
        return cls(image_key(picture).hex(), picture.size)


@dataclass(frozen=True)
class _Plan:
    """What a call of a judge comes down to."""

    entries: list[Entry]  # one a question
    known: dict[Entry, Judgement]
    open: dict[Entry, Question]
    cost: Cost
