"""A folder's pictures as references: all of them, each with its captions, and none that cannot be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bench.concept import fill
from bench.errors import BenchError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
UNREADABLE = (".heic", ".heif", ".avif")
BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif"}  # of ISO 23008-12 files


def references(folder: Path, fields: dict[str, Any], source: str) -> list[dict[str, str]]:
    """Returns a concept's pictures in order of their names, each with its captions.

    A text file beside a picture (`1.jpg`, `1.txt`) is its caption, and must hold the class's words once, where the
    token is put before them; without one a picture is `MEDIUM of a CLASS`.

    Args:
        folder: where the pictures lie.
        fields: what is said of the concept.
        source: how the pictures are come by, for the error.

    Raises:
        BenchError: there are none, one is of a kind that cannot be read, or a caption does not name the class.
    """
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in found:
        refuse_heic(path)
    pictures = [p for p in found if p.suffix.lower() in SUFFIXES and p.is_file()]
    if not pictures:
        raise BenchError(f"{folder}: no pictures of {fields['name']}{source}")
    return [{"image": p.name} | _captions(p, fields) for p in pictures]


def refuse_heic(path: Path) -> None:
    """Refuses what phones write and Pillow does not read, also where it goes by another name.

    Raises:
        BenchError: it is such a file.
    """
    named = path.suffix.lower() in UNREADABLE
    if not named and path.is_file():
        with path.open("rb") as f:
            head = f.read(12)
        named = head[4:8] == b"ftyp" and head[8:12] in BRANDS
    if named:
        kind = "AVIF" if path.suffix.lower() == ".avif" else "HEIC"
        raise BenchError(f"{path}: {kind} is not read here; convert it to JPEG or PNG and take the {kind} file away")


def whole_words(phrase: str) -> str:
    """Returns the pattern of a phrase where it is no part of a longer word: `man`, and not the `man` of `romantic`."""
    return rf"(?<!\w){re.escape(phrase)}(?!\w)"  # not \b, which is none beside a bracket


def _captions(path: Path, fields: dict[str, Any]) -> dict[str, str]:
    noun, token = str(fields.get("class_phrase", "")), str(fields.get("token", "<new1>"))
    target = noun if token == noun else f"{token} {noun}"
    words = path.with_suffix(".txt")
    if not words.is_file():
        plain, medium = "a {noun}" if fields.get("kind") == "style" else "{medium} of a {noun}", fields.get("medium")
        return {w: fill(plain, n, str(medium or "a picture")) for w, n in (("base", noun), ("complete", target))}
    try:
        text = " ".join(words.read_text(encoding="utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise BenchError(f"{words}: byte {error.start} is no UTF-8") from None
    complete, count = re.subn(whole_words(noun), lambda _: target, text) if noun else ("", 0)
    if count != 1:
        raise BenchError(f"{words}: names {noun!r} {count} times; once, the class's words, would be right")
    return {"base": text, "complete": complete}
