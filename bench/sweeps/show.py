"""What a sweep came to, run by run: the task's first values and where each page lies."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.headline import number
from bench.row import Row
from bench.rows.place import settings

COLUMNS, MOST = 4, 40  # values of a run; of more runs than that a board says more


def results(folders: Sequence[Path]) -> None:
    """Writes a table a task to stdout: one line a run that ended well, its first values as on its board, its page.

    Args:
        folders: of the runs.
    """
    rows: dict[str, list[tuple[Path, Row]]] = {}
    for folder in folders if len(folders) <= MOST else ():
        path = folder / "row.json"
        if path.is_file():
            row = Row.model_validate_json(path.read_text(encoding="utf-8"))
            rows.setdefault(row.kind, []).extend([(folder, row)] if row.status == "ok" else [])
    for kind, found in rows.items():
        if found:
            _table(kind, found)


def _table(kind: str, found: Sequence[tuple[Path, Row]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from bench.show import ARROWS

    measured = {n: v for _, row in found for n, v in row.measured.items()}
    columns = [c for c in settings()["columns"].get(kind, measured) if c in measured][:COLUMNS]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("run", no_wrap=True)
    for column in columns:
        table.add_column(Text(f"{column} {ARROWS[measured[column].better]}"), justify="right", no_wrap=True)
    table.add_column("page", no_wrap=True)
    for folder, row in found:
        values = [number(row.measured[c].value) if c in row.measured else "—" for c in columns]
        name = Text(f"{row.method} on {row.concept}, {row.model}, seed {row.seed}")
        table.add_row(name, *values, Text(str(folder / "report.html")))
    console = Console(markup=False, emoji=False, highlight=False)
    console.width = max(console.width, 240)  # a path is never broken
    console.print(table)
    sys.stdout.flush()
