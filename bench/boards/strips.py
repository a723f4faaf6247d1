"""A row's pictures, as a strip beside it on its board: a small WebP. No torch."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path

from bench.config import NAME
from bench.errors import BenchError
from bench.row import Row
from bench.rows.place import ROWS
from bench.store import Store

SHOWN = ("concept-00", "concept-01", "concept-02", "concept-03", "class-00", "neighbour-00", "unrelated-00")  # prompts
SIDE, LARGEST, MOST = 64, 100_000, 400  # pixels a picture; bytes a strip; strips a page
UNTOUCHED = "none"


def name(row: Row) -> str:
    """Returns what a row's strip is called."""
    return f"{row.method}-{row.concept}-seed{row.seed}.webp"


def keep(path: Path, row: Row, board: Path) -> bool:
    """Writes the strip of a run that lies where it was made: the first seed of some prompts, none chosen.

    Args:
        path: of the run's `row.json`, two folders below its root.
        row: what it says.
        board: folder of the board.

    Returns:
        Whether the run's pictures are there.
    """
    if path.parent.name == ROWS:  # of another board, which has the strip itself
        return _copied(path.parents[1] / "pictures" / name(row), board / "pictures")
    pictures = Store(path.absolute().parents[2]).path("generate", row.fingerprints.get("generate", ""))
    found = [p for p in (pictures / f"{prompt}-0.png" for prompt in SHOWN) if p.is_file()]
    if not found or not re.match(NAME, name(row)):
        return False
    from PIL import Image

    strip = Image.new("RGB", (SIDE * len(found), SIDE), "white")
    for k, picture in enumerate(found):
        with Image.open(picture) as image:
            strip.paste(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), (k * SIDE, 0))
    (board / "pictures").mkdir(parents=True, exist_ok=True)
    strip.save(board / "pictures" / name(row), "WEBP", quality=75, method=6)
    return True


def _copied(strip: Path, to: Path) -> bool:
    if strip.is_file() and strip.parent.absolute() != to.absolute():
        to.mkdir(parents=True, exist_ok=True)
        (to / strip.name).write_bytes(_checked(strip))
    return strip.is_file()


def embedded(rows: Sequence[Row], folder: Path) -> dict[str, dict[str, str]]:
    """Returns concept → method → its strip as part of a page, of the first seed that has one; the untouched's first.

    Raises:
        BenchError: a picture is no WebP, or too large to be part of a page.
    """
    out: dict[str, dict[str, str]] = {c: {} for c in sorted({r.concept for r in rows})}
    if not folder.is_dir():
        return {}
    there, count = {p.name for p in folder.iterdir()}, 0
    for row in sorted(rows, key=lambda r: (r.method != UNTOUCHED, r.seed)):
        if name(row) in there and row.method not in out[row.concept] and count < MOST:
            out[row.concept][row.method] = _embedded(folder / name(row))
            count += 1
    return {c: own for c, own in out.items() if own}


def _embedded(path: Path) -> str:
    return "data:image/webp;base64," + base64.b64encode(_checked(path)).decode()


def _checked(path: Path) -> bytes:
    content = path.read_bytes()
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP" or len(content) > LARGEST:
        raise BenchError(f"{path}: a WebP of at most {LARGEST // 1000} kB would be right")
    return content
