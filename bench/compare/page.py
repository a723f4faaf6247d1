"""A comparison as one page, both methods' pictures and the untouched model's side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.compare.differences import Difference
from bench.compare.show import balance, costs, labels, note, split, told
from bench.compare.sides import Side, pictures
from bench.grid import Prompt
from bench.page.grids import SEEDS, Entry, Shown, Source
from bench.page.picture import picture
from bench.page.render import render
from bench.rows.place import task_of
from bench.show import ARROWS
from bench.store import write_text
from bench.sweeps.rereport import asked


def write(path: Path, first: Side, second: Side, found: Sequence[Difference], unit: str) -> None:
    """Writes the page."""
    names, (main, rest) = labels(first, second), split(found, task_of(first.rows[0]))
    context = {"names": names, "rows": (first.rows[0], second.rows[0]), "counts": (len(first.rows), len(second.rows)),
               "concepts": list(dict.fromkeys(r.concept for r in first.rows)), "main": main, "rest": rest,
               "told": told(first, second), "costs": costs(first, second), "balance": balance(main, names),
               "arrows": ARROWS, "note": note(found, unit), "channels": gallery(first, second, names),
               "seeds_shown": SEEDS}  # fmt: skip
    write_text(path, render("compare.html", **context))


def gallery(first: Side, second: Side, names: tuple[str, str]) -> list[tuple[str, list[Entry]]]:
    """Returns channel → the prompts both answered, the two's pictures that differ most in their scores first."""
    if not (first.run and second.run) or first.rows[0].concept != second.rows[0].concept:
        return []
    sources = (Source("none", "base model", False), Source("model", names[0], True, "before"),
               Source("model", names[1], True, "after"))  # fmt: skip
    (row, run), (row2, run2) = (first.rows[0], first.run), (second.rows[0], second.run)
    folders = [run.path("base", row.fingerprints["base"]), run.path("generate", row.fingerprints["generate"]),
               run2.path("generate", row2.fingerprints["generate"])]  # fmt: skip
    grids = [asked(f) or asked(run.path("base", row.fingerprints["base"])) for f in folders]
    files: list[dict[Any, str]] = [
        {(c.prompt.channel, c.prompt.base, c.seed): f"{c.key}.png" for c in g.cells} if g else {} for g in grids
    ]
    order = apart(first, second)
    own = grids[0]
    prompts: dict[tuple[str, str], Prompt] = {}
    for cell in own.cells if own else ():
        if all((cell.prompt.channel, cell.prompt.base, cell.seed) in f for f in files):
            prompts.setdefault((cell.prompt.channel, cell.prompt.base), cell.prompt)

    def entry(prompt: Prompt) -> Entry:
        every = (s for c, p, s in files[0] if (c, p) == (prompt.channel, prompt.base))
        seeds = [s for s in every if all((prompt.channel, prompt.base, s) in f for f in files)][:SEEDS]
        at = [(prompt.channel, prompt.base, s) for s in seeds]
        lines = [
            (source, [Shown(k[2], picture(folder / f[k]), "", ()) for k in at])
            for source, folder, f in zip(sources, folders, files, strict=True)
        ]
        return Entry(prompt, order.get((prompt.channel, prompt.base), {}), seeds, lines)

    out: dict[str, list[Entry]] = {}
    ranked = sorted(prompts.values(), key=lambda p: -_far(order.get((p.channel, p.base), {})))
    for channel in dict.fromkeys(c for c, _ in prompts):
        out[channel] = [entry(p) for p in ranked if p.channel == channel]
    return list(out.items())


def apart(first: Side, second: Side) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """Returns (channel, prompt) → metric → both means and `apart`, their difference over the metric's spread."""
    one, other = pictures(first), pictures(second)
    common = [k for k in one if k in other]
    spread = {m: float(np.std([v for k in common if k[0] == m for v in (one[k], other[k])])) for m, _ in common}
    kept: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = {}
    for metric, (channel, prompt, seed) in common:
        pair = (one[metric, (channel, prompt, seed)], other[metric, (channel, prompt, seed)])
        kept.setdefault((channel, prompt), {}).setdefault(metric, []).append(pair)
    out: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for at, metrics in kept.items():
        for metric, pairs in metrics.items():
            a, b = np.mean(pairs, axis=0).tolist()
            far = abs(a - b) / spread[metric] if spread[metric] else 0.0
            out.setdefault(at, {})[metric] = {"first": a, "second": b, "apart": far}
    return out


def _far(scores: dict[str, dict[str, float]]) -> float:
    return sum(s["apart"] for s in scores.values()) / len(scores) if scores else 0.0
