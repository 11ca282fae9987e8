"""Models of transformers on this machine (an extra: pip install "geoclip-lite[vlm]").

LocalModel      a vision-language model such as Qwen2.5-VL, for `ModelJudge`
MatchingJudge   an image-text-matching model (BLIP, BLIP-2), a judge of its own: one number a pair, no words
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import nn

from geoclip_lite.chat import BadReplyError
from geoclip_lite.encoders.device import usable_device
from geoclip_lite.encoders.hub import brief
from geoclip_lite.encoders.mini import WeightsError
from geoclip_lite.images import rgb
from geoclip_lite.judge.questions import TOP_GRADE, Asked, Judgement, Question
from geoclip_lite.scenes import Scene

MAX_REPLY = 200  # tokens
# For each kind of matching model: its class, the argument that chooses its head, and where the logits lie.
MATCHING = {
    "blip": ("BlipForImageTextRetrieval", "use_itm_head", "itm_score"),
    "blip-2": ("Blip2ForImageTextRetrieval", "use_image_text_matching_head", "logits_per_image"),
}


@dataclass(frozen=True)
class LocalModel:
    """A vision-language model of transformers, e.g. `LocalModel.load("Qwen/Qwen2.5-VL-3B-Instruct")`.

    Replies are greedy: the same question gets the same reply.

    Args:
        name: of these weights.
        model: with `generate`.
        processor: with a chat template and a tokenizer.
    """

    name: str
    model: nn.Module
    processor: Any

    @classmethod
    def load(cls, name: str, device: torch.device | str | None = None) -> LocalModel:
        """A model of the hub, or in a folder.

        Args:
            device: None takes the best there is.

        Raises:
            ImportError: transformers is not installed.
            WeightsError: there is no such model here or within reach.
            ValueError: a device that cannot be used.
        """
        return cls(name, *_loaded(name, "AutoModelForImageTextToText", device))

    @torch.inference_mode()
    def reply(self, turns: Sequence[str], picture: Image.Image) -> str:
        """See `ModelJudge`.

        Raises:
            BadReplyError: it says nothing.
        """
        said = [
            {"role": "assistant" if i % 2 else "user", "content": [{"type": "text", "text": turn}]}
            for i, turn in enumerate(turns)
        ]
        said[0]["content"].insert(0, {"type": "image", "image": picture})
        form = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        inputs = self.processor.apply_chat_template(said, **form).to(self.model.device, self.model.dtype)
        tokens = self.model.generate(**inputs, do_sample=False, max_new_tokens=MAX_REPLY)
        fresh = tokens[:, inputs["input_ids"].shape[1] :]
        reply = self.processor.batch_decode(fresh, skip_special_tokens=True)[0]
        if not reply.strip():
            raise BadReplyError("the model said nothing")
        return reply


@dataclass(frozen=True)
class MatchingJudge:
    """An image-text-matching model: P(match) for a concept, and 4 P(match), unrounded, for a query.

    E.g. `MatchingJudge.load("Salesforce/blip-itm-base-coco")`. It learnt matches and mismatches, nothing in
    between: good for an order, less so for grades.

    Args:
        name: of these weights.
        model: of one of the kinds in `MATCHING`.
        processor: of pictures and texts.
        size: pixels that pictures are drawn at; the processor scales them to its own.
        batch: pairs at a time.
    """

    name: str
    model: nn.Module
    processor: Any
    size: int = 384
    batch: int = 16
    oracle: ClassVar[bool] = False

    def __post_init__(self):
        if self.model.config.model_type not in MATCHING:
            kind = self.model.config.model_type
            raise ValueError(f"model must be one of {', '.join(MATCHING)}, got {kind!r}")

    @classmethod
    def load(cls, name: str, device: torch.device | str | None = None) -> MatchingJudge:
        """A model of the hub, or in a folder; raises as `LocalModel.load` does."""
        try:
            kind = _transformers().AutoConfig.from_pretrained(name).model_type
        except (OSError, ValueError) as error:
            raise _no_model(name, error) from error
        if kind not in MATCHING:
            raise ValueError(f"name must be a model of one of {', '.join(MATCHING)}, {name!r} is {kind!r}")
        return cls(name, *_loaded(name, MATCHING[kind][0], device))

    def __call__(self, questions: Sequence[Question]) -> list[Judgement]:
        """One answer a question."""
        starts = range(0, len(questions), self.batch)
        batches = [self._matches(questions[i : i + self.batch]) for i in starts]
        tops = [float(TOP_GRADE) if isinstance(asked, Scene) else 1.0 for asked, _ in questions]
        chances = [chance for batch in batches for chance in batch]
        return [Judgement(top * chance) for top, chance in zip(tops, chances, strict=True)]

    @torch.inference_mode()
    def _matches(self, questions: Sequence[Question]) -> list[float]:
        """P(match) of some pairs."""
        _, head, output = MATCHING[self.model.config.model_type]
        pictures = [rgb(item.image(self.size)) for _, item in questions]
        texts = [_words(asked) for asked, _ in questions]
        inputs = self.processor(
            images=pictures, text=texts, padding=True, truncation=True, return_tensors="pt"
        )
        inputs = inputs.to(self.model.device, self.model.dtype)
        with self.model.device:  # BLIP makes a mask of its own, elsewhere unless told
            logits = self.model(**inputs, **{head: True})[output]
        return logits.float().softmax(dim=1)[:, 1].tolist()


def _words(asked: Asked) -> str:
    return asked.caption if isinstance(asked, Scene) else asked.phrase


# --- loading --------------------------------------------------------------------------------------


def _loaded(name: str, kind: str, device: torch.device | str | None) -> tuple[nn.Module, Any]:
    transformers, device = _transformers(), usable_device(device)
    try:
        processor = transformers.AutoProcessor.from_pretrained(name)
        model = getattr(transformers, kind).from_pretrained(name, dtype="auto")
    except (OSError, ValueError) as error:
        raise _no_model(name, error) from error
    return model.eval().to(device), processor


def _transformers() -> ModuleType:
    try:
        return import_module("transformers")
    except ImportError as error:
        raise ImportError("this judge needs transformers: pip install 'geoclip-lite[vlm]'") from error


def _no_model(name: str, error: Exception) -> WeightsError:
    return WeightsError(f"name: no model {name!r} here or within reach, or no such folder: {brief(error)}")
