"""The same training with a real language model: TRL's GRPOTrainer, our rewards.

    model, tokenizer = load("Qwen/Qwen2.5-0.5B-Instruct")        # fetched once, 1 GB
    train(model, tokenizer, corpus, Recipe(learning_rate=1e-6), folder)
    rewrite(model, tokenizer, ["je cherche un cercle rouge"])

Rewrites are cut to what CLIP reads, 77 tokens with start and end. `settings` says where TRL's defaults bite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer

from geoclip_lite.encoders.hub import brief, from_hub
from geoclip_lite.encoders.mini import WeightsError
from geoclip_lite.rewriting.corpus import Corpus, earned
from geoclip_lite.rewriting.errors import BadRewriteError, HubError, MissingExtraError
from geoclip_lite.rewriting.grpo import Recipe
from geoclip_lite.rewriting.rewards import REWARDS, format_reward

if TYPE_CHECKING:  # an extra that need not be installed
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from trl import GRPOConfig, GRPOTrainer

MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
INSTRUCTION = (
    "You turn what people ask for into captions of pictures. Whatever its language and length, "
    "say in one short English line what the picture shows, and nothing else."
)
CLIP_TOKENS = 77  # start and end among them
MAX_TOKENS = 64  # of a rewrite

Completion = str | list[dict[str, str]]


def load(name: str = MODEL) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model and its tokenizer, by the hub's name or from a folder.

    Raises:
        MissingExtraError: transformers is not installed.
        HubError: the model is not on this machine, and the hub is out of reach or does not have it.
    """
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise MissingExtraError(
            "language models need transformers: pip install 'geoclip-lite[llm]'"
        ) from error
    if not Path(name).is_dir():
        try:
            from_hub(name, ["config.json"], "")
        except WeightsError as error:
            raise HubError(
                f"name: {name} is not on this machine, and the hub cannot be asked "
                f"({brief(error.__cause__)}). "
                "Fetch it where there is a network, or name the folder of a model"
            ) from error
    try:
        return AutoModelForCausalLM.from_pretrained(name), AutoTokenizer.from_pretrained(
            name, padding_side="left"
        )
    except (OSError, ValueError) as error:
        raise HubError(f"name: {name} cannot be loaded as a language model ({brief(error)})") from error


# --- in and out -----------------------------------------------------------------------------------


def prompt(query: str, tokenizer: PreTrainedTokenizerBase) -> Completion:
    """The query with the instruction, as a conversation if the model was trained on such; else the query."""
    if getattr(tokenizer, "chat_template", None) is None:
        return query
    return [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": query}]


def caption(completion: Completion) -> str:
    """The rewrite in a model's answer: its first line with words, without quotes, cut to what CLIP reads."""
    text = completion if isinstance(completion, str) else completion[-1]["content"]
    lines = [line.strip().removeprefix("Caption:").strip(" \"'“”") for line in text.splitlines()]
    return fitted(next((line for line in lines if any(map(str.isalnum, line))), ""))


def fitted(text: str) -> str:
    """The text, cut at the word that CLIP's context of 77 tokens would cut."""
    words, left = [], CLIP_TOKENS - 2
    for word in text.split():
        left -= len(_clip().encode(word))
        if left < 0:
            break
        words.append(word)
    return " ".join(words)


@cache
def _clip() -> SimpleTokenizer:
    return SimpleTokenizer()


@torch.no_grad()
def rewrite(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, queries: Sequence[str], batch: int = 32
) -> list[str]:
    """The likeliest rewrite of every query.

    Raises:
        BadRewriteError: a rewrite without words.
    """
    model.eval()
    written = []
    for start in range(0, len(queries), batch):
        some = [prompt(query, tokenizer) for query in queries[start : start + batch]]
        if not isinstance(some[0], str):
            some = [
                tokenizer.apply_chat_template(p, add_generation_prompt=True, tokenize=False) for p in some
            ]
        asked = tokenizer(some, return_tensors="pt", padding=True, padding_side="left").to(model.device)
        asked.pop("token_type_ids", None)
        ids = model.generate(**asked, do_sample=False, max_new_tokens=MAX_TOKENS)
        answers = tokenizer.batch_decode(ids[:, asked["input_ids"].shape[1] :], skip_special_tokens=True)
        written += [caption(answer) for answer in answers]
    for query, text in zip(queries, written, strict=True):
        if not text:
            raise BadRewriteError(f"the rewrite of {query!r} has no words: search with the query itself")
    return written


# --- training -------------------------------------------------------------------------------------


def reward_function(corpus: Corpus, recipe: Recipe, longest: int = MAX_TOKENS) -> Callable[..., list[float]]:
    """TRL's form of `corpus.earned` plus the reward for the format.

    All rewrites of a query are ranked among the same candidates, drawn anew at every step.

    Args:
        longest: tokens of a rewrite; one that has as many did not end.
    """

    def earnings(completions, completion_ids, number, trainer_state=None, **_) -> list[float]:
        step = 0 if trainer_state is None else trainer_state.global_step
        texts = [[caption(completion)] for completion in completions]
        candidates = torch.cat(
            [
                corpus.candidates([i], recipe.candidates, np.random.default_rng([recipe.seed, step, i]))
                for i in number
            ]
        )
        ended = torch.tensor([len(ids) < longest for ids in completion_ids])
        well_formed = ended & torch.tensor([bool(text) for [text] in texts])
        values = earned(corpus, texts, candidates, REWARDS[recipe.reward])[:, 0]
        return (values + format_reward(well_formed)).tolist()

    return earnings


def settings(recipe: Recipe, folder: Path | str, longest: int = MAX_TOKENS) -> GRPOConfig:
    """TRL's configuration of a recipe.

    Raises:
        MissingExtraError: TRL is not installed.
    """
    try:
        from trl import GRPOConfig
    except ImportError as error:
        raise MissingExtraError(
            "training language models needs TRL: pip install 'geoclip-lite[llm]'"
        ) from error
    cuda = torch.cuda.is_available()
    return GRPOConfig(
        output_dir=str(folder),
        max_steps=recipe.steps * recipe.updates,  # TRL counts updates, not samplings
        per_device_train_batch_size=recipe.queries * recipe.k,  # TRL counts completions, not queries
        num_generations=recipe.k,
        num_iterations=recipe.updates,
        max_completion_length=longest,
        learning_rate=recipe.learning_rate,  # TRL's own default is 1e-6, for models of billions
        lr_scheduler_type="constant",
        beta=recipe.beta,  # by default 0, and then there is no reference model
        epsilon=recipe.clip,
        loss_type="grpo",
        seed=recipe.seed,
        shuffle_dataset=False,
        use_cpu=not cuda,
        bf16=cuda,  # the default, and an error on a CPU
        save_strategy="no",
        report_to="none",
        logging_steps=1,
        disable_tqdm=True,
    )


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    corpus: Corpus,
    recipe: Recipe,
    folder: Path | str,
    longest: int = MAX_TOKENS,
) -> GRPOTrainer:
    """Trains the model in place by TRL's GRPOTrainer; returns that, and its `state.log_history` is the log.

    Args:
        model: as `load` returns it: TRL reads the reference of the KL penalty from where the model came from.

    Raises:
        MissingExtraError: TRL is not installed.
        SmallGalleryError: more candidates than pictures.
    """
    arguments = settings(recipe, folder, longest)
    from datasets import Dataset
    from trl import GRPOTrainer

    corpus.candidates([0], recipe.candidates, np.random.default_rng(0))  # fails now if it must
    rows = [{"prompt": prompt(text, tokenizer), "number": i} for i, text in enumerate(corpus.asked.texts)]
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward_function(corpus, recipe, longest),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.train()
    return trainer
