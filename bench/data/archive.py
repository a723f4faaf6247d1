"""Unpacks a zip file from outside: looked at whole before anything of it is written."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from bench.errors import BenchError

LARGEST = 20 * 2**30  # bytes it may hold
TIMES, LEAST = 100, 2**20  # how many times its own size; smaller ones count as this


def unpack(path: Path, folder: Path, inside: str = "") -> list[str]:
    """Unpacks the plain files of a zip below a folder of its own. Returns where in it they lie.

    Raises:
        BenchError: no zip; a name leads out of it, a member is a link; it is far too large, or holds nothing `inside`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            for member in members:
                _harmless(path, member)
            size = sum(m.file_size for m in members)
            if size > LARGEST or size > TIMES * max(path.stat().st_size, LEAST):
                raise BenchError(f"{path.name}: unpacks to {size} bytes, far more than its size; refused")
            named = {m: _below(PurePosixPath(m.filename), inside) for m in members}
            below = {m: at for m, at in named.items() if at is not None}
            if not below:
                raise BenchError(f"{path.name}: no file in it{f' lies below {inside}/' * bool(inside)}")
            for member, at in below.items():
                (folder / at).parent.mkdir(parents=True, exist_ok=True)
                (folder / at).write_bytes(archive.read(member))  # whose CRC is checked
            return [str(at) for at in below.values()]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise BenchError(f"{path.name}: not a whole zip file: {str(error).splitlines()[0]}") from None


def _harmless(path: Path, member: zipfile.ZipInfo) -> None:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if not name.parts or name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
        raise BenchError(f"{path.name}: {member.filename!r} leads out of its folder; refused, nothing was unpacked")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise BenchError(f"{path.name}: {member.filename!r} is a link; refused, nothing was unpacked")


def _below(name: PurePosixPath, inside: str) -> PurePosixPath | None:
    """Returns a member's path below the folder that is taken, None if it is elsewhere."""
    if not inside:
        return name
    return name.relative_to(inside) if name.is_relative_to(inside) else None
