"""What finished runs took, for guessing what others will take. Nothing heavy is imported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cached_property
from glob import escape
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import ValidationError

from bench import paths
from bench.costs import PASSES, costs_of
from bench.row import Row
from bench.store import DONE, Store

LOG = "log.jsonl"
BASE, OWN, SCORE = "base", "generate", "score"
SHIPPED = "the boards that are shipped"  # of machines that were busy with other runs: the fastest counts


class Past:
    """What finished runs took: rows and the store's log.

    Args:
        root: where runs are kept; where it has no row of a method, the committed boards' are asked.
    """

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self._of: dict[str, tuple[list[Row], list[Row]]] = {}

    def there(self, stage: str, key: str) -> bool:
        """Returns whether a stage is done; its files are not read."""
        return (self.store.path(stage, key) / DONE).is_file()

    @cached_property
    def rows(self) -> tuple[list[Row], list[Row]]:
        """The finished rows of the runs, and of the boards that are shipped: many files."""
        return self._read("*", "*")

    def rows_of(self, method: str) -> tuple[list[Row], list[Row]]:
        """Returns a method's finished rows, of the runs and of the boards; no other files are read."""
        if method not in self._of:
            name = escape(method)
            ours, shipped = ([r for r in rows if r.method == method] for rows in self._read(name, f"{name}-*"))
            self._of[method] = ours, shipped
        return self._of[method]

    def _read(self, folder: str, file: str) -> tuple[list[Row], list[Row]]:
        boards = paths.shipped("leaderboards")
        return _rows(self.store.root.glob(f"{folder}/*/row.json")), _rows(boards.glob(f"*/rows/{file}.json"))

    @cached_property
    def log(self) -> dict[tuple[str, str], float]:
        """(stage, key) → seconds, of every stage the log has."""
        path = self.store.root / "store" / LOG
        out = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                said = json.loads(line)
                out[str(said["stage"]), str(said["key"])] = float(said["seconds"])
            except (ValueError, KeyError, TypeError):
                continue  # a line that was cut off says nothing
        return out

    def like(self, method: str, model: str, fields: dict[str, Any] | None = None) -> tuple[list[Row], str]:
        """Returns the finished rows of a method that are nearest to what is asked for, and what they are.

        Args:
            method: its name.
            model: the name of its model's configuration.
            fields: its values; any if left out.
        """
        wheres = (str(self.store.root), SHIPPED)
        own = [([r for r in rows if "seconds" in r.cost], w)
               for rows, w in zip(self.rows_of(method), wheres, strict=True)]  # fmt: skip
        wanted: dict[str, Callable[[Row], bool]] = {
            "": lambda r: r.model == model and (fields is None or r.hyperparameters.items() <= fields.items()),
            ", with other values": lambda r: r.model == model,
            ", on another model: a rough guess": lambda r: True,
        }
        for what, fits in wanted.items():
            for rows, where in own:
                if found := [r for r in rows if fits(r)]:
                    return found, f"{where}{what}"
        return [], ""

    def training(self, method: str, model: str, fields: dict[str, Any]) -> tuple[float | None, str]:
        """Returns the seconds of a training, and its source."""
        rows, where = self.like(method, model, fields)
        if not rows:
            return (0.0, f"{method} trains nothing") if self.idle(method) else (None, f"no finished row of {method}")
        spent = [r.cost["seconds"] for r in rows]
        span = f"{len(spent)} rows, {min(spent):.0f} to {max(spent):.0f} s" if len(spent) > 1 else "a row"
        if where.startswith(SHIPPED):
            return min(spent), f"training {method}: {span} ({where}{'; the fastest counts' * (len(spent) > 1)})"
        return median(spent), f"training {method}: {span} ({where})"

    def idle(self, method: str) -> bool:
        """Returns whether a method leaves nothing behind, as its rows say: its pictures are the untouched model's."""
        own = [r for rows in self.rows_of(method) for r in rows]
        return bool(own) and not any(r.cost.get("adapter_bytes", 1) for r in own)

    def picture(self, model: str, steps: int) -> tuple[float | None, str]:
        """Returns the seconds of one picture, and where that is from."""
        timed = [
            s / n for (stage, key), s in self.log.items() if stage in (BASE, OWN) and (n := self._drawn(key, model))
        ]
        if timed:
            return median(timed), f"pictures: {len(timed)} timed stages of {model}"
        one, of = self.one_pass(model)
        return (
            (one * 2 * steps, f"pictures: {2 * steps} forward passes each, timed by trainings on {of}")
            if one
            else (None, "")
        )

    def _drawn(self, key: str, model: str) -> int:
        """Returns how many pictures of a model a stage made; 0 if it is none of it."""
        for stage in (BASE, OWN):
            path = self.store.path(stage, key) / DONE
            if path.is_file():
                try:
                    said = json.loads(path.read_text(encoding="utf-8"))
                except ValueError:  # damaged: the stage is made again
                    continue
                if said.get("about", {}).get("model") == model:
                    return sum(name.endswith(".png") for name in said.get("files", ()))
        return 0

    def one_pass(self, model: str) -> tuple[float | None, str]:
        """Returns the seconds of a forward pass of one picture, from what trainings took, and on which model."""
        ours, shipped = ([r for r in rows if r.cost.get("grad_forward_images")] for rows in self.rows)
        for of, wanted in ((model, {model}), ("another model", {r.model for r in [*ours, *shipped]})):
            for rows, usual in ((ours, median), (shipped, min)):
                if found := [r.cost["seconds"] / costs_of(r)[PASSES] for r in rows if r.model in wanted]:
                    return float(usual(found)), of
        return None, "another model"

    def judging(self) -> float | None:
        """Returns the seconds of judging a run, as the log has them."""
        spent = [seconds for (stage, _), seconds in self.log.items() if stage == SCORE]
        return median(spent) if spent else None


def _rows(files: Iterable[Path]) -> list[Row]:
    out = []
    for path in sorted(files):
        try:
            row = Row.model_validate_json(path.read_bytes())
        except (ValidationError, OSError):
            continue  # it is asked for its cost alone
        out += [row] if row.status == "ok" else []
    return out
