"""Files from the hub that open_clip's weights lie on: found, fetched, or an error that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.file_download import repo_folder_name

from geoclip_lite.encoders.mini import WeightsError

REACH = 5  # seconds for the hub's first answer


def from_hub(repository: str, files: Sequence[str], advice: str) -> Path:
    """The first of these files that there is: in the hub's cache, then on the hub.

    What was fetched once is not looked up again, so it neither changes nor needs a network.

    Args:
        repository: "owner/name".
        files: the same content in several formats, the best first.
        advice: what to do if there is none, for the error.

    Raises:
        WeightsError: none is on this machine, and the hub is out of reach or does not have it.
    """
    for file in files:
        if (cached := cache(repository) / file).is_file():
            return cached
    try:
        return _download(repository, files)
    except Exception as error:  # of the hub, the network or the disk: all mean that there is no file
        raise WeightsError(
            f"{files[0]} of the hub's {repository} is not on this machine and could not be fetched "
            f"({brief(error)}). {advice}; or take 'mini-single' or 'mini-pairs', which need no download"
        ) from error


def cache(repository: str) -> Path:
    """The folder in which the hub's cache has a repository's current files."""
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")
    head = folder / "refs" / "main"
    return folder / "snapshots" / (head.read_text() if head.is_file() else "main")


def _download(repository: str, files: Sequence[str]) -> Path:
    """Fetches the first file that the hub has. It is asked first: a download tries for most of a minute."""
    for file in files:
        try:
            get_hf_file_metadata(hf_hub_url(repository, file), timeout=REACH)
        except EntryNotFoundError:
            continue
        return Path(hf_hub_download(repository, file))
    raise FileNotFoundError(f"the hub's {repository} has no {' and no '.join(files)}")


def brief(error: Exception) -> str:
    """What went wrong, in one line: of weights that do not fit, torch lists thousands."""
    return shorten(f"{type(error).__name__}: {error}", 240, placeholder=" ...")
