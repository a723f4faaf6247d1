"""FINDINGS.md: words by hand, every figure in them from the boards' rows. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.boards.analysis import Board, analyse
from bench.boards.leaderboard import read
from bench.boards.resample import intervals, mean_of, means
from bench.boards.tables import span
from bench.errors import BenchError
from bench.row import Row
from bench.store import write_text

SOURCE, PAGE = "findings.md.jinja", "FINDINGS.md"


@dataclass(frozen=True)
class Figures:
    """What a sentence may say of a board; a method or column it does not have is an error."""

    board: Board

    @property
    def concepts(self) -> int:
        """How many concepts there are."""
        return len(self.board.cells.concepts)

    @property
    def seeds(self) -> int:
        """How many training seeds there are."""
        return len(self.board.cells.seeds)

    @property
    def runs(self) -> int:
        """How many runs went well."""
        return sum(r.status == "ok" for r in self.board.rows if r.method in self.board.cells.methods)

    def seen(self, method: str) -> int:
        """Returns on how many concepts a method was measured."""
        return int(self.board.cells.covered[self._at(method)])

    def mean(self, column: str, method: str) -> float:
        """Returns a method's mean over its concepts."""
        return float(self.board.values[column][0][self._at(method)])

    def value(self, column: str, method: str) -> str:
        """Returns `0.849 [0.76, 0.94]`."""
        return _said([float(v[self._at(method)]) for v in self.board.values[column]], "z.3f")

    def paired(self, column: str, method: str) -> str:
        """Returns what a method has more than the board's baseline, `+0.337 [0.06, 0.61]`."""
        found = self.board.differences[column]
        return _said([float(v[self._at(method)]) for v in (found.value, found.low, found.high)], "+z.3f")

    def over(self, column: str, method: str, other: str) -> str:
        """Returns what a method has more than another or than an anchor, on the concepts and seeds of both,
        `+0.337 [0.06, 0.61]`.
        """
        cells = self.board.cells
        own = cells.values[column][[self._at(method)]]
        theirs = cells.anchors[other][column] if other in cells.anchors else cells.values[column][self._at(other)]
        return _said([float(v[0]) for v in intervals(own - theirs)], "+z.3f")

    def p(self, column: str, method: str) -> str:
        """Returns the p of that difference after Holm over the column's methods, `p = 0.007`."""
        p = float(self.board.differences[column].adjusted[self._at(method)])
        if not np.isfinite(p):
            raise BenchError(f"{SOURCE}: {column} of {method} has no p: one concept or the baseline itself")
        return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"

    def shared(self, column: str, method: str, other: str) -> float:
        """Returns a method's mean over the concepts and seeds that another was measured on too."""
        own, theirs = (self.board.cells.values[column][[self._at(m)]] for m in (method, other))
        return float(means(np.where(np.isfinite(theirs), own, np.nan))[0])

    def anchor(self, column: str, name: str = "none") -> float:
        """Returns the untouched model's mean, or the references'."""
        return float(self.board.anchors[name][column][0][0])

    def control(self, name: str, method: str) -> float:
        """Returns what an attack's control came to under a method: the mean over concepts of their seeds' mean."""
        return mean_of({(r.concept, r.seed): r.anchors["control"][name].value for r in self._own(method)})

    def beside(self, name: str, methods: Sequence[str]) -> list[float]:
        """Returns what some methods have of a value that is no column of the tables, as `control` does."""
        return [mean_of({(r.concept, r.seed): r.measured[name].value for r in self._own(m)}) for m in methods]

    def _own(self, method: str) -> list[Row]:
        self._at(method)
        return [r for r in self.board.rows if r.method == method and r.status == "ok"]

    def of(self, column: str, method: str, concept: str) -> float:
        """Returns a method's mean over the seeds of one concept."""
        values = self.board.cells.values[column][self._at(method), self.board.cells.concepts.index(concept)]
        return float(np.nanmean(values))

    def apart(self, column: str, method: str) -> float:
        """Returns how far two training seeds of a method lie apart: the mean over every two of a concept, then over
        concepts; so it does not grow with the seeds there are.
        """
        values = self.board.cells.values[column][self._at(method)]
        one, other = np.triu_indices(values.shape[1], 1)
        return float(means(np.abs(values[:, one] - values[:, other])[None])[0])

    def ends(self, column: str, method: str, concept: str) -> str:
        """Returns the least and the greatest of a method's training seeds on one concept, `0.03 and 0.62`."""
        values = self.board.cells.values[column][self._at(method), self.board.cells.concepts.index(concept)]
        return f"{np.nanmin(values):z.2f} and {np.nanmax(values):z.2f}".replace("-", "\N{MINUS SIGN}")

    def least(self, column: str, methods: Sequence[str] = ()) -> float:
        """Returns the least mean of some methods, or of all."""
        return min(self.mean(column, m) for m in methods or self.board.cells.methods)

    def most(self, column: str, methods: Sequence[str] = ()) -> float:
        """Returns the greatest mean of some methods, or of all."""
        return max(self.mean(column, m) for m in methods or self.board.cells.methods)

    def others(self, *methods: str) -> list[str]:
        """Returns every method but some."""
        for method in methods:
            self._at(method)
        return [m for m in self.board.cells.methods if m not in methods]

    def worst(self, column: str, methods: Sequence[str] = ()) -> float:
        """Returns the greatest mean that any method has on any one concept."""
        rows = [self._at(m) for m in methods or self.board.cells.methods]
        return float(np.nanmax(means(self.board.cells.values[column][rows][:, :, None])))

    def risen(self, column: str) -> str:
        """Returns in how many runs a value is above the untouched model's on that concept, `120 of 121`."""
        values, before = self.board.cells.values[column], self.board.cells.anchors["none"][column]
        there = np.isfinite(values) & np.isfinite(before)
        return f"{int((there & (values > before)).sum())} of {int(there.sum())}"

    def bad(self, method: str) -> str:
        """Returns how many of a method's runs diverged or failed, `3 of 16`."""
        own = [r for r in self.board.rows if r.method == method]
        return f"{sum(r.status != 'ok' for r in own)} of {len(own)}"

    def _at(self, method: str) -> int:
        if method not in self.board.cells.methods:
            raise BenchError(f"{SOURCE}: no method {method!r}; of {', '.join(self.board.cells.methods)} would be right")
        return self.board.cells.methods.index(method)


def _said(value: Sequence[float], form: str) -> str:
    mean, low, high = value
    return f"{mean:{form}}{span(low, high, 2)}".replace("-", "\N{MINUS SIGN}")


def write(out: Path) -> list[Path]:
    """Renders `FINDINGS.md` of the boards under `out`, where its words are there. Returns what it wrote.

    Raises:
        BenchError: a figure is asked for that no row has.
    """
    if not (out / SOURCE).is_file():
        return []
    write_text(out / PAGE, render(out))
    return [out / PAGE]


def render(out: Path) -> str:
    """Returns the page."""
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    env = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    env.filters["share"] = lambda value: f"{100 * value:.0f}"
    for decimals in (2, 3):
        env.filters[f"f{decimals}"] = lambda value, d=decimals: f"{value:z.{d}f}".replace("-", "\N{MINUS SIGN}")

    @cache
    def board(name: str) -> Figures:
        return Figures(analyse(read(out / name)))

    try:
        words: Any = env.from_string((out / SOURCE).read_text(encoding="utf-8"))
        return str(words.render(board=board))
    except (TemplateError, KeyError, ValueError, IndexError) as error:
        raise BenchError(f"{out / SOURCE}: {str(error).splitlines()[0]}; a figure of a board would be right") from error
