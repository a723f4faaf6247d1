"""The forecast of a command, in words: runs, stages, hours, memory and disk."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import hub
from bench.backbone.files import resolve
from bench.forecast.past import BASE, OWN, SCORE, Past
from bench.forecast.steps import ATTACK, NAMES, TRAIN, Step, guess, unique
from bench.forecast.vram import TRAINED, Need, count, need
from bench.plan import Plan
from bench.words import counted

LIBRARIES = 1e9  # bytes of a process with its libraries, on Linux without a GPU


def write(planned: Sequence[Plan], begins: bool = False) -> None:
    """Writes the forecast to stdout; the plans are of one root, and `begins` says whether they are run now."""
    from rich.console import Console
    from rich.table import Table

    past = Past(Path(planned[0].config["root"]))
    there = sum(p.there for p in planned)
    every = unique(planned)
    left = {s: p for s, p in every.items() if not past.there(s.stage, s.key)}
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("")
    for heading in ("in all", "there", "left", "time left"):
        table.add_column(heading, justify="right", no_wrap=True)
    total, unknown = 0.0, 0
    for stage in (TRAIN, BASE, OWN, ATTACK, SCORE):
        asked, open_ = ([s for s in some if s.stage == stage] for some in (every, left))
        if not asked:
            continue
        times = [guess(s, left[s], past).seconds for s in open_]
        known = [t for t in times if t is not None]
        total, unknown = total + sum(known), unknown + len(times) - len(known)
        said = f"{span(sum(known))}" if len(known) == len(times) else "not known"
        table.add_row(NAMES[stage], *(str(n) for n in _counts(asked, open_)), said if open_ else "")
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = 120
    console.print(f"{counted(len(planned), 'run')}, {there} of them there already")
    console.print(table)
    lines = [("time", _time(total, unknown)), ("memory", _memory(planned, past)), ("disk", _disk(planned, left, past))]
    lines += [("GPU" if k == 0 else "", s) for k, s in enumerate(_gpu(planned, past))]
    lines += [("source" if k == 0 else "", s) for k, s in enumerate(_sources(left, past))]
    sys.stdout.write("".join(f"{label:<8}{text}\n" for label, text in lines))
    end = "." if begins else "; nothing was started."
    sys.stdout.write(f"An estimate, on machines like those the rows were made on{end}\n")


def _counts(asked: Sequence[Step], left: Sequence[Step]) -> tuple[int, int, int]:
    """Returns how many in all, there and left: pictures where it is pictures, else stages."""
    every, rest = (sum(s.pictures or 1 for s in some) for some in (asked, left))
    return every, every - rest, rest


def span(seconds: float) -> str:
    """Returns about how long: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _time(total: float, unknown: int) -> str:
    more = f", and {counted(unknown, 'stage')} of which nothing is known" if unknown else ""
    if unknown and not total:
        return "not known: no run of this method or model has finished here or on a board"
    return f"about {span(total)} ({total / 3600:.2f} h), one run after the other{more}"


def _memory(planned: Sequence[Plan], past: Past) -> str:
    """Returns the memory of the largest run: a process, the model, the judges, and what is trained."""
    largest, judges, trained = 0, 0, 0.0
    for plan in planned:
        folders = [plan.model_folder, *([plan.model_lora] if plan.model_lora else [])]
        largest = max(largest, 4 * sum(map(count, folders)))
        specs = hub.encoders(plan.config["dataset"]["encoders"]).values()
        judges = max(judges, sum(4 * count(resolve(e["path"])) for e in specs if e["path"]))
        rows, _ = past.like(plan.method, plan.config["model"]["name"])
        trained = max([trained, *(TRAINED * r.cost.get("parameters", 0) for r in rows)])
    total = LIBRARIES + largest + judges + trained
    return (
        f"about {_size(total)}: libraries {_size(LIBRARIES)}, model {_size(largest)}, judges {_size(judges)}, "
        f"what is trained {_size(trained)}; activations come on top"
    )


def _gpu(planned: Sequence[Plan], past: Past) -> list[str]:
    """Returns what each method takes of a GPU on each model, the largest of its runs."""
    needs: dict[str, Need] = {}
    for plan in planned:
        if plan.config["model"]["device"] == "cpu":
            continue
        for training in plan.trainings:
            about = plan.config["model"]
            name = f"{training.method} on {about['name']} in {about['dtype']}"
            found = need(plan, training, past)
            needs[name] = max(needs.get(name, found), found, key=lambda n: n.total)
    return [
        f"{name}: about {_size(n.total)} (model {_size(n.parts)}, what is trained {_size(n.trained)}, activations "
        f"about {_size(n.training)}; a picture at a time about {_size(n.picture)})"
        for name, n in needs.items()
    ]


PAGE = 4  # a picture lies in the store, and in the report's page as text, there often twice: among the worst and best


def _disk(planned: Sequence[Plan], left: dict[Step, Plan], past: Past) -> str:
    """Returns what would be written: pictures as large as the references, what trainings leave, and what is free."""
    references = [p for p in planned[0].concept.image_paths() if p.is_file()]
    one = sum(p.stat().st_size for p in references) / max(len(references), 1)
    total = sum(step.pictures * one * PAGE for step in left)
    for step, plan in left.items():
        if step.stage == TRAIN:
            rows, _ = past.like(step.method, plan.config["model"]["name"])
            total += 4 * max((r.cost.get("parameters", 0) for r in rows), default=0)
    root = past.store.root.absolute()
    free = shutil.disk_usage(next(p for p in (root, *root.parents) if p.exists())).free
    short = "" if free > 2 * total else ": too little"
    return f"about {_size(total)} in {past.store.root}, where {_size(free)} are free{short}"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _sources(left: dict[Step, Plan], past: Past) -> list[str]:
    """Returns where the times are from, each once."""
    found = dict.fromkeys(guess(step, plan, past).source for step, plan in left.items())
    return [s for s in found if s] or ["nothing is left to make"]
