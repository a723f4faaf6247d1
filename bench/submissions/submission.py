"""A submission from anybody: a zip file, read within limits, held against itself and what is at hand. No torch.

Nothing is unpacked to disk and nothing in it is executed; what is not expected in it is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import BenchError
from bench.row import Row
from bench.rows.checks import complaints
from bench.rows.file import endless_of, json_of, parse, place, shown

SUFFIX, LARGEST = ".zip", 2**23  # bytes of the zip file
INDEX, ROW, SCORES, PICTURES, ADAPTER, SHEET = (
    "submission.json", "row.json", "scores.csv", "pictures.json", "adapter.json", "sheet.webp",
)  # fmt: skip
LIMITS = {INDEX: 2**16, ROW: 2**20, SCORES: 2**25, PICTURES: 2**22, ADAPTER: 2**18, SHEET: 2**21}  # bytes, unpacked
FORMAT = 1
T = TypeVar("T", bound=BaseModel)
DIGEST = re.compile(r"[0-9a-f]{64}")


class Picture(BaseModel):
    """One picture of the run: what it was asked, and the hash of its file."""

    model_config = ConfigDict(extra="forbid")
    file: str = Field(pattern=r"^[a-z_]{1,30}-\d{2,4}-\d{1,4}\.png$")
    prompt: str = Field(max_length=500)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Pictures(BaseModel):
    """Every picture of the run's own grid."""

    model_config = ConfigDict(extra="forbid")
    pictures: list[Picture] = Field(max_length=20_000)


class AdapterHeader(BaseModel):
    """What is said of the adapter; its tensors are not sent."""

    model_config = ConfigDict(extra="forbid")
    format: int
    base: str = Field(max_length=100)
    prefix: Literal["transformer", "unet"]
    loras: list[dict[str, Any]] = Field(max_length=100)
    tokens: list[dict[str, str]] = Field(max_length=100)
    delta: bool
    consistency_scale: float | None
    answers: str = Field(max_length=100)
    cost: dict[str, float]


def checked(path: Path) -> Row | list[str]:
    """Returns the row of a submission, or what is wrong, one line each."""
    try:
        files = read(path)
        row, wrong = parse(path / ROW, _text(path, ROW, files[ROW]))
        if row is None:
            return wrong
        from bench.submissions.recompute import against_scores, against_world

        pictures = _model(path, PICTURES, Pictures, files)
        said = [f"{ROW}: {s}" for s in complaints(row)]
        adapter = _model(path, ADAPTER, AdapterHeader, files)
        said = said or [f"{ADAPTER}: {s}" for s in _adapter(row, adapter)] + _picture(files[SHEET])
        if not said:
            said += against_scores(row, _text(path, SCORES, files[SCORES]), [p.file for p in pictures.pictures])
            said += against_world(row, {p.file: p.prompt for p in pictures.pictures})
    except BenchError as error:
        return [str(error)]
    return [f"{path}: {s}" for s in said] or row


def read(path: Path) -> dict[str, bytes]:
    """Returns a submission's files, each as its index says.

    Raises:
        BenchError: it is no zip file, holds anything else than it should, or what it holds is not what it says.
    """
    if path.is_symlink() or not path.is_file():
        raise BenchError(f"{path}: a plain file would be right")
    if path.stat().st_size > LARGEST:
        raise BenchError(f"{path}: {path.stat().st_size} bytes; a submission has at most {LARGEST}")
    try:
        with zipfile.ZipFile(path) as archive:
            _entries(path, archive.infolist())
            files = {i.filename: _unpacked(path, archive, i) for i in archive.infolist()}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        raise BenchError(f"{path}: not a whole zip file: {shown(str(error))}") from None
    _index(path, files)
    return files


def _entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Checks what a zip file says it holds, before anything of it is unpacked."""
    names = [e.filename for e in entries]
    for entry in entries:
        if entry.filename not in LIMITS:
            raise BenchError(f"{path}: holds {shown(entry.filename)}; {', '.join(LIMITS)} alone would be right")
        if names.count(entry.filename) > 1:
            raise BenchError(f"{path}: holds {entry.filename} twice")
        if entry.flag_bits & 1:
            raise BenchError(f"{path}: {entry.filename} is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BenchError(f"{path}: {entry.filename}: packed in a way that is not read; deflate would be right")
        if entry.external_attr >> 28 not in (0, 8):  # the type of a file on Unix: none said, or a plain one
            raise BenchError(f"{path}: {entry.filename} is a link or a device; a plain file would be right")
        if entry.file_size > LIMITS[entry.filename]:
            raise BenchError(f"{path}: {entry.filename}: {entry.file_size} bytes; at most {LIMITS[entry.filename]}")
    if lost := [n for n in LIMITS if n not in names]:
        raise BenchError(f"{path}: {lost[0]} is missing; python -m bench submit packs it")


def _unpacked(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Returns a file's bytes; of one that is longer than it says, no more than that."""
    with archive.open(entry) as f:
        data = f.read(LIMITS[entry.filename] + 1)
    if len(data) != entry.file_size:
        raise BenchError(f"{path}: {entry.filename}: {len(data)} bytes, and it says {entry.file_size}")
    return data


def _index(path: Path, files: dict[str, bytes]) -> None:
    """Holds every file against the hash that the index has of it."""
    said = json_of(path / INDEX, _text(path, INDEX, files[INDEX]))
    if said.get("format") != FORMAT or type(said["format"]) is not int:
        raise BenchError(f"{path / INDEX}: format={shown(said.get('format'))}: {FORMAT} would be right")
    if set(said) != {"format", "files"} or not isinstance(said["files"], dict):
        raise BenchError(f"{path / INDEX}: format and files, and nothing else, would be right")
    if set(said["files"]) != set(LIMITS) - {INDEX}:
        raise BenchError(f"{path / INDEX}: files: one hash of every other file would be right")
    for name, digest in said["files"].items():
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise BenchError(f"{path / INDEX}: files.{name}={shown(digest)}: a SHA-256 would be right")
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise BenchError(f"{path}: {name} is not the file that {INDEX} has the hash of")


def _text(path: Path, name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BenchError(f"{path / name}: byte {error.start} is no UTF-8") from None


def _model(path: Path, name: str, model: type[T], files: dict[str, bytes]) -> T:
    said = json_of(path / name, _text(path, name, files[name]))
    for at, value in endless_of(said):
        raise BenchError(f"{path / name}: {at}={value}: a finite number would be right")
    try:
        return model.model_validate_json(json.dumps(said), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{place(first['loc'])}={shown(first['input'])}"
        raise BenchError(f"{path / name}: {where}: {first['msg']}") from None


def _adapter(row: Row, header: AdapterHeader) -> Iterator[str]:
    """Yields where a row and the header of its adapter are at odds."""
    beside = {"adapter_bytes", "generation_seconds", "tuning_trials"}  # a run's own, no adapter's
    trained = {k: v for k, v in row.cost.items() if k not in beside}
    if header.cost != trained:
        name = next(k for k in sorted({*header.cost, *trained}) if header.cost.get(k) != trained.get(k))
        yield f"cost.{shown(name)}={header.cost.get(name)}: {row.cost.get(name)}, as the row says, would be right"
    if header.base not in ("", row.model):
        yield f"base={shown(header.base)}: {row.model}, as the row says, would be right"


def _picture(data: bytes) -> list[str]:
    """Returns what is wrong with the contact sheet."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
            if max(image.size) > 4096 or getattr(image, "is_animated", False):
                return [f"{SHEET}: {image.size[0]}×{image.size[1]} pixels; a still one of at most 4096 is right"]
            image.load()
    except Exception as error:
        return [f"{SHEET}: not a readable WebP ({shown(str(error))})"]
    return []
