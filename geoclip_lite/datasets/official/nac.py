"""NAC, nouns and attributes in contrast (App. F.1): pairs of generated pictures, described by JSON lines.

    {"image": "0/open.png", "noun": "box", "attribute": "open", "contrast": "closed",
     "prompt": "...", "seed": 7, "verifier": "Qwen2.5-VL-32B-Instruct", "confidence": 0.98}

The paper's own set is not released. What you generate and verify yourself after its recipe is read from such
lines, one a picture, beside the pictures; `prompts` words the two prompts of a pair.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from geoclip_lite.datasets.folder import draw
from geoclip_lite.datasets.official.reading import DAMAGE, Faults, Missing, Reading, inside, name, text
from geoclip_lite.scenes import Scene, SceneObject

GENERIC_PLACE = "in a realistic everyday scene"
CONSTRAINTS = "realistic details, no text, no watermark"


@dataclass(frozen=True)
class Sample(Scene):
    """A generated picture. Its one object has the attribute in a slot called by both poles, "closed/open".

    Args:
        prompt: what it was generated from.
        seed: of the generator; both pictures of a pair have the same.
        verifier: the model that looked at the picture; "": none.
        confidence: of its "yes", 0 to 1.
    """

    prompt: str = ""
    seed: int | None = None
    verifier: str = ""
    confidence: float | None = None


def read(path: Path | str, missing: Missing = "refuse") -> Reading[Sample]:
    """The pictures of a file of JSON lines. `prompt`, `seed`, `verifier` and `confidence` may be missing.

    Args:
        missing: what becomes of damaged lines, and of those without their picture.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: something is damaged or missing, and is refused.
    """
    path, faults, samples = Path(path), Faults(missing), {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                sample = _sample(json.loads(line), path.parent) if line.strip() else None
                if sample and sample.image_id in samples:
                    raise ValueError(f"{sample.image_id} is there twice")
            except (*DAMAGE, RecursionError) as error:
                faults.note("damaged lines", f"line {number}: {error!r}")
                continue
            if sample and not (path.parent / sample.image_id).is_file():
                faults.note("lines without their picture", f"line {number}: {sample.image_id}")
            elif sample:
                samples[sample.image_id] = sample
    return faults.reading(list(samples.values()))


def _sample(record: dict, folder: Path) -> Sample:
    image, noun = PurePosixPath(name(record, "image")).as_posix(), text(record, "noun")
    attribute, contrast = text(record, "attribute"), text(record, "contrast")
    if attribute == contrast:
        raise ValueError(f"contrast must differ from the attribute, got {contrast!r} twice")
    seed, confidence = record.get("seed"), record.get("confidence")
    if confidence is not None and not 0 <= confidence <= 1:
        raise ValueError(f"confidence must be from 0 to 1, got {confidence!r}")
    shown = SceneObject(noun, (("/".join(sorted((attribute, contrast))), attribute),))
    return Sample(
        image,
        shown.phrase,
        (shown,),
        partial(draw, inside(folder, image)),
        prompt=str(record.get("prompt") or ""),
        seed=None if seed is None else int(seed),
        verifier=str(record.get("verifier") or ""),
        confidence=confidence,
    )


def prompts(noun: str, poles: tuple[str, str], place: str = GENERIC_PLACE) -> tuple[str, str]:
    """What to generate a pair from: the same noun in the same place, and one attribute that differs.

    The paper names the parts, a scene of the noun's own or a generic one, a clause that states the attribute,
    and constraints against artefacts; the words around them are ours.

    Args:
        place: where the noun is commonly seen, "on a kitchen table".
    """
    return tuple(
        f"a photo of a {noun} {place}, the {noun} is clearly {pole}, {CONSTRAINTS}" for pole in poles
    )
