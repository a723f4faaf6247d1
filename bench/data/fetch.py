"""Gets a dataset's files from where its authors keep them; each is checked before it is kept.

`datasets/NAME/source.yaml` says where they are, under which licence, and what they must be.
"""

from __future__ import annotations

import hashlib
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError

from pydantic import BaseModel, ConfigDict, ValidationError

from bench import paths
from bench.config import first_error
from bench.data import checksums
from bench.data.archive import unpack
from bench.data.dataset import mapping
from bench.errors import BenchError

CHUNK = 1 << 20
SECONDS = 60  # without a byte
SCHEMES = ("http:", "https:", "file:")


class Archive(BaseModel):
    """A zip file: `inside` is the folder in it that is taken; without a sum it is taken only when asked for so."""

    model_config = ConfigDict(extra="forbid")
    url: str
    sha256: str = ""
    bytes: int = 0
    inside: str = ""


class Source(BaseModel):
    """`source.yaml`: single files by a list of sums (`files`, of SHA-256, bytes and path) below `base`, an archive, or
    both; `layout` says what is made of them.
    """

    model_config = ConfigDict(extra="forbid")
    licence: str
    home: str
    base: str = ""
    files: str = ""
    archive: Archive | None = None
    layout: Literal["", "captions", "prompts"] = ""


def source(name: str) -> Source:
    """Returns where a dataset comes from.

    Raises:
        BenchError: there is nothing to fetch for it.
    """
    path = paths.shipped("datasets") / name / "source.yaml"
    if not path.is_file():
        known = sorted(p.parent.name for p in paths.shipped("datasets").glob("*/source.yaml"))
        raise BenchError(f"data {name}: nothing to fetch; there is something for {', '.join(known)}")
    try:
        return Source.model_validate(mapping(path))
    except ValidationError as error:
        raise BenchError(f"{path}: {first_error(error)}") from None


def sums(name: str, said: Source) -> list[tuple[str, int, str]]:
    """Returns (SHA-256, bytes, path) of every file that is listed."""
    return checksums.listed(paths.shipped("datasets") / name / said.files) if said.files else []


def fetch(name: str, to: Path, came_from: str = "", unchecked: bool = False) -> int:
    """Fetches a dataset into a folder, which is there whole or not at all. Returns how many files it holds.

    Args:
        name: of the dataset.
        to: the folder.
        came_from: a folder or address to read instead of the authors', with the same files under it.
        unchecked: whether an archive whose sum nobody has published is taken as it is; its sum is said, and those of
            its files are kept in the folder, so that they can be held against them later.

    Raises:
        BenchError: the folder is there, or a file cannot be had or is not what it must be.
    """
    said = source(name)
    if to.exists():
        raise BenchError(f"{to}: is there already; `python -m bench data check {name} --at {to}` looks at it")
    if said.archive and not said.archive.sha256 and not unchecked:
        raise BenchError(
            f"data fetch {name}: nobody has published the sum of {said.archive.url}; --unchecked takes it as it is"
        )
    partial = to.with_name(f".{to.name}.partial")  # what is whole in it is not fetched again
    for sum_, size, path in sums(name, said):
        into = partial / path
        if not checksums.whole(into, sum_, size):
            download(_address(came_from or said.base, path), into, sum_, size)
    unpacked = _archive(said.archive, partial, came_from) if said.archive else []
    if said.layout:
        from bench.data import layouts

        layouts.LAYOUTS[said.layout](name, partial)
    if said.archive and not said.archive.sha256:
        count = checksums.keep(partial, unpacked)
        sys.stdout.write(f"unchecked: the sums of its {count} files are kept in {to / checksums.KEPT}\n")
    partial.rename(to)
    return sum(p.is_file() for p in to.rglob("*"))


def _archive(said: Archive, partial: Path, came_from: str) -> list[str]:
    """Gets and unpacks an archive. Returns which files were in it."""
    url, where = said.url, partial.with_name(f"{partial.name}.zip")
    if came_from:
        url = _address(came_from, "" if came_from.endswith(".zip") else url.rpartition("/")[2])
    digest = download(url, where, said.sha256, said.bytes)
    try:
        if not said.sha256:  # what goes into source.yaml's `archive` once others have found the same
            sys.stdout.write(f"unchecked: {digest} {where.stat().st_size} {url}\n")
        return unpack(where, partial, said.inside)
    finally:
        where.unlink()


def _address(base: str, path: str) -> str:
    """Returns the address of a file below a folder or an address."""
    there = f"{base.rstrip('/')}/{path}" if path else base
    return there if there.startswith(SCHEMES) else Path(there).resolve().as_uri()


def download(url: str, into: Path, sha256: str, size: int) -> str:
    """Downloads one file, which is kept only if it is what it must be. Returns its SHA-256.

    Args:
        url: of http, https or file.
        into: where it is kept.
        sha256: what its bytes must have; empty for anything.
        size: bytes it must have; 0 for what the server says.

    Raises:
        BenchError: it cannot be had, is cut short, or is another file.
    """
    if not url.startswith(SCHEMES):
        raise BenchError(f"{url}: cannot be fetched: an address of http, https or file would be right")
    into.parent.mkdir(parents=True, exist_ok=True)
    part, digest, got = into.with_name(f"{into.name}.part"), hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer, part.open("wb") as f:  # noqa: S310
            length = size or int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(CHUNK):
                got += len(chunk)
                if length and got > length:
                    break
                digest.update(chunk)
                f.write(chunk)
    except (OSError, HTTPException, ValueError) as error:
        part.unlink(missing_ok=True)
        why = error if isinstance(error, HTTPError) else getattr(error, "reason", None) or error
        if isinstance(error, HTTPError):
            error.close()  # it holds the server's answer
        raise BenchError(f"{url}: cannot be fetched: {str(why).splitlines()[0]}") from None
    wrong = ""
    if length and got != length:
        wrong = f"{got} bytes{' and more' if got > length else ''}, where {length} would be right: not the whole file"
    elif sha256 and digest.hexdigest() != sha256:
        wrong = f"its SHA-256 is {digest.hexdigest()[:16]}…, and {sha256[:16]}… would be right: another file"
    if wrong:
        part.unlink()
        raise BenchError(f"{url}: {wrong}; nothing of it was kept")
    part.replace(into)
    return digest.hexdigest()
