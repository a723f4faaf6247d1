"""A comparison in words: what each of the two came to, and where they differ, on the terminal and on the page alike."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from bench.compare.differences import Difference
from bench.compare.sides import Side, class_phrase
from bench.headline import number, verdict
from bench.rows.place import settings, task_of
from bench.show import ARROWS
from bench.words import counted


def labels(first: Side, second: Side) -> tuple[str, str]:
    """Returns what the two are called: by method, and by what else tells them apart."""
    if first.name != second.name:
        return first.name, second.name
    a, b = first.rows[0], second.rows[0]
    for field in ("seed", "gate", "model", "protocol", "tuned"):
        if getattr(a, field) != getattr(b, field):
            return f"{a.method}, {field} {getattr(a, field)}", f"{b.method}, {field} {getattr(b, field)}"
    return f"{first.name} (1)", f"{second.name} (2)"


def show(first: Side, second: Side, found: Sequence[Difference], unit: str) -> None:
    """Writes what each came to and the task's main values to stdout; the others are on the page."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names, (main, rest) = labels(first, second), split(found, task_of(first.rows[0]))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("   value", no_wrap=True)
    for heading in (*names, "difference", "[low, high]", "pairs"):
        table.add_column(Text(heading), justify="right", no_wrap=True)
    table.add_column("better")
    for d in main:
        bounds = f"[{number(d.bounds[0])}, {number(d.bounds[1])}]" if d.bounds else "none"
        verdict = Text(names[d.better - 1] if d.better else "")
        said = (number(d.first), number(d.second), f"{d.value:+z.3f}", bounds, str(d.pairs))
        table.add_row(f"{ARROWS[d.of.better]:<2} {d.name}", *said, verdict)
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = 140
    for line in (*(f"{name}: {said}" for name, said in told(first, second)), *costs(first, second)):
        console.print(line)
    console.print(f"\n{balance(main, names)}", style="bold")
    console.print(table)
    sys.stdout.write(f"{note(found, unit)}\n")
    if rest:
        sys.stdout.write(f"{counted(len(rest), 'more value')} {'is' if len(rest) == 1 else 'are'} on the page\n")


def split(found: Sequence[Difference], task: str) -> tuple[list[Difference], list[Difference]]:
    """Returns the values that the task's board has, in its order, and the others; all where it has none of them."""
    by_name = {d.name: d for d in found}
    main = [by_name[c] for c in settings()["columns"].get(task, []) if c in by_name]
    return (main, [d for d in found if d not in main]) if main else (list(found), [])


def told(first: Side, second: Side) -> list[tuple[str, str]]:
    """Returns what each run came to, by its name; of several runs a board tells."""
    sides = zip(labels(first, second), (first, second), strict=True)
    return [(name, f"{verdict(s.rows[0], class_phrase(s.rows[0]))}.") for name, s in sides if len(s.rows) == 1]


def costs(first: Side, second: Side) -> list[str]:
    """Returns what training took, the mean over the runs of each; what is not known of all of them is left out."""

    def mean(side: Side, cost: str) -> float | None:
        return float(np.mean([r.cost[cost] for r in side.rows])) if all(cost in r.cost for r in side.rows) else None

    def one(side: Side) -> str:
        seconds, steps, size = (mean(side, c) for c in ("seconds", "steps", "parameters"))
        said = [
            "" if seconds is None else f"{seconds:.1f} s",
            "" if steps is None else counted(round(steps), "step"),
            "" if size is None else counted(round(size), "parameter"),
        ]
        return ", ".join(filter(None, said))

    pair = zip(labels(first, second), (first, second), strict=True)
    known = [f"{name} {said}" for name, s in pair if (said := one(s))]
    return [f"Training: {'; '.join(known)}."] if known else []


def balance(main: Sequence[Difference], names: tuple[str, str]) -> str:
    """Returns in how many of the main values each is better."""
    won = [sum(d.better == k for d in main) for k in (1, 2)]
    of = [f"{name} is better in {n}" for name, n in zip(names, won, strict=True)]
    without = sum(d.bounds is None for d in main)
    open_ = f"in {len(main) - sum(won) - without} that is not settled, {without} have no interval"
    return f"Of {counted(len(main), 'main value')} {', '.join(of)}; {open_}."


def note(found: Sequence[Difference], unit: str) -> str:
    """Returns how the intervals are to be read."""
    settled, tested = sum(d.settled for d in found), sum(d.bounds is not None for d in found)
    said = (
        f"Difference: the first minus the second over pairs; 95 % interval by bootstrap of {unit}. "
        f"{tested} of {len(found)} values have one, {settled} leave out 0; by chance about {tested / 20:.1f} would."
    )
    few = "" if tested == len(found) else " A value made of means is one number a run: of one pair it has no interval."
    return said + few
