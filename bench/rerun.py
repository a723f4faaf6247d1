"""Runs a row again from its own provenance, and says whether it comes out the same."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.plan import Plan
from bench.row import Row, Value

COMMAND = ["python", "-m", "bench"]
OURS = ("methods", "metrics", "bench")
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$")
ROUNDING = 1e-6  # what another machine may add to a value whose interval is a point


def read(path: Path) -> Row:
    """Reads a row.

    Raises:
        BenchError: it cannot be read or is no row of this version.
    """
    try:
        return Row.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(f"{path}: {error.strerror}; the path of a row.json would be right") from None
    except ValueError as error:
        raise BenchError(f"{path}: not a row of this version: {str(error).splitlines()[0]}") from None


def overrides(row: Row, trust: bool) -> list[str]:
    """Returns the overrides of a row's command, without its root.

    Raises:
        BenchError: the row has no such command, or it names code that is not ours and is not trusted.
    """
    said = str(row.provenance.get("command", ""))
    try:
        words = shlex.split(said)
    except ValueError:
        words = []
    if words[:3] != COMMAND or not all("=" in w and not w.startswith(("-", "hydra")) for w in words[3:]):
        raise BenchError(f"provenance.command: {said!r}; python -m bench KEY=VALUE ... would be right")
    given = [w for w in words[3:] if w.lstrip("+").split("=")[0] != "root"]
    for word in given:
        for part in re.split(r"[\[\],{}:\s'\"]+", word.partition("=")[2]):
            if DOTTED.match(part) and part.split(".")[0] not in OURS and not trust:
                raise BenchError(f"provenance.command: {word} names code of elsewhere; --trust would run it")
    return given


def plan(row: Row, given: list[str], root: str) -> Plan:
    """Plans a row's run with its own hyperparameters, also where the values set for its model have changed since.

    Raises:
        BenchError: the command makes another row than this.
    """
    from bench.compose import compose
    from bench.plan import make

    given = [*given, f"root={root}"]
    planned = make(*compose(given))
    mine = {"method": planned.method, "concept": planned.concept.name, "seed": planned.config["seed"]}
    mine |= {group: planned.config[group]["name"] for group in ("model", "dataset", "protocol")}
    for field, value in mine.items():
        if value != getattr(row, field):
            raise BenchError(f"provenance.command makes {field} {value}, and the row has {getattr(row, field)}")
    if planned.hyperparameters == row.hyperparameters:
        return planned
    changed = {k: v for k, v in row.hyperparameters.items() if planned.hyperparameters.get(k) != v}
    return make(*compose([*given, *(f"method.{k}={json.dumps(v)}" for k, v in changed.items())]))


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
    for name in old.hyperparameters:
        if old.hyperparameters[name] != new.hyperparameters.get(name):
            yield f"hyperparameter {name}: {old.hyperparameters[name]} then, {new.hyperparameters.get(name)} now"
    stages = [k for k, v in old.fingerprints.items() if new.fingerprints.get(k) != v]
    if stages:
        yield f"what these stages depend on (code, models, data or values): {', '.join(stages)}"


def _flat(provenance: dict[str, Any]) -> dict[str, Any]:
    """Returns name → value without nesting."""
    out: dict[str, Any] = {}
    for name, value in provenance.items():
        out |= value if isinstance(value, dict) else {name: value}
    return out


def rerun(path: Path, root: str | None, trust: bool) -> int:
    """Runs a row again into a root of its own and writes both, side by side, to stdout. Returns the exit code.

    Raises:
        BenchError: the row cannot be read or run.
    """
    from bench.run import preflight, run

    old = read(path)
    planned = plan(old, overrides(old, trust), root or f"reruns/{old.digest()}")
    preflight(planned)
    new, _ = run(planned)
    found = pairs(old, new)
    _table(found)
    missed = [p.name for p in found if not p.within]
    good = not missed and old.status == new.status
    lines = [f"{planned.folder / 'row.json'}: {_said(old, new, found, missed)}"]
    lines += [f"  differs: {d}" for d in differences(old, new)]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if good else 1


def _said(old: Row, new: Row, found: list[Pair], missed: list[str]) -> str:
    if old.status != new.status:
        return f"{old.status} then, {new.status} now{': ' * bool(new.reason)}{new.reason}"
    if old.digest() == new.digest():
        return "the same row, bit for bit"
    if missed:
        return f"{len(missed)} of {len(found)} values left their interval: {', '.join(missed)}"
    if all(p.equal for p in found):
        return "every value is the same"
    return f"every value is within its interval, {sum(p.equal for p in found)} of {len(found)} the same"


def _table(found: list[Pair]) -> None:
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
