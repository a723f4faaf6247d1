"""Looks at a safetensors file from anybody before any of it is loaded. No torch."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError

HEADER, FILE, TENSORS = 2**23, 2**32, 20_000  # bytes of a header, of a file; how many tensors
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8}


@dataclass(frozen=True)
class Header:
    """What a file says of itself: the shape of every tensor by name, and text."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str] = field(default_factory=dict)


def header(path: Path, largest: float = FILE) -> Header:
    """Reads the header of a safetensors file of at most so many bytes.

    Raises:
        BenchError: it is no such file, or does not hold what its header says.
    """
    if not path.is_file():
        raise BenchError(f"{path}: no such file")
    size = path.stat().st_size
    if size > largest:
        raise BenchError(f"{path}: {size} bytes; at most {largest} would be right")
    with path.open("rb") as f:
        head = f.read(8)
        if head[:2] in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"):
            raise BenchError(f"{path}: a pickle, which is not opened; a .safetensors file would be right")
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 0 < length <= HEADER or 8 + length > size:
            raise BenchError(f"{path}: no safetensors file: its header would have {length} bytes of {size}")
        try:
            said = json.loads(f.read(length))
        except (ValueError, RecursionError):
            raise BenchError(f"{path}: its safetensors header cannot be read") from None
    return _checked(path, said, size - 8 - length)


def _checked(path: Path, said: Any, size: int) -> Header:
    """Returns a header whose tensors lie one behind the other and fill the file."""
    metadata = said.pop("__metadata__", {}) if isinstance(said, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise BenchError(f"{path}: its safetensors header is not as it should be")
    if not 0 < len(said) <= TENSORS:
        raise BenchError(f"{path}: {len(said)} tensors; 1 to {TENSORS} would be right")
    shapes, spans = {}, []
    for name, about in said.items():
        try:
            shape, (begin, end) = tuple(about["shape"]), about["data_offsets"]
            whole = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
            if not whole or end - begin != BYTES[about["dtype"]] * math.prod(shape):
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise BenchError(f"{path}: tensor {name[:60]!r}: its type, shape and place do not agree") from None
        shapes[name] = shape
        spans.append((begin, end))
    ends = [0, *(end for _, end in sorted(spans))]
    if [begin for begin, _ in sorted(spans)] != ends[:-1] or ends[-1] != size:
        raise BenchError(f"{path}: its tensors do not fill it: truncated, or something else is in it")
    return Header(shapes, metadata)
