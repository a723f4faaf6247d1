"""The interface of a tracker: where runs are logged, beside their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import NonNegativeFloat, PositiveInt, PrivateAttr

from bench.errors import BenchError
from bench.optional import Choice
from bench.trackers.pictures import Table
from bench.trackers.tracked import About


class Tracker(Choice):
    """`conf/tracker`: where runs are logged. This one logs nothing.

    The verbs come in the order of the methods; `curves` any number of times. None is called by the process that
    trains (`bench.trackers.follow`), so each may raise, block or die.
    """

    folder: str = "runs/trackers"
    group: str | None = None
    pictures: PositiveInt = 4
    side: PositiveInt = 512
    wait: NonNegativeFloat = 120
    _current: str = PrivateAttr("")
    _logged: dict[str, int] = PrivateAttr(default_factory=dict)

    def begin(self, about: About) -> None:
        """Starts a run unless it is the current one, which goes on."""
        if self._current == about.id:
            return
        self.leave()
        self._logged = {}
        self.start(about if self.group is None else about.model_copy(update={"group": self.group}))
        self._current = about.id

    def grown(self, curves: dict[str, list[float]]) -> None:
        """Logs what is new of curves, `stage/name` → one value a step."""
        new = {name: values[self._logged.get(name, 0) :] for name, values in curves.items()}
        first = {name: self._logged.get(name, 0) for name in new}
        self.curves({name: values for name, values in new.items() if values}, first)
        self._logged |= {name: len(values) for name, values in curves.items()}

    def leave(self) -> None:
        """Ends the current run, if there is one, as not finished."""
        if self._current:
            self.end(False)

    def end(self, whole: bool) -> None:
        """Ends the current run; `whole` where it came to a finished row."""
        self._current = ""
        self.finish(whole)

    def start(self, about: About) -> None:
        """Opens a run; one that was logged before under this id is replaced."""

    def curves(self, values: dict[str, list[float]], first: dict[str, int]) -> None:
        """Logs values of consecutive steps by `stage/name`, beginning with that of step `first`."""

    def values(self, numbers: dict[str, float], facts: dict[str, Any], table: Table) -> None:
        """Logs final values with the bounds of their intervals: as numbers, as a table, and what is no number."""

    def images(self, table: Table) -> None:
        """Logs a table of pictures: a line a prompt and seed."""

    def front(self, table: Table, picture: Path) -> None:
        """Logs a front of a board: its points, and the figure."""

    def adapter(self, name: str, files: list[Path]) -> None:
        """Logs what training left behind."""

    def finish(self, whole: bool) -> None:
        """Closes the run."""

    def sync(self) -> str:
        """Sends what was kept here. Returns what came of it in a line.

        Raises:
            BenchError: there is nothing to send, or it was refused.
        """
        raise BenchError(f"tracker={self.name} keeps nothing back; there is nothing to send")
