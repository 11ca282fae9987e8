"""The policy: a causal language model of less than half a million parameters that rewrites queries.

Any model of transformers has this interface; this one is Qwen2's architecture with two layers, trained from
scratch (`warm_up`). Queries of a batch are padded on the left, so that all rewrites begin at one place, and a
query's keys and values are computed once for all of its rewrites.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from geoclip_lite.files import sha256, write_atomically
from geoclip_lite.rewriting.errors import CheckpointError, MissingExtraError
from geoclip_lite.rewriting.vocabulary import END, GO, PAD, Vocabulary, all_words

try:
    from transformers import DynamicCache, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM
except ImportError as error:  # an extra
    raise MissingExtraError("rewriting needs transformers: pip install 'geoclip-lite[llm]'") from error

MAX_WORDS = 16  # of a rewrite, END among them; three objects with articles and a frame are 15
MAX_PROMPT = 112
FORMAT = "geoclip-lite rewriter 1"
WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = "rewriter-good"


def configuration(words: int) -> Qwen2Config:
    """The architecture, for a vocabulary of this many words."""
    return Qwen2Config(
        vocab_size=words,
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=MAX_PROMPT + MAX_WORDS,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        bos_token_id=GO,
        eos_token_id=END,
    )


@dataclass(frozen=True)
class Rewrites:
    """k rewrites of each query, as numbers; behind END stands PAD.

    Args:
        ids: up to `MAX_WORDS` numbers each.
        mask: what belongs to the rewrite, END included.
    """

    ids: Int[Tensor, "queries k words"]
    mask: Bool[Tensor, "queries k words"]

    @property
    def ended(self) -> Bool[Tensor, "queries k"]:
        """Which of them end by themselves."""
        return (self.ids == END).any(-1)

    @property
    def well_formed(self) -> Bool[Tensor, "queries k"]:
        """Which of them have words and an end."""
        return self.ended & (self.lengths > 1)

    @property
    def lengths(self) -> Int[Tensor, "queries k"]:
        """Words of each, END included."""
        return self.mask.sum(-1)


class Policy:
    """A language model with the words that it reads and writes.

    Args:
        model: any causal language model of transformers whose numbers are the vocabulary's.
        vocabulary: see there.
    """

    def __init__(self, model: PreTrainedModel, vocabulary: Vocabulary):
        self.model, self.vocabulary = model, vocabulary

    @classmethod
    def untrained(cls, seed: int) -> Policy:
        """Random weights, the vocabulary of all words."""
        vocabulary = Vocabulary(all_words())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(Qwen2ForCausalLM(configuration(len(vocabulary))).eval(), vocabulary)

    @property
    def body(self) -> nn.Module:
        """The model below its last layer, whose weights are the embedding's: all that has to be kept."""
        return self.model.base_model

    def copy(self) -> Policy:
        """A policy of its own with the same weights."""
        return Policy(copy.deepcopy(self.model), self.vocabulary)

    # --- reading ---

    def prompts(
        self, texts: Sequence[str]
    ) -> tuple[Int[Tensor, "queries words"], Bool[Tensor, "queries words"]]:
        """Queries as numbers, each with GO at its end, padded on the left; and what is no padding.

        Raises:
            UnknownWordsError: see `Vocabulary.encode`.
            ValueError: a query of more than `MAX_PROMPT` words, or of none.
        """
        rows = [[*self.vocabulary.encode(text), GO] for text in texts]
        width = max(map(len, rows))
        if width > MAX_PROMPT:
            raise ValueError(
                f"texts: a query may have {MAX_PROMPT - 1} words, one has {width - 1}: shorten it"
            )
        ids = torch.tensor([[PAD] * (width - len(row)) + row for row in rows])
        return ids, ids != PAD

    def _read(self, texts: Sequence[str], k: int) -> tuple[Tensor, Tensor, DynamicCache]:
        """Scores of the first word, what is no padding, and keys and values, for k rewrites of each query."""
        ids, mask = self.prompts(texts)
        cache = DynamicCache()
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        out = self.model(
            ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        cache.batch_repeat_interleave(k)
        return out.logits[:, -1].repeat_interleave(k, 0), mask.repeat_interleave(k, 0), cache

    def _go_on(self, ids: Int[Tensor, "rows words"], mask: Tensor, cache: DynamicCache) -> Tensor:
        """Scores of the words behind these."""
        positions = mask.sum(1)[:, None] - ids.shape[1] + torch.arange(ids.shape[1])
        about = {"attention_mask": mask, "position_ids": positions}
        return self.model(ids, **about, past_key_values=cache, use_cache=True).logits

    # --- writing ---

    @torch.no_grad()
    def sample(
        self, texts: Sequence[str], k: int, generator: torch.Generator, temperature: float = 1.0
    ) -> Rewrites:
        """k random rewrites of every query."""
        return self._write(texts, k, lambda scores: _drawn(scores / temperature, generator))

    @torch.no_grad()
    def greedy(self, texts: Sequence[str], batch: int = 256) -> list[str]:
        """The rewrite of every query whose every word is the likeliest; "" where it has none."""
        some = [texts[i : i + batch] for i in range(0, len(texts), batch)]
        written = [self.texts(self._write(part, 1, lambda scores: scores.argmax(-1))) for part in some]
        return [rewrite for part in written for [rewrite] in part]

    def _write(self, texts: Sequence[str], k: int, choose: Callable[[Tensor], Tensor]) -> Rewrites:
        scores, mask, cache = self._read(texts, k)
        written, going = [], torch.ones(len(scores), dtype=torch.bool)
        for _ in range(MAX_WORDS):
            word = torch.where(going, choose(scores), PAD)
            written.append(word)
            going = going & (word != END)
            if not going.any():
                break
            mask = torch.cat([mask, torch.ones(len(mask), 1, dtype=torch.bool)], 1)
            scores = self._go_on(word[:, None], mask, cache)[:, -1]
        ids = torch.stack(written, 1)
        return Rewrites(ids.view(len(texts), k, -1), (ids != PAD).view(len(texts), k, -1))

    def log_probs(
        self, texts: Sequence[str], rewrites: Rewrites
    ) -> tuple[Float[Tensor, "queries k words"], Float[Tensor, "queries k words"]]:
        """Log-probability of every word that was written, and the entropy of what could have been."""
        n, k, words = rewrites.ids.shape
        first, mask, cache = self._read(texts, k)
        ids = rewrites.ids.view(n * k, words)
        mask = torch.cat([mask, torch.ones(n * k, words - 1, dtype=torch.bool)], 1)
        rest = self._go_on(ids[:, :-1], mask, cache) if words > 1 else first[:, None][:, :0]
        scores = torch.cat([first[:, None], rest], 1).log_softmax(-1)
        entropy = -(scores.exp() * scores).sum(-1)
        return scores.gather(-1, ids[..., None])[..., 0].view(n, k, words), entropy.view(n, k, words)

    def written(self, texts: Sequence[Sequence[str]]) -> Rewrites:
        """Texts as if the policy had written them; those that are too long do not end.

        Raises:
            UnknownWordsError: see `Vocabulary.encode`.
        """
        rows = [[*self.vocabulary.encode(text), END][:MAX_WORDS] for some in texts for text in some]
        width = max(map(len, rows))
        ids = torch.tensor([row + [PAD] * (width - len(row)) for row in rows]).view(len(texts), -1, width)
        return Rewrites(ids, ids != PAD)

    def texts(self, rewrites: Rewrites) -> list[list[str]]:
        """Rewrites in words; a rewrite without words is ""."""
        return [[self.vocabulary.decode(ids) for ids in some] for some in rewrites.ids.tolist()]


def _drawn(scores: Float[Tensor, "rows words"], generator: torch.Generator) -> Int[Tensor, " rows"]:
    return torch.multinomial(scores.softmax(-1), 1, generator=generator)[:, 0]


def parameters(model: nn.Module) -> int:
    """How many numbers a model has learned; shared ones count once."""
    return sum(p.numel() for p in model.parameters())


# --- files ----------------------------------------------------------------------------------------


def save_policy(path: Path, policy: Policy, about: dict[str, object]) -> str:
    """Writes half-precision weights with words and origin in one file; returns its sha256."""
    weights = {name: tensor.detach().half() for name, tensor in policy.body.state_dict().items()}
    said = {"format": FORMAT, "words": policy.vocabulary.words[GO + 2 :], "about": about}
    write_atomically(path, save(weights, {"about": json.dumps(said)}))
    return sha256(path)


def load_policy(path: Path | None = None, checksum: str | None = None) -> Policy:
    """Reads what `save_policy` wrote.

    Args:
        path: None: the policy that comes with the package, and its checksum.

    Raises:
        CheckpointError: no such file, a wrong checksum, a damaged file, or one of another kind.
    """
    if path is None:
        path, checksum = WEIGHTS / f"{SHIPPED}.safetensors", (WEIGHTS / "SHA256SUMS").read_text().split()[0]
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no policy at {path}: train it with `python -m geoclip_lite.rewriting`")
    if checksum and sha256(path) != checksum:
        raise CheckpointError(
            f"{path.name} has sha256 {sha256(path)}, expected {checksum}: "
            "the file was damaged or exchanged; fetch it again from the repository"
        )
    try:
        with safe_open(path, framework="pt") as file:
            said = json.loads((file.metadata() or {}).get("about", "{}"))
            weights = {key: file.get_tensor(key).float() for key in file.keys()}
    except SafetensorError as error:
        raise CheckpointError(f"{path} is no readable safetensors file ({error}); fetch it again") from error
    if said.get("format") != FORMAT:
        raise CheckpointError(f"{path} holds {said.get('format', 'no policy')!r}, expected {FORMAT!r}")
    policy = Policy.untrained(seed=0)
    if tuple(said["words"]) != policy.vocabulary.words[GO + 2 :]:
        raise CheckpointError(
            f"{path} was trained on other words than the queries of this version have: train it again with "
            "`python -m geoclip_lite.rewriting`"
        )
    try:
        policy.body.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the policy of this version: {error}") from error
    return policy
