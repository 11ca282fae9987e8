"""Folders of an index: what may lie in them, and one writer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from geoclip_lite.index.errors import LockedError, MismatchError, UnavailableError, VectorStoreError


def holds_index(path: Path) -> bool:
    """Whether a store's file is in its folder. MismatchError if other files are, hidden ones apart."""
    try:
        names = sorted(other.name for other in path.parent.iterdir() if not other.name.startswith("."))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UnavailableError(f"the folder {path.parent} cannot be used ({error})") from error
    if names and path.name not in names:
        what = "an index of an older version" if "index.sqlite" in names else f"{names[0]} but no {path.name}"
        advice = "name an empty folder and embed anew, or open it as the kind of store that it is"
        raise MismatchError(f"{path.parent} holds {what}: {advice}")
    return bool(names)


@contextmanager
def locked(folder: Path, patience: float) -> Iterator[None]:
    """Holds a folder's lock, which a killed process lets go of; what is wrong with the disk is named.

    Raises:
        LockedError: another process held it for longer than `patience` seconds.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=patience):
            yield
    except VectorStoreError:
        raise
    except Timeout as error:
        advice = "wait for the other process, or raise patience"
        raise LockedError(f"{folder} was locked for {patience:g} s: {advice}") from error
    except OSError as error:
        advice = "is there room, may it be written to?"
        raise UnavailableError(f"{folder} cannot be used ({error}): {advice}") from error
