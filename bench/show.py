"""A row in the terminal, and the words and numbers that the report's page shares with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.config import by_hand
from bench.meaning import meaningless

if TYPE_CHECKING:
    from rich.table import Table

    from bench.plan import Plan
    from bench.row import Row, Value

GROUPS = ("erasure", "fidelity", "prompt following", "preservation")  # the order of tables
ARROWS = {"higher": "↑", "lower": "↓", "zero": "→0", "neither": ""}
LEGEND = """\
[low, high]: 95 % interval; base: the untouched model (learned: the one before
erasing); refs: the reference pictures, each against the others;
↑ higher, ↓ lower, →0 nearer to 0 is better"""


def number(value: float) -> str:
    """Returns three decimals, and never a negative zero."""
    return f"{value:z.3f}"


def grouped(row: Row) -> dict[str, list[str]]:
    """Returns group → names of what was measured, the known groups first."""
    groups: dict[str, list[str]] = {group: [] for group in GROUPS}
    for name, value in row.measured.items():
        groups.setdefault(value.group, []).append(name)
    return {group: names for group, names in groups.items() if names}


def anchor(row: Row, source: str, name: str) -> Value | None:
    """Returns what an anchor (`none` or `references`) has for a metric, if anything."""
    return row.anchors.get(source, {}).get(name)


def before(row: Row) -> str:
    """Returns the anchor that a run started from: the untouched model, or the one that had learned the concept."""
    return "learned" if "learned" in row.anchors else "none"


def values_used(row: Row, plan: Plan) -> str:
    """Returns where the hyperparameters come from: tuned here, or published, and what was set by hand."""
    base = f"values set for {row.model}" if row.tuned else "published values"
    return ", ".join([base, *(f"{o} by hand" for o in by_hand(plan.config.get("_given", [])))])


def verdict(row: Row) -> str:
    """Returns what a run came to, in one plain sentence without its full stop."""
    if row.status != "ok":
        what = {"diverged": "Training diverged", "unmeasurable": "Nothing could be measured"}
        return f"{what.get(row.status, 'The run failed')}: {row.reason or 'no reason was kept'}"
    groups = grouped(row)
    own = {g: [n for n in names if not n.endswith("/novelty")] for g, names in groups.items()}  # an attack's control
    heads = [own[g][0] for g in GROUPS[:3] if own.get(g)]
    parts = [_moved(row, name) for name in heads]
    costs = {n: row.measured[n] for n in groups.get("preservation", []) if row.measured[n].better == "lower"}
    if costs:
        worst = max(costs, key=lambda n: costs[n].value)
        where = worst.partition("/")[2]
        parts.append(f"{costs[worst].title} is largest on {where} prompts, {number(costs[worst].value)}")
    said = "; ".join([*filter(None, [meaningless(row)]), *parts]) or "Nothing was measured"
    return said[0].upper() + said[1:]


def _moved(row: Row, name: str) -> str:
    """Says how a metric stands to the base model's, and whether that is toward what the references have."""
    value, base = row.measured[name], anchor(row, before(row), name)
    title = value.title or name
    if base is None:
        return f"{title} is {number(value.value)}"
    then, after = base.value, value.value
    if not _clearly(row, name, value, then):
        return f"{title} did not move clearly ({number(then)} before, {number(after)} after)"
    text = f"{title} {'rose' if after > then else 'fell'} from {number(then)} to {number(after)}"
    real = anchor(row, "references", name)
    if real is None or value.group != "fidelity":  # the references are no goal for prompt following
        return text
    past, nearer = (real.value - then) * (real.value - after) < 0, abs(real.value - after) < abs(real.value - then)
    return f"{text}, {'past' if past else 'toward' if nearer else 'away from'} the references' {number(real.value)}"


def _clearly(row: Row, name: str, value: Value, then: float) -> bool:
    """Returns whether the interval leaves out `no change`; the paired difference is asked where there is one."""
    paired = row.measured.get(f"delta_{name}/concept")
    return not (paired.low <= 0 <= paired.high) if paired else not (value.low <= then <= value.high)


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
    facts = [f"{row.method} on {row.concept}", row.model, f"seed {row.seed}", values_used(row, plan), row.status]
    console.print(" · ".join(facts), style="bold")
    if row.status != "ok":
        console.print(f"{verdict(row)}.", style="red")
    elif why := meaningless(row):
        console.print(f"Check of the code alone: {why}.", style="red")
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


def _below(row: Row, plan: Plan, there: bool) -> list[tuple[str, str]]:
    lines = []
    if row.cost:
        seconds, steps = row.cost.get("seconds", 0.0), int(row.cost.get("steps", 0))
        lines.append(("training", f"{seconds:.1f} s, {steps} steps" if steps else "none"))
    lines += [("digest", row.digest()), ("written", f"{plan.folder} (row.json, report.html)")]
    lines.append(("look at", f"{plan.folder / 'report.html'}"))
    if there:
        lines.append(("note", "this run was there already; nothing was computed again"))
    return lines
