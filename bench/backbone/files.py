"""Looks at a model folder without loading it: is it whole, and which one is it."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import paths
from bench.errors import BenchError

if TYPE_CHECKING:
    from PIL import Image

PIECE = 2**24  # bytes read at a time
READ = (".safetensors", ".json", ".txt", ".jinja")  # of a model's folder; the last is a chat's template
VARIANT = re.compile(r"\.(fp16|bf16|fp32|non_ema|ema_only)\b")  # of a file that the plain name stands beside


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
    """Returns a hash of every weight and config file that belongs to the folder's model, model cards left out.

    What else a download brings is not read: a pipeline's single-file checkpoints, and variants in another precision.
    A file is read once in a process, as long as its size and time stay the same.
    """
    files = [p for p in _own(folder) if p.suffix in READ and not VARIANT.search(p.name)]
    seen = ((str(p.relative_to(folder)), p.stat()) for p in sorted(files))
    return _digest(folder, tuple((name, about.st_size, about.st_mtime_ns) for name, about in seen))


def _own(folder: Path) -> Iterator[Path]:
    """Yields the files of a model's folder; of a pipeline's, its parts' and the list of them."""
    index = folder / "model_index.json"
    if not index.is_file():
        yield from folder.rglob("*")
        return
    yield index
    for part in json.loads(index.read_text(encoding="utf-8")):
        yield from (folder / part).rglob("*")


@functools.lru_cache(maxsize=256)
def _digest(folder: Path, files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, _, _ in files:
        digest.update(name.encode())
        with (folder / name).open("rb") as f:
            while piece := f.read(PIECE):
                digest.update(piece)
    return digest.hexdigest()


def fused(pipe: Any, lora: Path | None) -> Any:
    """Returns the pipeline with a folder's LoRA made part of its weights, which are float32 then."""
    if lora is not None:
        import torch

        check_files(lora)
        pipe.to(torch.float32)
        pipe.load_lora_weights(lora, weight_name="pytorch_lora_weights.safetensors")
        pipe.fuse_lora()
        pipe.unload_lora_weights()
    return pipe


def model_folders(config: dict[str, Any]) -> tuple[Path, Path | None]:
    """Returns the folders of a model's config: its pipeline's and its LoRA's, where it has one."""
    return resolve(config["path"]), resolve(config["lora"]) if config.get("lora") else None


def squares(images: Sequence[Image.Image], side: int) -> list[Image.Image]:
    """Returns pictures upright, in RGB, each cut to the largest centred square and resized."""
    from PIL import Image, ImageOps

    upright = [ImageOps.exif_transpose(i).convert("RGB") for i in images]
    return [ImageOps.fit(i, (side, side), Image.Resampling.LANCZOS) for i in upright]
