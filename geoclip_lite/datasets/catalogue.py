"""Where data sets come from: addresses, licences and checksums, as their publishers give them.

A checksum that stands here was published or is known to many; a missing one is not made up. `downloads`
notes the checksum of such a file when it comes for the first time, and holds later copies against it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """One file of a data set.

    Args:
        address: where it is published; the last part of it is the file's name here.
        size: in bytes; None: not known.
        sha256: None: not known.
    """

    address: str
    size: int | None = None
    sha256: str | None = None

    @property
    def name(self) -> str:
        return self.address.rsplit("/", 1)[-1]

    @property
    def is_archive(self) -> bool:
        return self.name.endswith(".zip")


@dataclass(frozen=True)
class Source:
    """A data set.

    Args:
        home: the page of its publisher.
        licence: what one may do with it, in a sentence or two.
        files: none: it cannot be downloaded by a command.
        read: a line of Python that reads it from the folder `here`.
    """

    name: str
    title: str
    home: str
    licence: str
    files: tuple[File, ...]
    read: str

    @property
    def advice(self) -> str:
        """How to come by it."""
        if self.files:
            return f"`python -m geoclip_lite.datasets get {self.name}` downloads them, from {self.home}"
        return f"see {self.home}"


def _sugarcrepe(name: str, sha256: str) -> File:
    place = "https://raw.githubusercontent.com/RAIVNLab/sugar-crepe/main/data"
    return File(f"{place}/{name}.json", sha256=sha256)


_GENOME = "https://homes.cs.washington.edu/~ranjay/visualgenome/data/dataset"
_GENOME_PICTURES = "https://cs.stanford.edu/people/rak248/VG_100K_2"

_SOURCES = (
    Source(
        "coco",
        "COCO 2017, validation pictures and all annotations",
        "https://cocodataset.org/#download",
        "Annotations: CC BY 4.0. The pictures are Flickr users' own, under Flickr's terms of use; the COCO "
        "consortium does not own their copyright.",
        (
            File(
                "http://images.cocodataset.org/zips/val2017.zip",
                815_585_330,
                "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
            ),
            File(
                "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
                252_907_541,
                "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
            ),
        ),
        "coco.read('{here}')",
    ),
    Source(
        "sugarcrepe",
        "SugarCrepe, seven files of captions and hard negatives; its pictures are COCO's val2017",
        "https://github.com/RAIVNLab/sugar-crepe",
        "MIT. The captions come from COCO (CC BY 4.0).",
        (
            _sugarcrepe("add_att", "012d88d729693d193760e6f3393b06a1cf874380a9db0062e937201199fe044d"),
            _sugarcrepe("add_obj", "1b9d76b93139a937b8dc1ada92a4f05ecc821bb3c291d752428bafadd4bb0682"),
            _sugarcrepe("replace_att", "9fe55fd4c0a9ad1f85d486d9f6d0215b41f867eb025026e7f7b5ce44352545ee"),
            _sugarcrepe("replace_obj", "9d299600639947e9d15281a9ded1382b376cf4ea088a8d08a1314bfe76e81898"),
            _sugarcrepe("replace_rel", "356bcc2fc4c6aed3f4d9fd50acc58489bb1fe70c28791f9368d4cbf9ea39cdc9"),
            _sugarcrepe("swap_att", "7a7ce04e5c4c80412b48c6f0c1347fb1a2f5d54c0be6aa429b64d390e442f8d0"),
            _sugarcrepe("swap_obj", "073cdb8e253d053614e80710834d9773b09dbc1dd0a412f6f9492262caa1dcad"),
        ),
        "sugarcrepe.read('{here}', images='{here}/../coco/val2017')",
    ),
    Source(
        "visual-genome",
        "Visual Genome, 108,077 pictures with objects, attributes, relations and regions",
        "https://homes.cs.washington.edu/~ranjay/visualgenome/api.html",
        "Annotations: CC BY 4.0. The pictures come from Flickr, half of them by way of COCO.",
        (
            File(f"{_GENOME}/image_data.json.zip"),
            File(f"{_GENOME}/objects.json.zip"),
            File(f"{_GENOME}/attributes.json.zip"),
            File(f"{_GENOME}/relationships.json.zip"),
            File(f"{_GENOME}/region_descriptions.json.zip"),
            File(f"{_GENOME_PICTURES}/images.zip"),
            File(f"{_GENOME_PICTURES}/images2.zip"),
        ),
        "visual_genome.read('{here}')",
    ),
    Source(
        "urban1k",
        "Urban1k, 1,000 pictures of streets, each with a long caption",
        "https://huggingface.co/datasets/BeichenZhang/Urban1k",
        "CC BY-NC 4.0: not for commercial purposes.",
        (
            File(
                "https://huggingface.co/datasets/BeichenZhang/Urban1k/resolve/main/Urban1k.zip",
                80_586_923,
                "08e42b3fada77abf7f890a087ed6e9f9fbba1dc143f9f09801ed83187ae617b8",
            ),
        ),
        "urban1k.read('{here}/Urban1k')",
    ),
    Source(
        "clevr",
        "CLEVR v1.0, 100,000 rendered pictures of solids on a table",
        "https://cs.stanford.edu/people/jcjohns/clevr/",
        "CC BY 4.0.",
        (
            File(
                "https://dl.fbaipublicfiles.com/clevr/CLEVR_v1.0.zip",
                19_021_600_724,
                "5cd61cf1096ed20944df93c9adb31e74d189b8459a94f54ba00090e5c59936d1",
            ),
        ),
        "clevr.read('{here}/CLEVR_v1.0/scenes/CLEVR_val_scenes.json', '{here}/CLEVR_v1.0/images/val')",
    ),
    Source(
        "clevr-hope",
        "CLEVR-HOPE, in CLEVR's schema, with pairs of attributes held out (350 GB)",
        "https://github.com/ikb-a/systematicity-gap-in-vqa",
        "See its page.",
        (),
        "clevr.read('{here}/scenes.json', '{here}/images.h5')",
    ),
    Source(
        "mit-states",
        "MIT-States, photographs of 245 nouns in 115 states",
        "http://web.mit.edu/phillipi/Public/states_and_transformations/index.html",
        "No licence was found: ask its authors before you publish anything made with it.",
        (
            File(
                "http://wednesday.csail.mit.edu/joseph_result/state_and_transformation/release_dataset.zip",
            ),
        ),
        "mit_states.read('{here}/release_dataset')",
    ),
)
SOURCES = {source.name: source for source in _SOURCES}
