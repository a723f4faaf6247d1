"""Two rows of one run, value by value, and what may be why they are not the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.row import Row, Value

ROUNDING = 1e-6  # what another machine may add to a value whose interval is a point


@dataclass(frozen=True)
class Pair:
    """A value of a row and of the same row run again."""

    name: str
    old: Value
    new: Value | None

    @property
    def within(self) -> bool:
        """Whether the new value lies in the old one's interval."""
        if self.new is None:
            return False
        low, high = self.old.low - ROUNDING, self.old.high + ROUNDING
        return low <= self.new.value <= high

    @property
    def equal(self) -> bool:
        """Whether both are the same number."""
        return self.new is not None and self.old.value == self.new.value


def pairs(old: Row, new: Row) -> list[Pair]:
    """Returns every value of the old row beside the new row's."""
    return [Pair(name, value, new.measured.get(name)) for name, value in old.measured.items()]


def differences(old: Row, new: Row) -> Iterator[str]:
    """Yields what was not the same when a row was made again: what might explain another value."""
    then, now = _flat(old.provenance), _flat(new.provenance)
    for name in dict.fromkeys([*then, *now]):
        if name not in ("command", "finished") and then.get(name) != now.get(name):
            yield f"{name}: {then.get(name, 'not kept')} then, {now.get(name, 'not kept')} now"
    if now.get("dirty"):
        yield "the code had changes that no commit holds"
    for name in dict.fromkeys([*old.hyperparameters, *new.hyperparameters]):
        had, has = (row.hyperparameters.get(name, "not kept") for row in (old, new))
        if had != has:
            yield f"hyperparameter {name}: {had} then, {has} now"
    stages = [k for k, v in old.fingerprints.items() if new.fingerprints.get(k) != v]
    if stages:
        yield f"what these stages depend on (code, models, data or values): {', '.join(stages)}"


def _flat(provenance: dict[str, Any]) -> dict[str, Any]:
    """Returns name → value without nesting."""
    out: dict[str, Any] = {}
    for name, value in provenance.items():
        out |= value if isinstance(value, dict) else {name: value}
    return out


def verdict(old: Row, new: Row, found: list[Pair], missed: list[str]) -> str:
    """Returns what the second row came to beside the first."""
    if old.status != new.status:
        return f"{old.status} then, {new.status} now{': ' * bool(new.reason)}{new.reason}"
    if old.digest() == new.digest():
        return "the same row, bit for bit"
    if missed:
        return f"{len(missed)} of {len(found)} values left their interval: {', '.join(missed)}"
    if all(p.equal for p in found):
        return "every value is the same"
    return f"every value is within its interval, {sum(p.equal for p in found)} of {len(found)} the same"


def show(found: list[Pair]) -> None:
    """Writes the values side by side to stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "then", "95 % interval", "now", "")
    for p in found:
        now = "not measured" if p.new is None else f"{p.new.value:z.4f}"
        mark = "same" if p.equal else "within" if p.within else "outside"
        table.add_row(p.name, f"{p.old.value:z.4f}", f"[{p.old.low:z.4f}, {p.old.high:z.4f}]", now, mark)
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = 120
    console.print(table)
