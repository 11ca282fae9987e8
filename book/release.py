"""A release of the book: the site as one archive, its checksum, and what the changelog says about it.

    python book/release.py v0.1.0 _build/release

The same pages give the same bytes. A version that pyproject.toml, CITATION.cff and CHANGELOG.md do not agree
upon is refused.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import re
import sys
import tarfile
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "_build" / "html"


def check_version(tag: str, root: Path = ROOT) -> str:
    """The version of a tag ("v0.1.0" -> "0.1.0"), if all files name it.

    Raises:
        ValueError: a tag that is none, or a file that names another version or date.
    """
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        raise ValueError(f"tag must be like v0.1.0, got {tag!r}")
    version = tag[1:]
    cited = yaml.safe_load((root / "CITATION.cff").read_text())
    date, _ = entry(version, root)
    named = {
        "pyproject.toml": tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"],
        "CITATION.cff": cited["version"],
    }
    for file, found in named.items():
        if found != version:
            raise ValueError(f"{file} names version {found}, the tag {version}: make them agree")
    if cited["date-released"] != date:
        raise ValueError(f"CITATION.cff says released {cited['date-released']}, CHANGELOG.md {date}")
    return version


def entry(version: str, root: Path = ROOT) -> tuple[str, str]:
    """Date and text of a version in the changelog.

    Raises:
        ValueError: a version without an entry.
    """
    parts = re.split(r"^## (\S+) \((\S+)\)$", (root / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    entries = {name: (date, text.strip()) for name, date, text in zip(*[iter(parts[1:])] * 3, strict=True)}
    if version not in entries:
        raise ValueError(f"CHANGELOG.md has no entry '## {version} (date)'; it has {', '.join(entries)}")
    return entries[version]


def archive(pages: Path, name: str) -> bytes:
    """The folder as a tar.gz, without what differs between two builds: times, owners, order."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in sorted(p for p in pages.rglob("*") if p.is_file()):
            member = tarfile.TarInfo(f"{name}/{path.relative_to(pages).as_posix()}")
            member.size, member.mode = path.stat().st_size, 0o644
            with path.open("rb") as content:
                tar.addfile(member, content)
    return buffer.getvalue()


def write_release(tag: str, out: Path, pages: Path = PAGES, root: Path = ROOT) -> list[Path]:
    """Archive, SHA256SUMS and notes.md in a folder.

    Raises:
        FileNotFoundError: there are no pages.
        ValueError: see `check_version`.
    """
    version = check_version(tag, root)
    if not (pages / "index.html").is_file():
        raise FileNotFoundError(f"there is no built book in {pages}: run `make book`")
    name = f"geoclip-lite-book-{version}"
    packed = archive(pages, name)
    checksum = f"{hashlib.sha256(packed).hexdigest()}  {name}.tar.gz\n"
    files = {f"{name}.tar.gz": packed, "SHA256SUMS": checksum.encode()}
    files["notes.md"] = (entry(version, root)[1] + "\n").encode()
    out.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (out / file).write_bytes(content)
    return [out / file for file in files]


def main(arguments: list[str] | None = None) -> int:
    """0 if the release was written, 1 if not."""
    parser = argparse.ArgumentParser(description="The book as an archive with a checksum.")
    parser.add_argument("tag", help="such as v0.1.0")
    parser.add_argument("out", type=Path, help="a folder")
    options = parser.parse_args(arguments)
    try:
        written = write_release(options.tag, options.out)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(*written, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
