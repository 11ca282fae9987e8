"""One recipe for every mini CLIP: `python -m geoclip_lite.encoders.train mini-single --seed 0`.

A run is a function of its recipe alone. Each step draws its batch from a generator seeded by (seed, step),
so nothing but the step number needs to be remembered: a run that was stopped and started again ends in
the same bits as one that was not (on one thread and the same build of torch).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import cos, pi
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Int, UInt8
from open_clip.loss import ClipLoss
from open_clip.model import CLIP
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

import geoclip_lite.encoders.diets as diets
from geoclip_lite.encoders.mini import (
    CONTEXT_LENGTH,
    IMAGE_SIZE,
    architecture,
    embed_tokens,
    save_mini,
    to_input,
    to_pixels,
)
from geoclip_lite.encoders.tokenizer import WordTokenizer
from geoclip_lite.files import write_atomically
from geoclip_lite.scenes import Scene

# Where a run leaves a snapshot, as shares of its steps: dense where alignment forms.
CHECKPOINTS = (0.01, 0.03, 0.06, 0.1, 0.15, 0.25, 0.4, 0.6, 0.8, 1.0)
MAX_LOGIT_SCALE = float(np.log(100))


@dataclass(frozen=True)
class Recipe:
    """All that a run depends on besides the code.

    Args:
        diet: a name in `diets.DIETS`.
        seed: of images, initial weights, batches and captions.
        steps: the length of the schedule; None takes the diet's.
        batch: image-caption pairs of each world in a batch; None takes the diet's.
        pool: training images of each world, drawn once.
    """

    diet: str
    seed: int = 0
    steps: int | None = None
    batch: int | None = None
    pool: int = 12_000
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.1
    warmup: int = 100

    def __post_init__(self):
        if self.diet not in diets.DIETS:
            raise ValueError(f"diet must be one of {', '.join(diets.DIETS)}, got {self.diet!r}")
        for name in ("steps", "batch"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(diets.DIETS[self.diet], name))

    def checkpoints(self) -> list[int]:
        """The steps after which a snapshot is kept."""
        return [max(1, round(share * self.steps)) for share in CHECKPOINTS]

    def rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to zero."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (1 + cos(pi * progress)) / 2


# --- data -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pool:
    """The training images of one world, with their scenes."""

    world: ModuleType
    scenes: list[Scene]
    pixels: UInt8[Tensor, "images 3 size size"]


def draw_pool(world: ModuleType, recipe: Recipe) -> Pool:
    """Draws the training images of a world, a pure function of the recipe's seed."""
    diet = diets.DIETS[recipe.diet]
    rng = np.random.default_rng([recipe.seed, diet.worlds.index(world)])
    scenes = [diets.draw_scene(world, diet, rng) for _ in range(recipe.pool)]
    pictures = [s.image(IMAGE_SIZE) for s in tqdm(scenes, desc=f"drawing {world.NAME}", mininterval=2)]
    return Pool(world, scenes, to_pixels(pictures))


def draw_batch(
    pools: list[Pool], recipe: Recipe, step: int
) -> tuple[UInt8[Tensor, "pairs 3 size size"], list[str]]:
    """The pairs of one step: augmented images of every world and fresh captions."""
    rng = np.random.default_rng([recipe.seed, 1000, step])
    diet, pixels, captions = diets.DIETS[recipe.diet], [], []
    for pool in pools:
        chosen = rng.choice(len(pool.scenes), recipe.batch, replace=False)
        pixels.append(augment(pool.pixels[torch.from_numpy(chosen)], rng))
        captions += [diets.draw_caption(pool.scenes[i], pool.world, diet, rng) for i in chosen]
    return torch.cat(pixels), captions


def augment(
    pixels: UInt8[Tensor, "n 3 size size"], rng: np.random.Generator
) -> UInt8[Tensor, "n 3 size size"]:
    """Shifts each image by up to 3 pixels, mirrors half of them, and varies brightness by 10 %."""
    n, size = len(pixels), pixels.shape[-1]
    padded = F.pad(pixels.float(), (3, 3, 3, 3), mode="replicate")
    shifts = rng.integers(0, 7, size=(n, 2)).tolist()
    images = torch.stack([p[:, y : y + size, x : x + size] for p, (y, x) in zip(padded, shifts, strict=True)])
    mirrored = torch.from_numpy(rng.random(n) < 0.5)[:, None, None, None]
    images = torch.where(mirrored, images.flip(-1), images)
    brightness = torch.from_numpy(rng.uniform(0.9, 1.1, n)).float()[:, None, None, None]
    return (images * brightness).clamp(0, 255).byte()


# --- the run --------------------------------------------------------------------------------------


def make_optimizer(model: CLIP, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW; gains, biases and the temperature are not decayed."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    free = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))


def train_step(
    model: CLIP,
    optimizer: torch.optim.Optimizer,
    images: UInt8[Tensor, "pairs 3 size size"],
    tokens: Int[Tensor, "pairs length"],
    layout: torch.memory_format = torch.channels_last,
) -> float:
    """One step down the symmetric contrastive loss; returns the loss.

    Args:
        layout: of the images and the model in memory; channels last is the faster one on a CPU.
    """
    pixels = to_input(images).contiguous(memory_format=layout)
    image_vectors = F.normalize(model.visual(pixels), dim=-1)
    text_vectors = F.normalize(embed_tokens(model, tokens), dim=-1)
    loss = ClipLoss()(image_vectors, text_vectors, model.logit_scale.exp())
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(max=MAX_LOGIT_SCALE)
    return loss.item()


def train(recipe: Recipe, folder: Path, stop_after: int | None = None, save_every: int = 100) -> Path | None:
    """Trains a mini CLIP, or goes on where an earlier call was stopped.

    The folder receives `step-NNNN.safetensors` at every checkpoint, `log.jsonl` with one line a step, and
    `state.safetensors`, from which a stopped run goes on.

    Args:
        recipe: what to train.
        folder: of this run alone.
        stop_after: stop after this step, as an interruption would.
        save_every: steps between two states.

    Returns:
        the last checkpoint's path, or None when stopped before.

    Raises:
        ValueError: the folder holds a run of another recipe.
    """
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe.seed)
    diet = diets.DIETS[recipe.diet]
    tokenizer = WordTokenizer(diet.vocabulary(), CONTEXT_LENGTH)
    model = architecture(tokenizer.vocabulary_size).train().to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, recipe)
    first = load_state(folder, recipe, model, optimizer)
    trim_log(folder, first)
    pools = [draw_pool(world, recipe) for world in diet.worlds] if first < recipe.steps else []
    bar = {"initial": first, "total": recipe.steps, "desc": recipe.diet, "mininterval": 2}
    for step in tqdm(range(first, recipe.steps), **bar):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        images, captions = draw_batch(pools, recipe, step)
        loss = train_step(model, optimizer, images, tokenizer(captions))
        write_log(folder, step, {"loss": loss, "logit_scale": model.logit_scale.item()})
        done = step + 1
        if done in recipe.checkpoints():
            save_mini(checkpoint_path(folder, done), model, tokenizer, asdict(recipe) | {"at_step": done})
        if done % save_every == 0 or done == recipe.steps:
            save_state(folder, recipe, model, optimizer, done)
        if done == stop_after and done < recipe.steps:
            return None
    return checkpoint_path(folder, recipe.steps)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the snapshot after this many steps lies."""
    return Path(folder) / f"step-{step:04d}.safetensors"


def write_log(folder: Path, step: int, values: dict[str, float]) -> None:
    """Appends the line of one step."""
    with (Path(folder) / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": step, **values}) + "\n")


def trim_log(folder: Path, step: int) -> None:
    """Drops the lines from `step` on, which an interrupted run wrote after its last state."""
    path = Path(folder) / "log.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    write_atomically(path, "".join(lines[:step]).encode())


# --- stopping and going on ------------------------------------------------------------------------


def _tensors(model: CLIP, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """All numbers of a run by name: weights, running statistics, and AdamW's moments."""
    yield from model.state_dict().items()
    for index, moments in optimizer.state_dict()["state"].items():
        for key, value in moments.items():
            yield f"optimizer/{index}/{key}", value


def save_state(
    folder: Path, recipe: Recipe, model: CLIP, optimizer: torch.optim.Optimizer, step: int
) -> None:
    """Writes all that is needed to go on after `step` steps."""
    tensors = {name: tensor.contiguous() for name, tensor in _tensors(model, optimizer)}
    metadata = {"recipe": json.dumps(asdict(recipe)), "step": str(step)}
    write_atomically(Path(folder) / "state.safetensors", save(tensors, metadata))


def load_state(folder: Path, recipe: Recipe, model: CLIP, optimizer: torch.optim.Optimizer) -> int:
    """Restores a stopped run into model and optimizer; returns the steps it had done, 0 for a new run."""
    path = Path(folder) / "state.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as file:
        found, step = json.loads(file.metadata()["recipe"]), int(file.metadata()["step"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if found != asdict(recipe):
        raise ValueError(f"folder {folder} holds a run of {found}, not of {asdict(recipe)}: choose another")
    moments: dict[int, dict[str, Tensor]] = {}
    for name in [name for name in tensors if name.startswith("optimizer/")]:
        _, index, key = name.split("/")
        moments.setdefault(int(index), {})[key] = tensors.pop(name)
    model.load_state_dict(tensors)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("diet", choices=diets.DIETS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="length of the schedule (default: the diet's)")
    parser.add_argument("--out", type=Path, default=Path(".cache/minis"), help="receives the run's folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # more threads add up in another order
    recipe = Recipe(arguments.diet, arguments.seed, arguments.steps)
    print(train(recipe, run_folder(arguments.out, recipe)))


def run_folder(out: Path, recipe: Recipe) -> Path:
    """Where `main` puts a run."""
    return Path(out) / f"{recipe.diet}-seed{recipe.seed}"


if __name__ == "__main__":
    main()
