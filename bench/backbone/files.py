"""Looks at a model folder without loading it: is it whole, and which one is it."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

from bench import paths
from bench.errors import BenchError


def resolve(path: str) -> Path:
    """Returns the folder of `embedded:NAME` (shipped weights) or of a plain path.

    Raises:
        BenchError: there is no such folder.
    """
    folder = paths.embedded(path, paths.weights())
    if not folder.is_dir():
        raise BenchError(f"{folder}: no such model folder")
    return folder


def check_files(folder: Path) -> None:
    """Checks that every safetensors file is as long as its own header says.

    Raises:
        BenchError: a file is truncated or not a safetensors file.
    """
    files = sorted(folder.rglob("*.safetensors"))
    if not files:
        raise BenchError(
            f"{folder}: no .safetensors file in it; a diffusers, transformers or open_clip folder has some"
        )
    for path in files:
        size = path.stat().st_size
        with path.open("rb") as f:
            head = f.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else -1
            if not 0 < length < size:
                raise BenchError(f"{path}: not a whole safetensors file ({size} bytes); fetch it again")
            try:
                header = json.loads(f.read(length))
                end = max((v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"), default=0)
            except (ValueError, KeyError, TypeError, AttributeError, IndexError):
                raise BenchError(f"{path}: its safetensors header cannot be read; fetch it again") from None
        if 8 + length + end != size:
            raise BenchError(f"{path}: truncated ({size} bytes, its header says {8 + length + end}); fetch it again")


def fingerprint(folder: Path) -> str:
    """Returns a hash of every weight and config file in the folder, model cards left out."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".json", ".txt")):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()
