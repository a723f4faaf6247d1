"""Checks rows: each by itself, and all against each other. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.row import Row
from bench.rows.checks import complaints, misplaced
from bench.rows.file import read
from bench.submissions.submission import SUFFIX, checked
from bench.submissions.together import at_odds

RUN = "row.json"  # what a run's own folder calls its row


def check(given: Sequence[Path]) -> tuple[int, list[str]]:
    """Checks row files, and every row under folders.

    Returns:
        How many files were read, and what is wrong, one line each naming file and field.

    Raises:
        BenchError: something given is not there, or a folder holds no row.
    """
    files = list(dict.fromkeys(f for g in given for f in _files(g)))
    rows: dict[Path, Row] = {}
    wrong: list[str] = []
    for path in files:
        found = _alone(path)
        if isinstance(found, Row):
            rows[path] = found
        else:
            wrong += found
    loose = frozenset(p for p in rows if p.name == RUN or p.suffix == SUFFIX)
    every = [*wrong, *at_odds(rows, loose)]
    return len(files), ["".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in every]


def _files(given: Path) -> list[Path]:
    """Returns the row files meant: one as it is; of a folder those in `rows` and the runs' own."""
    if not given.is_dir():
        if not given.exists() and not given.is_symlink():
            raise BenchError(f"{given}: no such file or folder")
        return [given]
    found = [p for p in given.rglob("*.json") if p.name == RUN or p.absolute().parent.name == "rows"]
    found += given.rglob(f"*{SUFFIX}")
    if not found:
        raise BenchError(f"{given}: no row in it; a folder of runs, of a board or of boards would be right")
    return sorted(found)


def _alone(path: Path) -> Row | list[str]:
    """Returns the row of a file, or what is wrong with it by itself."""
    if path.suffix == SUFFIX:
        return checked(path)
    try:
        row, wrong = read(path)
    except BenchError as error:
        return [str(error)]
    if row is None:
        return wrong
    said = list(complaints(row))
    if not said and path.name != RUN:
        said = list(misplaced(path, row))
    return [f"{path}: {s}" for s in said] or row
