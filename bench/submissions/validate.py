"""Checks rows: each by itself, and all against each other. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.row import Row, Value
from bench.rows.checks import complaints, misplaced, words
from bench.rows.file import read
from bench.submissions.submission import SUFFIX, checked

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
    every = [*wrong, *_twice(rows), *_at_odds(rows), *_anchors(rows)]
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


def _own(path: Path) -> bool:
    """Returns whether a row lies where a run left it, or a submission packed it: not on a board yet."""
    return path.name == RUN or path.suffix == SUFFIX


def _gate(row: Row) -> str:
    """Returns the gate a run was asked for; a row has no field for it."""
    return next((w.partition("=")[2] for w in reversed(words(row.provenance)) if w.startswith("gate=")), "auto")


def _twice(rows: dict[Path, Row]) -> Iterator[str]:
    """Yields rows that count twice: of the same run, one training under two names of concept or seed, or one table of
    scores under two of method.

    A folder of runs may hold several of one method, concept and seed, with other values each.
    """
    seen: dict[tuple[object, ...], Path] = {}
    trained: dict[tuple[str, str], tuple[str, int, Path]] = {}
    scored: dict[str, tuple[str, Path]] = {}
    for path, row in rows.items():
        key: tuple[object, ...] = (row.dataset, row.model, row.kind, row.method, row.concept, row.seed, row.protocol,
                                   _gate(row), row.fingerprints.get("score") if _own(path) else "")  # fmt: skip
        if key in seen:
            yield f"{path}: method, concept, seed, protocol, gate: as in {seen[key]}; one row of each would be right"
        seen.setdefault(key, path)
        if (train := row.fingerprints.get("train")) is not None:
            concept, seed, first = trained.setdefault((row.model, train), (row.concept, row.seed, path))
            if (row.concept, row.seed) != (concept, seed):
                yield f"{path}: fingerprints.train={train}: as {concept}, seed {seed}, {first}; its own would be right"
        if (score := row.fingerprints.get("score")) is not None:
            method, first = scored.setdefault(score, (row.method, path))
            if row.method != method:
                yield f"{path}: fingerprints.score={score}: as {method}, {first}; its own would be right"


def _at_odds(rows: dict[Path, Row]) -> Iterator[str]:
    """Yields values that cannot stand in one column: another judge, version or direction under the same name."""
    first: dict[tuple[str, str, str, str], tuple[tuple[str, str, int], Path]] = {}
    for path, row in rows.items():
        for name, value in row.measured.items():
            have = (value.better, value.checkpoint, value.version)
            wanted, where = first.setdefault((row.dataset, row.model, row.protocol, name), (have, path))
            for field, mine, theirs in zip(("better", "checkpoint", "version"), have, wanted, strict=True):
                if mine != theirs:
                    yield f"{path}: measured.{name}.{field}={mine!r}: {theirs!r}, as in {where}"


def _anchors(rows: dict[Path, Row]) -> Iterator[str]:
    """Yields rows that stand beside another untouched model, or other references, than most rows of their concept.

    Another machine's is within the value's interval.
    """
    said: dict[tuple[object, ...], list[tuple[Path, Value]]] = {}
    for path, row in rows.items():
        for anchor in ("none", "references"):
            for name, value in row.anchors.get(anchor, {}).items():
                key = f"anchors.{anchor}.{name}", row.dataset, row.model, row.protocol, row.concept, value.version
                said.setdefault(key, []).append((path, value))
    for (where, *_), found in said.items():
        usual = Counter(value.value for _, value in found).most_common(1)[0][0]
        for path, value in found:
            if not value.low <= usual <= value.high:
                at = f"{where}.value={value.value}"
                yield f"{path}: {at}: {usual}, as most rows of its concept have it, would be right"
