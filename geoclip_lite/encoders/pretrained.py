"""Every model of open_clip behind the `DualEncoder` interface: published weights by tag, or a file of yours.

Nothing is computed here that open_clip does not compute: its model, its tokenizer, its preprocessing. What is
added are batches, unit vectors on the CPU, and errors that say what to do; and a picture is brought to RGB by
`images.rgb` first, which matters for transparent pixels and for grey of more than 8 bits.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import open_clip
import torch
from jaxtyping import Float, Int
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.model import CLIP
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from geoclip_lite.encoders.base import at_once, fingerprint
from geoclip_lite.encoders.checkpoints import read_weights
from geoclip_lite.encoders.device import usable_device
from geoclip_lite.encoders.hub import brief, cache, from_hub
from geoclip_lite.encoders.mini import WeightsError, embed_tokens
from geoclip_lite.encoders.templates import CLIP_TEMPLATES
from geoclip_lite.encoders.tokenizer import TextWarning
from geoclip_lite.encoders.truncation import Tokenizer, Truncation, truncation
from geoclip_lite.images import rgb
from geoclip_lite.inputs import check_images, check_texts

CHECKPOINTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")  # read as numbers; code in them is never run
QUICK = "-quickgelu"  # ends the names of architectures with OpenAI's activation
PROBE = "A photo of 3 LARGE, dark-blue cubes; left: naïve ☂ spheres?"  # tells tokenizers apart


class OpenClipEncoder:
    """An open_clip model behind the `DualEncoder` interface.

    Args:
        name: for legends and errors.
        architecture: open_clip's name of it.
        model: as `open_clip.create_model` returns it, with its preprocessing attached.
        tokenizer: as `open_clip.get_tokenizer` returns it.
        device: where to compute, on CUDA in half precision where that is safe; None takes the best there is.
    """

    templates = CLIP_TEMPLATES

    def __init__(
        self,
        name: str,
        architecture: str,
        model: nn.Module,
        tokenizer: Tokenizer,
        device: torch.device | str | None = "cpu",
    ):
        self.name, self.architecture, self.tokenizer = name, architecture, tokenizer
        self.device = usable_device(device)
        self.model = model.eval().to(self.device)
        preprocessing = PreprocessCfg(**model.visual.preprocess_cfg)
        self.preprocess = image_transform_v2(preprocessing, is_train=False)
        self.preprocess.transforms.insert(0, rgb)
        *self._to_square, _, _ = self.preprocess.transforms  # then to a tensor, and around zero
        size, self.fit = preprocessing.size, preprocessing.resize_mode
        self.image_size = size if isinstance(size, int) else size[-1]
        self.dim = open_clip.get_model_config(architecture)["embed_dim"]

    @cached_property
    def fingerprint(self) -> str:
        """A checksum of weights, architecture, preprocessing and a probe's tokens.

        The architecture counts beside the weights because QuickGELU and GELU have none.
        """
        about = {
            "architecture": open_clip.get_model_config(self.architecture),
            "preprocessing": self.model.visual.preprocess_cfg,
            "probe": self.tokenizer([PROBE]).tolist(),
        }
        return fingerprint(self.model, about)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str], batch: int = 256) -> Float[Tensor, "texts dim"]:
        """One unit vector a text. Texts longer than the context are cut, with a `TextWarning`.

        Raises:
            TypeError, ValueError: see `check_texts`.
        """
        texts = check_texts(texts)
        batches = self._tokens(texts).split(batch) if texts else []
        vectors = [self._unit_rows(self._read, tokens) for tokens in batches]
        return torch.cat([torch.empty(0, self.dim), *vectors])

    @torch.inference_mode()
    def encode_images(
        self, images: Sequence[Image.Image], batch: int | None = None, progress: bool | None = None
    ) -> Float[Tensor, "images dim"]:
        """One unit vector an image of any size.

        Args:
            batch: images preprocessed and encoded at a time; None: as many as memory has room for.
            progress: whether to draw a progress bar; None: where there is a terminal and more than one batch.

        Raises:
            TypeError, ValueError: see `check_images`.
        """
        images, batch = check_images(images), batch or at_once(self.image_size)
        starts = range(0, len(images), batch)
        hidden = (len(starts) < 2 or None) if progress is None else not progress  # None: tqdm looks for it
        bar = tqdm(starts, self.name, unit="batch", leave=False, disable=hidden)
        batches = (torch.stack([self.preprocess(image) for image in images[i : i + batch]]) for i in bar)
        vectors = [self._unit_rows(self.model.encode_image, pixels) for pixels in batches]
        return torch.cat([torch.empty(0, self.dim), *vectors])

    def square(self, image: Image.Image) -> Image.Image:
        """See `squares.square_of`."""
        for transform in self._to_square:
            image = transform(image)
        return image

    def truncation(self, texts: Sequence[str]) -> Truncation:
        """How much of the texts is not read.

        Raises:
            TypeError, ValueError: see `check_texts`; no text.
        """
        texts = check_texts(texts)
        if not texts:
            raise ValueError("texts must hold at least one text, got none")
        return truncation(self.tokenizer, texts, self.tokenizer(texts))

    def _tokens(self, texts: list[str]) -> Int[Tensor, "texts length"]:
        """Ids of all texts."""
        tokens = self.tokenizer(texts)
        if (found := truncation(self.tokenizer, texts, tokens)).cut:
            warnings.warn(str(found), TextWarning, stacklevel=4)
        return tokens

    def _read(self, tokens: Int[Tensor, "texts length"]) -> Float[Tensor, "texts dim"]:
        """open_clip's `encode_text`, without padding where that has no influence: most of the work."""
        model = self.model
        causal = isinstance(model, CLIP) and model.attn_mask is not None and model.text_pool_type == "argmax"
        if not causal or not isinstance(model.text_projection, Tensor):
            return model.encode_text(tokens)
        return embed_tokens(model, tokens[:, : int(tokens.argmax(dim=-1).max()) + 1])

    def _unit_rows(self, tower: Callable[[Tensor], Tensor], inputs: Tensor) -> Float[Tensor, "inputs dim"]:
        with torch.autocast("cuda", torch.float16, enabled=self.device.type == "cuda"):
            vectors = tower(inputs.to(self.device))
        return F.normalize(vectors.float(), dim=-1).cpu()


# --- loading --------------------------------------------------------------------------------------


def load_open_clip(
    architecture: str,
    source: str,
    *,
    tokenizer: Tokenizer | None = None,
    device: torch.device | str | None = None,
) -> OpenClipEncoder:
    """An open_clip model with trained weights, ready to use.

    A file of weights tells neither its activation nor its preprocessing. So choose "ViT-B-32" or
    "ViT-B-32-quickgelu" as it was trained; the preprocessing is that of the architecture's first tag.

    Args:
        architecture: one of `open_clip.list_models()`.
        source: a tag of published weights, or the path of a file (.safetensors, .pt, .pth, .bin, .ckpt).
        tokenizer: None takes the architecture's own.
        device: where to compute; None takes the best there is.

    Raises:
        ValueError: no such tag, one that needs another activation, or a device that cannot be used.
        WeightsError: weights or tokenizer are missing, damaged, or of another architecture.
    """
    device = usable_device(device)
    local = source.endswith(CHECKPOINTS) or "/" in source
    if not local:
        check_tag(architecture, source)
    tokenizer = tokenizer or load_tokenizer(architecture)
    path = Path(source) if local else fetch_weights(architecture, source)
    tag = next(iter(open_clip.list_pretrained_tags_by_model(architecture)), "") if local else source
    model = load_model(architecture, path, open_clip.get_pretrained_cfg(architecture, tag))
    name = f"{architecture} ({path.name})" if local else f"{architecture}/{source}"
    return OpenClipEncoder(name, architecture, model, tokenizer, device)


def check_tag(architecture: str, tag: str) -> None:
    """Refuses a tag that the architecture does not have, or whose weights expect the other activation.

    Raises:
        ValueError: with what to load instead.
    """
    twin = architecture.removesuffix(QUICK) if architecture.endswith(QUICK) else architecture + QUICK
    if _expects(twin, tag) and not _expects(architecture, tag):
        raise ValueError(
            f"name: the weights {tag!r} expect another activation than that of {architecture!r}: "
            f"load '{twin}/{tag}'"
        )
    if not open_clip.is_pretrained_cfg(architecture, tag):
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        near = did_you_mean(tag, tags) or f"it has: {', '.join(tags) or 'none'}"
        raise ValueError(
            f"name: {architecture!r} needs weights and has none called {tag!r}; {near} "
            f"(write '{architecture}/TAG', or '{architecture}/PATH' for a file: *{', *'.join(CHECKPOINTS)})"
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question that suggests near names; empty if there is none."""
    near = get_close_matches(name, list(known))
    return f"did you mean {' or '.join(map(repr, near))}?" if near else ""


def _expects(architecture: str, tag: str) -> bool:
    """Do the weights of this tag expect the activation that the architecture has?"""
    model, weights = open_clip.get_model_config(architecture), open_clip.get_pretrained_cfg(architecture, tag)
    return bool(model and weights) and model.get("quick_gelu", False) == weights.get("quick_gelu", False)


def load_tokenizer(architecture: str) -> Tokenizer:
    """The architecture's own tokenizer: CLIP's comes with open_clip, any other from the hub.

    Raises:
        WeightsError: its files are out of reach, or the package that reads them is not installed.
    """
    repository = open_clip.get_model_config(architecture)["text_cfg"].get("hf_tokenizer_name")
    if not repository:
        return open_clip.get_tokenizer(architecture)
    if find_spec("transformers") is None:
        raise WeightsError(
            f"the tokenizer of {architecture} ({repository}) needs a package that is not installed: "
            "`pip install transformers`. 'mini-single' and 'mini-pairs' need neither it nor a download"
        )
    with suppress(Exception):  # whatever transformers says, it means that the cache does not have it
        return open_clip.get_tokenizer(architecture, local_files_only=True)
    advice = f"Load it once where the hub can be reached, and copy {cache(repository).parents[1]}"
    from_hub(repository, ["tokenizer_config.json"], advice)  # knows in seconds whether the hub can be reached
    try:
        return open_clip.get_tokenizer(architecture)
    except Exception as error:
        raise WeightsError(
            f"the tokenizer of {architecture} ({repository}): {brief(error)}. {advice}"
        ) from error


def fetch_weights(architecture: str, tag: str) -> Path:
    """The file of a tag's weights, downloaded on first use.

    Raises:
        WeightsError: it is neither on this machine nor within reach.
    """
    repository, _, file = open_clip.get_pretrained_cfg(architecture, tag)["hf_hub"].rpartition("/")
    files = [file.replace(".bin", ".safetensors"), file] if file else [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
    place = cache(repository) / files[0]
    return from_hub(repository, files, f"Put it at {place}, or anywhere and load '{architecture}/PATH'")


def load_model(architecture: str, path: Path, preprocessing: dict) -> nn.Module:
    """The architecture with the weights of this file; its preprocessing is attached to it.

    Raises:
        WeightsError: no such file, a damaged one, or weights of another architecture.
    """
    if not path.is_file():
        advice = f"write '{architecture}/PATH' with the path of a file"
        raise WeightsError(f"no weights at {path}: {advice}" + ", not of a folder" * path.is_dir())
    load = partial(open_clip.create_model, architecture, force_preprocess_cfg=preprocessing)
    with suppress(Exception):  # open_clip's converters meet a strange file with whatever goes wrong first
        return load(str(path))
    try:
        return _load_plain(load, read_weights(path))
    except Exception as error:
        reason = str(error) if isinstance(error, WeightsError) else brief(error)
        raise WeightsError(f"{path} holds no weights of {architecture}, or is damaged: {reason}") from error


def _load_plain(load: Callable[..., nn.Module], weights: dict[str, Tensor]) -> nn.Module:
    """The model with weights that were found in a file: open_clip takes nothing but another file.

    Raises:
        RuntimeError: torch's, which names what does not fit.
    """
    with TemporaryDirectory() as folder:
        torch.save(weights, file := Path(folder) / "weights.pt")
        try:
            return load(str(file))
        except (AttributeError, KeyError):  # a bias or scale is there or not, before names are compared
            with _silent_logs():
                random = load(pretrained_text=False)
    random.load_state_dict(weights)
    return random


@contextmanager
def _silent_logs() -> Iterator[None]:
    """Without open_clip's warnings, of random weights that nobody will compute with."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)
