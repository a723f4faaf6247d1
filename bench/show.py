"""A row in the terminal, and the words that the report's page shares with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.config import by_hand
from bench.headline import GROUPS, anchor, before, number, verdict
from bench.meaning import meaningless
from bench.words import counted

if TYPE_CHECKING:
    from rich.table import Table

    from bench.plan import Plan
    from bench.row import Row

ARROWS = {"higher": "↑", "lower": "↓", "zero": "→0", "neither": ""}
LEGEND = """\
[low, high]: 95 % interval; base: the untouched model (learned: the one before
erasing); refs: the reference pictures, each against the others;
↑ higher, ↓ lower, →0 nearer to 0 is better"""


def grouped(row: Row) -> dict[str, list[str]]:
    """Returns group → names of what was measured, the known groups first."""
    groups: dict[str, list[str]] = {group: [] for group in GROUPS}
    for name, value in row.measured.items():
        groups.setdefault(value.group, []).append(name)
    return {group: names for group, names in groups.items() if names}


def values_used(row: Row, plan: Plan) -> str:
    """Returns where the hyperparameters come from: tuned here, or published, and what was set by hand; none has what
    was made elsewhere.
    """
    if not row.hyperparameters or plan.config.get("_made"):
        return "none"
    base = f"values set for {row.model}" if row.tuned else "published values"
    return ", ".join([base, *(f"{o} by hand" for o in by_hand(plan.config.get("_given", [])))])


def show(row: Row, plan: Plan, there: bool) -> None:
    """Writes a row to stdout as a table, 80 columns wide.

    Args:
        row: what was measured.
        plan: the run it belongs to.
        there: whether the run was there before this command.
    """
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False)  # names may hold brackets
    if not console.is_terminal:
        console.width = 120  # a long name of a checkpoint stays on its line in a pipe
    facts = [f"{row.method} on {row.concept}", row.model, f"seed {row.seed}"]
    facts += [values_used(row, plan)] if row.hyperparameters and not plan.config.get("_made") else []
    facts.append(row.status)
    console.print(" · ".join(facts), style="bold")
    wrong = row.status != "ok" or meaningless(row)
    console.print(f"\n{verdict(row, plan.concept.class_phrase)}.\n", style="red" if wrong else None)
    if row.measured:
        console.print(_table(row))
        console.print(LEGEND, style="dim")
    for label, text in _below(row, plan, there):
        console.print(f"{label:<9}{text}", soft_wrap=True)  # a path is never broken


def _table(row: Row) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("   metric", no_wrap=True)
    base = before(row)
    for heading in ("value", "[low, high]", "base" if base == "none" else base, "refs"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("judged by", overflow="fold")
    for group, names in grouped(row).items():
        table.add_row(Text(group, style="bold"))
        for name in names:
            v = row.measured[name]
            anchors = [number(a.value) if a else "—" for a in (anchor(row, s, name) for s in (base, "references"))]
            span = f"[{number(v.low)}, {number(v.high)}]"
            value = Text(number(v.value), style="bold")
            table.add_row(f"{ARROWS[v.better]:<2} {name}", value, span, *anchors, v.checkpoint)
    return table


def _training(row: Row) -> str:
    if steps := int(row.cost.get("steps", 0)):
        return f"{row.cost['seconds']:.1f} s, {counted(steps, 'step')}"
    if not row.cost.get("adapter_bytes"):
        return "none"
    return "in closed form"


def _below(row: Row, plan: Plan, there: bool) -> list[tuple[str, str]]:
    lines = []
    if row.cost:
        lines.append(("training", "elsewhere" if plan.config.get("_made") else _training(row)))
    lines += [("digest", row.digest()), ("written", f"{plan.folder} (row.json, report.html)")]
    if row.cost.get("adapter_bytes") and "train" in row.fingerprints:
        lines.append(("adapter", f"{plan.folder.parent.parent / 'store' / 'train' / row.fingerprints['train']}"))
    lines.append(("look at", f"{plan.folder / 'report.html'}"))
    if there:
        lines.append(("note", "this run was there already; nothing was computed again"))
    return lines
