"""Lists of what files must be: SHA-256, bytes and path, a file a line."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bench.errors import BenchError

KEPT = "checksums.txt"  # in a fetched folder: what came in an archive whose sum nobody has published


def listed(path: Path) -> list[tuple[str, int, str]]:
    """Returns (SHA-256, bytes, path) of every file in a list.

    Raises:
        BenchError: it is something else.
    """
    try:
        lines = (line.split(" ", 2) for line in path.read_text(encoding="utf-8").splitlines())
        return [(sum_, int(size), name) for sum_, size, name in lines]
    except ValueError:  # also where it is not UTF-8
        raise BenchError(f"{path}: `SHA-256 BYTES PATH`, a file a line, would be right") from None


def kept(folder: Path) -> list[tuple[str, int, str]]:
    """Returns the same of the files that a folder keeps such a list of."""
    return listed(folder / KEPT) if (folder / KEPT).is_file() else []


def keep(folder: Path, names: list[str]) -> int:
    """Writes the list of files that lie in a folder into it. Returns how many it holds."""
    lines = [f"{sha256(folder / n)} {(folder / n).stat().st_size} {n}\n" for n in sorted({*names} - {KEPT})]
    (folder / KEPT).write_text("".join(lines), encoding="utf-8")
    return len(lines)


def whole(path: Path, sum_: str, size: int) -> bool:
    """Returns whether a file is there and is what it must be."""
    return path.is_file() and path.stat().st_size == size and sha256(path) == sum_


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
