"""Reads one row file from anybody: looked at before it is parsed, parsed strictly, never executed. No torch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.errors import BenchError
from bench.row import SCHEMA, Row

LARGEST = 2**20  # bytes; a row is some 20 kB
SHOWN = 5  # complaints of one file's fields


def read(path: Path) -> tuple[Row | None, list[str]]:
    """Returns the row of a file, or what is wrong with it, one line a field.

    Raises:
        BenchError: it is no file, too large, or no JSON object.
    """
    return parse(path, _text(path))


def parse(path: Path, text: str) -> tuple[Row | None, list[str]]:
    """Returns the row of a text that was read from a file, or what is wrong with it, one line a field.

    Raises:
        BenchError: it is no JSON object.
    """
    said = json_of(path, text)
    version = said.get("schema_version", "nothing")
    if version != SCHEMA:
        raise BenchError(f"{path}: schema_version={shown(version)}: {SCHEMA} would be right")
    endless = [f"{path}: {at}={value}: a finite number would be right; what cannot be measured is left out"
               for at, value in endless_of(said)]  # fmt: skip
    if endless:
        return None, endless[:SHOWN]
    try:
        return Row.model_validate_json(text, strict=True), []
    except ValidationError as error:
        found = error.errors()
    if found[0]["type"] == "json_invalid":  # half a character, or nested deeper than pydantic reads
        raise BenchError(f"{path}: not JSON: {found[0]['msg']}")
    lines = [f"{path}: {place(e['loc'])}={shown(e['input'])}: {e['msg']}" for e in found[:SHOWN]]
    more = len(found) - SHOWN
    return None, lines + ([f"{path}: and {more} more fields are wrong"] if more > 0 else [])


def shown(value: object) -> str:
    """Returns a value as it can stand in one line: short, and nothing in it that moves a cursor."""
    text = ascii(value) if not isinstance(value, dict | list) else f"{type(value).__name__} of {len(value)}"
    return text if len(text) <= 60 else f"{text[:57]}…"


def place(steps: tuple[int | str, ...]) -> str:
    """Returns where in a row something is, `measured.drift/class.value`."""
    return ".".join(s if (s := str(step)).isprintable() and len(s) <= 60 else shown(s) for step in steps)


def _text(path: Path) -> str:
    if path.is_symlink():
        raise BenchError(f"{path}: a plain file would be right")
    if not path.is_file():
        raise BenchError(f"{path}: a plain file would be right: a run's row.json, or a run's folder")
    size = path.stat().st_size
    if size > LARGEST:
        raise BenchError(f"{path}: {size} bytes; a row has at most {LARGEST}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BenchError(f"{path}: byte {error.start} is no UTF-8") from None
    except OSError as error:
        raise BenchError(f"{path}: {error.strerror}") from None


def json_of(path: Path, text: str) -> dict[str, Any]:
    """Returns a JSON object from anybody: no field twice, not nested too deeply.

    Raises:
        BenchError: it is none.
    """
    try:
        said = json.loads(text, parse_constant=float, object_pairs_hook=_once)
    except RecursionError:
        raise BenchError(f"{path}: nested too deeply for a row") from None
    except ValueError as error:
        raise BenchError(f"{path}: not JSON: {str(error).splitlines()[0][:120]}") from None
    if not isinstance(said, dict):
        raise BenchError(f"{path}: a JSON object would be right, not {type(said).__name__}")
    return said


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object; of a field given twice one reader takes the first and another the last."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"field {shown(key)} stands twice")
        found[key] = value
    return found


def endless_of(said: dict[str, Any]) -> list[tuple[str, float]]:
    """Returns what is NaN, Infinity or too large for a number (1e999), wherever it is, and where."""
    found: list[tuple[str, float]] = []
    ahead: list[tuple[tuple[int | str, ...], object]] = [((), said)]  # no recursion: nesting is anybody's choice
    while ahead:
        at, value = ahead.pop()
        if isinstance(value, float) and not math.isfinite(value):
            found.append((place(at), value))
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        ahead += [((*at, step), v) for step, v in items]
    return sorted(found, key=lambda f: f[0])
