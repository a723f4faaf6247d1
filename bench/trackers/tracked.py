"""What there is to log of finished runs, read from their folders and the store beside them. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from bench.errors import BenchError
from bench.headline import anchor, before, verdict
from bench.rows.place import board_name, task_of
from bench.store import DONE, Store, key_of
from bench.trackers.pictures import Table, tables

if TYPE_CHECKING:
    from bench.boards.analysis import Board
    from bench.row import Row

NAMED = ("method", "model", "dataset", "concept", "kind", "protocol", "seed", "gate", "tuned", "hyperparameters",
         "fingerprints")  # fmt: skip

LONGEST = 64  # letters of a tag, which wandb refuses beyond


class About(BaseModel):
    """What is said of a run when it starts; the same while it trains as when it is read from its folder.

    Attributes:
        id: the same for the same run, so that logging it again replaces it.
        name: what people call it.
        group: what its like share: the board.
        job: what it is one of in its group: its method, or `front`.
        tags: words to filter by.
        config: what it was asked for.
    """

    model_config = ConfigDict(extra="forbid")
    id: str
    name: str
    group: str
    job: str
    tags: list[str]
    config: dict[str, Any]


def one_line(error: BaseException) -> str:
    """Returns what an error of any library says, as one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def about(said: Mapping[str, Any]) -> About:
    """Returns what is said of a run, from the fields that its plan and its row share, and its `task`."""
    config = {name: said[name] for name in NAMED}
    return About(
        id=key_of({"run": [said["method"], said["concept"], said["seed"]], "score": said["fingerprints"]["score"]}),
        name=f"{said['method']} {said['concept']} seed {said['seed']}",
        group=board_name(said["dataset"], said["model"], said["task"], said["protocol"]),
        job=said["method"],
        tags=[str(said[field])[:LONGEST] for field in ("kind", "concept", "protocol")],
        config=config,
    )


@dataclass(frozen=True)
class Run:
    """A finished run; `curves` are its training's, `adapter` the files that training left."""

    row: Row
    about: About
    store: Store
    curves: dict[str, list[float]]
    seeds: int
    side: int

    @property
    def numbers(self) -> dict[str, float]:
        """Values with the bounds of their intervals, and the costs: `measured/dino`, `measured/dino.low`, and so on."""
        out: dict[str, float] = {}
        for name, v in self.row.measured.items():
            out |= {f"measured/{name}": v.value, f"measured/{name}.low": v.low, f"measured/{name}.high": v.high}
        return out | {f"cost/{name}": value for name, value in self.row.cost.items()}

    @property
    def facts(self) -> dict[str, Any]:
        """What is no number."""
        row = self.row
        return {"status": row.status, "reason": row.reason, "verdict": verdict(row), "digest": row.digest(),
                "provenance": row.provenance}  # fmt: skip

    @property
    def values(self) -> Table:
        """Every value beside its anchors, and why what is missing was not measured."""
        row, start = self.row, before(self.row)
        columns = ["metric", "value", "low", "high", "pictures", "better", start, "references", "judged by", "note"]
        lines: list[list[Any]] = []
        for name, v in row.measured.items():
            sides = [a.value if (a := anchor(row, source, name)) else None for source in (start, "references")]
            lines.append([name, v.value, v.low, v.high, v.n, v.better, *sides, v.checkpoint, ""])
        lines += [[name, *[None] * 7, "", why] for name, why in row.unmeasured.items() if name not in row.measured]
        return Table("values", columns, lines)

    @property
    def adapter(self) -> list[Path]:
        """The files that training left; none where it did not end."""
        folder = self.store.path("train", self.row.fingerprints.get("train", "none"))
        return sorted(p for p in folder.glob("*") if p.is_file() and p.name != DONE)

    def tables(self) -> Iterator[Table]:
        """Yields the tables of pictures, as `bench.trackers.pictures` makes them."""
        return tables(self.store, self.row.fingerprints, self.seeds, self.side)


def finished(folder: Path, seeds: int, side: int) -> Run:
    """Reads a finished run.

    Args:
        folder: the run's own, `<root>/<method>/<name>`.
        seeds: how many pictures of a prompt are shown.
        side: of the largest picture, in pixels.

    Raises:
        BenchError: it has no row, or one that cannot be read.
    """
    from bench.rows.file import read

    row, complaints = read(folder / "row.json")
    if row is None:
        raise BenchError(complaints[0])
    store = Store(folder.parent.parent)
    logs = [store.path("train", row.fingerprints.get("train", "none")) / "log.json", folder / "log.json"]
    there = [p for p in logs if p.is_file()]  # of a run that diverged it is the second
    curves = json.loads(there[0].read_text(encoding="utf-8")) if there else {}
    return Run(row, about(row.model_dump() | {"task": task_of(row)}), store, curves, seeds, side)


@dataclass(frozen=True)
class Fronts:
    """The fronts of one board."""

    about: About
    board: Board

    def drawn(self, into: Path) -> Iterator[tuple[Table, Path]]:
        """Yields each front's points and its figure, a PNG in a folder."""
        from bench.boards import figures

        for front in self.board.fronts:
            said = figures.describe(self.board, front)
            path = into / figures.path_of(front.name).replace(".svg", ".png").partition("/")[2]
            figures.save(said, path, "png")
            x, y = front.columns
            heads = ["method", x, f"{x}.low", f"{x}.high", y, f"{y}.low", f"{y}.high", "on", "chance", "why not"]
            lines = [
                [
                    p["method"],
                    *((p[k] or p["at"])[i] for i in (0, 1) for k in ("at", "low", "high")),
                    p["on"],
                    p["chance"],
                    p["why"],
                ]
                for p in said["points"]
            ]
            yield Table(f"front/{path.stem}", heads, lines), path


def fronts(folders: Iterable[Path], roots: Sequence[Path] = ()) -> Iterator[Fronts]:
    """Yields the boards that finished runs make and that have fronts, as `leaderboard` would render them.

    Args:
        folders: of the runs.
        roots: where they lie with earlier ones, which count too on these boards: a second sweep, of other methods, adds
            to what is shown and does not replace it.
    """
    from bench.boards.analysis import analyse
    from bench.boards.leaderboard import collect
    from bench.rows.place import board_of, stands

    boards: dict[str, list[Row]] = {}
    given = list(folders)
    mine = {board_of(row) for row in collect(given).values() if stands(row)}
    beside = {path for root in roots for path in root.glob("*/*/row.json")} - {f / "row.json" for f in given}
    for row in collect([*given, *sorted(beside)]).values():
        if stands(row) and board_of(row) in mine:
            boards.setdefault(board_of(row), []).append(row)
    for name, rows in sorted(boards.items()):
        board = analyse(rows)
        config = {"board": name, "digests": sorted(r.digest() for r in rows), "methods": board.cells.methods}
        if board.fronts:
            yield Fronts(About(id=key_of({"board": name}), name=f"fronts of {name}", group=name, job="front",
                               tags=[board.kind], config=config), board)  # fmt: skip
