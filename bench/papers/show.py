"""A study in words: every claim with its verdict, the paper's figures beside ours, and what could not be run."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Sequence

from bench import paths
from bench.boards.tables import span
from bench.papers.files import Cell
from bench.papers.reported import reported
from bench.papers.reproduce import Study
from bench.papers.verdicts import Verdict, boards, judge
from bench.row import Row
from bench.words import counted

EMBEDDED = "Verdicts are about this track: its small models and pictures are not the paper's.\n"
HERE = """\
No metric here is the paper's own. "Not reproduced" says that a claim does not hold here, not that the paper is wrong;
what is "expected" no paper claims."""


def about(study: Study, seeds: Sequence[int], rows: str = "") -> str:
    """Returns what is going to be looked at: what is run, or the rows of a folder."""
    count = f"{len(study.claims)} claim{'s' * (len(study.claims) != 1)}"
    track = ", embedded track" if study.embedded else ""
    lines = [f"{study.file.about} ({study.file.source}): {count}, on {study.model}{track}"]
    lines += [f"  rows of {rows}; nothing is run"] if rows else []
    for task, methods in study.methods.items() if not rows else ():
        names = ", ".join(study.concepts[task])
        said = ", ".join(map(str, seeds))
        lines.append(f"  {task}: {', '.join(methods)}; concepts {names}; training seed{'s' * (len(seeds) > 1)} {said}")
    lines += [f"  left out: {m}: {why}" for m, why in study.left.items()]
    return "\n".join(lines) + "\n"


def write(study: Study, rows: Sequence[Row]) -> None:
    """Writes what a study came to, to stdout."""
    verdicts = [v for c in study.claims for v in judge(c, study.model, boards(rows))]
    counts: dict[str, int] = {}
    for v in verdicts:
        counts[v.word] = counts.get(v.word, 0) + 1
    parts = ["\nClaims\n", *map(_claim, verdicts)]
    parts += ["\n", ", ".join(f"{n} {word}" for word, n in counts.items()), f"\n{EMBEDDED * study.embedded}{HERE}\n"]
    sys.stdout.write("".join(parts))
    _figures(study, [r for r in rows if r.model == study.model])  # what several models do has no mean
    sys.stdout.write(_elsewhere(study))


def _claim(v: Verdict) -> str:
    c, (mean, low, high) = v.claim, v.difference
    sign = ">" if c.direction == "greater" else "<"
    lines = [
        f"  {c.says} ({c.id})",
        f"    {c.basis:<9} {c.where}: {c.method} {sign} {c.against} in {c.metric}{f' ({c.sure})' if c.sure else ''}",
    ]
    if v.pairs:
        bounds = span(low, high, 3)  # one concept has no spread to resample
        lines.append(
            f"    measured  {v.means[0]:z.3f} and {v.means[1]:z.3f}, difference {mean:+z.3f}{bounds}, "
            f"{v.side} of {counted(len(v.concepts), 'concept')} on its side"
            + (f", {counted(v.left_out, 'pair')} left out" if v.left_out else "")
        )
    lines.append(f"    verdict   {v.word}{': ' * bool(v.why)}{v.why}")
    return "\n".join(lines) + "\n"


def _figures(study: Study, rows: Sequence[Row]) -> None:
    """Writes the paper's figures beside ours; each keeps its own column and scale."""
    found = reported(study, rows)
    if not found:
        sys.stdout.write("\nFigures: no table of the paper names a method that was run here (leaderboards/papers)\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for heading, side in (("table", "left"), ("method", "left"), ("metric", "left"), ("reported", "right"),
                          (f"measured, {' and '.join(study.methods)}", "right"), ("as", "left")):  # fmt: skip
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    for f in (f for f in found if f.name):
        here = "—" if f.here is None else f"{f.here:z.3f}"
        table.add_row(*map(Text, (f.where, f.label, f.metric, f"{f.value:g}", here, f.name)))
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = 140
    sys.stdout.write(
        "\nFigures: reported on the paper's model and data, measured on ours; not to be subtracted; —: not run\n"
    )
    if table.row_count:
        console.print(table)
    if not table.row_count:
        sys.stdout.write("".join(_printed(study)))
    without = dict.fromkeys(f.metric for f in found if not f.name)
    if without:
        sys.stdout.write(f"No value of these names here: {', '.join(without)} (leaderboards/papers has the figures)\n")


def _printed(study: Study) -> Iterator[str]:
    """Yields the tables that the claims are from as the paper prints them, where no value here goes by their names."""
    claimed = {(c.where.partition(",")[0], c.where.partition(", ")[2].split(" ")[0]) for c in study.claims}
    for t in study.paper.tables if study.paper else ():
        number, _, metric = t.where.partition(",")
        if (number.partition(" (")[0], metric.strip().split(" ")[0]) in claimed:
            yield f"  {t.where} ({t.model}): {', '.join(c.metric for c in t.columns)}\n"
            for label, cells in t.values.items():
                figures = ("—" if c is None else f"{c.value if isinstance(c, Cell) else c:g}" for c in cells)
                yield f"    {label}: {', '.join(figures)}\n"


def _elsewhere(study: Study) -> str:
    """Returns what the paper used and this machine was not asked to, and the command that would."""
    tables = (
        dict.fromkeys(f"{t.model}, on {t.dataset.replace('set not', 'a set not')}" for t in study.paper.tables)
        if study.paper
        else {}
    )
    lines = ["\nNot run here", *(f"  {t}" for t in tables)]
    methods = ",".join(dict.fromkeys(m for ms in study.methods.values() for m in ms))
    words = ["-m", f"+method={methods}", f"model={_own_model(study)}", "model.path=FOLDER", "dataset=folder",
             "dataset.path=FOLDER", "concept=all", "seed=0,1,2", "protocol=full", "tuned=none"]  # fmt: skip
    lines += ["  With the model as a diffusers folder, and the pictures as a dataset folder, on a GPU:",
              f"    python -m bench plan {shlex.join(words)}", "  and the same without `plan`; then",
              "    python -m bench leaderboard runs"]  # fmt: skip
    return "\n".join(lines) + "\n"


def _own_model(study: Study) -> str:
    """Returns the model of conf/model that the paper used first; MODEL where it is none of them."""

    def plain(text: str) -> str:
        return re.sub(r"[^a-z0-9]", "", text.lower().replace("stable diffusion", "sd"))

    named = [plain(t.model) for t in study.paper.tables] if study.paper else []
    known = sorted(paths.choices("model"), key=len, reverse=True)
    return next((k for text in named for k in known if plain(k.removesuffix("-dev")) in text), "MODEL")
