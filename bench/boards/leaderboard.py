"""Rows → boards: one folder a dataset, model and task, with its rows and what is rendered from them. No torch."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.boards import figures, strips, tables
from bench.boards import page as board_page
from bench.boards.analysis import analyse
from bench.config import set_apart
from bench.errors import BenchError
from bench.meaning import command_words, meaningless
from bench.progress import track
from bench.row import Row
from bench.rows.checks import KEY
from bench.rows.file import read as read_file
from bench.rows.file import shown
from bench.rows.place import ROWS, board_of, name_of, stands
from bench.store import write_text
from bench.submissions.submission import SUFFIX, checked
from bench.words import counted

log = logging.getLogger("bench")
FEW = 3  # boards that are rendered in no time


def collect(given: Iterable[Path]) -> dict[Path, Row]:
    """Reads every row and every submission under folders; of two of one method, concept and seed, the one finished
    later counts.

    A run whose hyperparameters were set by hand is not its method's: it is left out, and so is one whose model, dataset
    or protocol is not what its name stands for, and one that means nothing.

    Raises:
        BenchError: a submission is not what it should be.
    """
    found: dict[tuple[Any, ...], tuple[Path, Row]] = {}
    apart = 0
    for path in sorted(p for g in given for p in files(g)):
        row = _submitted(path) if path.suffix == SUFFIX else _made(path)
        if row is None:
            continue
        try:
            _named([row])
            hand = bool(set_apart(command_words(row)))
        except (BenchError, ValueError) as error:  # the latter of a command that no shell reads
            log.warning("%s: %s; left out", path, error)
            continue
        why = meaningless(row) or ("its hyperparameters were set by hand" if hand and path.suffix == SUFFIX else "")
        if why:
            log.warning("%s: %s; left out", path, why)
        if why or hand:
            apart += not why
            continue
        key = (board_of(row), row.protocol, row.method, row.concept, row.seed)
        if key not in found or row.finished >= found[key][1].finished:
            found[key] = (path, row)
    if apart:
        why = "hyperparameters, a customizer, or a model, dataset or protocol of that name, were set by hand"
        log.info("%s left out: %s; another name, as protocol.name=mine, has its own board", counted(apart, "run"), why)
    return dict(found.values())


def files(given: Path) -> list[Path]:
    """Returns the runs, submissions and rows of boards in a folder, or the one file."""
    if given.is_file():
        return [given]
    return [p for p in given.rglob("*") if p.name == "row.json" or p.suffix == SUFFIX or _of_board(p)]


def _of_board(path: Path) -> bool:
    return path.parent.name == ROWS and path.suffix == ".json"


def _made(path: Path) -> Row | None:
    try:
        row, wrong = read_file(path)
    except BenchError as error:
        row, wrong = None, [str(error)]
    if row is None:
        log.warning("%s: left out", wrong[0])
    return row


def _submitted(path: Path) -> Row:
    """Returns the row of a submission that holds all it should, its values found again from its scores."""
    found = checked(path)
    if isinstance(found, list):
        raise BenchError(found[0])
    return found


def enter(out: Path, made: Mapping[Path, Row]) -> list[Path]:
    """Adds rows, by the files they are from, and strips of their pictures. Returns the boards' folders."""
    _named(made.values())
    for path, row in made.items():
        if stands(row):
            strips.keep(path, row, out / board_of(row))
    return update(out, list(made.values()))


def _named(rows: Iterable[Row]) -> None:
    """Checks the names that become files and folders, before any is written or read.

    Raises:
        BenchError: they cannot be those of a file, or a key is none.
    """
    for row in rows:
        if wrong := [name for name in (board_of(row), name_of(row)) if not re.fullmatch(r"[\w.-]+", name)]:
            raise BenchError(f"a row of {wrong[0]!r}: letters, digits, '.', '_' and '-' would be right in names")
        if wrong := [key for key in row.fingerprints.values() if not KEY.fullmatch(key)]:
            raise BenchError(f"a row of {name_of(row)}: fingerprint {shown(wrong[0])}: 16 digits would be right")


def update(out: Path, rows: Sequence[Row]) -> list[Path]:
    """Adds rows to the boards under `out` and renders every board again. Returns the boards' folders.

    Raises:
        BenchError: a row's names cannot be those of a file.
    """
    new = {(board_of(r), name_of(r)): r for r in rows if stands(r)}
    _named(new.values())
    for (folder_name, name), row in new.items():
        write_text(out / folder_name / ROWS / name, row.model_dump_json(indent=1) + "\n")
    folders = sorted(p.parent for p in out.glob(f"*/{ROWS}") if any(p.glob("*.json")))
    for folder in track(folders, "boards", len(folders)) if len(folders) > FEW else folders:
        render(folder)
    return folders


def render(folder: Path) -> None:
    """Writes a board's README.md and index.html, and the figures that have changed."""
    analysed = analyse(read(folder))
    write_text(folder / "README.md", tables.render(analysed))
    write_text(folder / "index.html", board_page.render(analysed, folder / "pictures"))
    figures.write(analysed, folder)


def read(folder: Path) -> list[Row]:
    """Returns the rows of a board.

    Raises:
        BenchError: a file is no row, or means nothing.
    """
    return [_row(p) for p in sorted((folder / ROWS).glob("*.json"))]


def _row(path: Path) -> Row:
    try:
        row = Row.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BenchError(f"{path}: {where}: {first['msg'].lower()}; a row as a run writes it would be right") from error
    if why := meaningless(row):
        raise BenchError(f"{path}: {why}; no board takes it")
    return row
