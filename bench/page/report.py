"""One run's page: a single HTML file with its pictures inside, readable without a network or a script."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import headline, show
from bench.found import shown
from bench.metric import Metric, load_metrics
from bench.page.curves import POINTS, Curve, read_curves
from bench.page.grids import SEEDS, Source, channels
from bench.page.picture import Picture, picture
from bench.page.render import render
from bench.page.scores import Extremes, Scores, Shot
from bench.store import write_text

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.row import Row
    from bench.sides import Probe
    from bench.store import Store


COSTS = {"seconds": "seconds of training", "peak_memory_mib": "peak memory, MiB",
         "grad_forward_images": "pictures through the model with a gradient",
         "forward_images": "pictures through the model"}  # fmt: skip


@dataclass(frozen=True)
class Card:
    """A picture that stands out, and the untouched model's beside it."""

    shot: Shot
    asked: str
    before: Picture | None
    after: Picture | None


def write_report(plan: Plan, row: Row, store: Store, attacks: Sequence[Probe] = (), to: Path | None = None) -> Path:
    """Writes a run's page; what the run did not come to is left out. Returns where it lies.

    Args:
        plan: the run.
        row: its result, of any status.
        store: where its pictures, scores and training log lie.
        attacks: pictures asked for otherwise than in the plan's grid.
        to: the file; `<plan.folder>/report.html` if left out.
    """
    path = to or plan.folder / "report.html"
    write_text(path, render("report.html", **_context(plan, row, store, attacks)))
    return path


def _context(plan: Plan, row: Row, store: Store, attacks: Sequence[Probe]) -> dict[str, Any]:
    scores = Scores.read(store.path("score", plan.keys["score"]) / "scores.parquet")
    metrics = [m for m in load_metrics(plan.config["protocol"]["metrics"]) if isinstance(m, Metric)]
    folders = _folders(plan, store)
    main = (plan.grid, folders)
    prompts = {(c.prompt.channel, c.prompt.index): c.prompt.base for c in plan.grid.cells}
    return {
        "row": row,
        "concept": plan.concept,
        "verdict": headline.verdict(row, plan.concept.class_phrase),
        "values_used": show.values_used(row, plan),
        "groups": show.grouped(row),
        "heads": {names[0].partition("/")[0] for names in show.grouped(row).values()},
        "before": headline.before(row),
        "erases": plan.concept.scored_as in ("erase", "roundtrip"),
        "arrows": show.ARROWS,
        "ranges": _ranges(row),
        "kinds": {name.partition("/")[0]: value for name, value in row.measured.items()},
        "references": [(r, picture(plan.concept.folder / r.image), scores.means.get(("concept", i), {}))
                       for i, r in enumerate(plan.concept.references)],
        "drawn_over": scores.drawn_over(metrics, prompts),
        "channels": channels(*main, _sources(plan), scores, metrics) if folders else [],
        "attacks": [c for a in attacks for c in channels(a.grid, a.folders, _sources(plan), scores, metrics)],
        "tally": scores.tally(metrics),
        "extremes": _extremes(scores, metrics, [*([main] if folders else []), *((a.grid, a.folders) for a in attacks)]),
        "seeds_shown": SEEDS,
        "points": POINTS,
        "curves": _curves(plan, store),
        "command": _command(plan, row),
        "cost": [(COSTS.get(name, name.replace("_", " ")), f"{value:,.4g}" if value % 1 else f"{value:,.0f}")
                 for name, value in row.cost.items()],
        "provenance": _flat(row.provenance),
    }  # fmt: skip


def _sources(plan: Plan) -> list[Source]:
    """Returns whose pictures are shown, in order; the others of a probe are chance or a check."""
    erases = plan.concept.scored_as in ("erase", "roundtrip")
    first = "learned" if "learned" in plan.keys else "none"
    return [
        Source("none", "base model", False, "before" * (first == "none")),
        Source("learned", "before erasing", True, "before"),
        Source("control", "words at random", True),
        Source("model", "erased" if erases else "customized", True, "after"),
    ]


def _folders(plan: Plan, store: Store) -> dict[str, Path]:
    """Returns source → folder of the run's own grid; nothing where no picture was made."""
    folders = {"none": store.path("base", plan.keys["base"]), "model": store.path("generate", plan.keys["generate"])}
    if "learned" in plan.keys:
        folders["learned"] = store.path("generate", plan.keys["learned"])
    return folders if folders["model"].is_dir() else {}


def _extremes(
    scores: Scores, metrics: Sequence[Metric], probes: Sequence[Any]
) -> list[tuple[Extremes, dict[str, Any]]]:
    """Returns every metric's pictures at both ends, as cards, the ones of no folder left out."""
    where = {(c.prompt.channel, c.prompt.index, c.seed): (c, folders) for grid, folders in probes for c in grid.cells}

    def card(shot: Shot) -> Card:
        cell, folders = where[shot.channel, shot.prompt, shot.seed]
        before, after = (picture(folders[s] / f"{cell.key}.png") for s in ("none", "model"))
        return Card(shot, cell.prompt.complete, before, after)

    def cards(shots: Sequence[Shot]) -> list[Card]:
        return [card(s) for s in shots if (s.channel, s.prompt, s.seed) in where]

    found = [(e, {"worst": cards(e.worst), "best": cards(e.best)}) for e in scores.extremes(metrics, headline.GROUPS)]
    return [(e, ends) for e, ends in found if ends["worst"]]


def _command(plan: Plan, row: Row) -> str:
    """Returns the command of this one run, also where it was one of a sweep."""
    given = plan.config.get("_given")
    return f"python -m bench {shlex.join(shown(given))}" if given else str(row.provenance.get("command", ""))


def _flat(provenance: dict[str, Any]) -> list[tuple[str, Any]]:
    """Returns name → value without nesting; the command stands elsewhere on the page."""
    out: list[tuple[str, Any]] = []
    for name, value in provenance.items():
        out += value.items() if isinstance(value, dict) else [(name, value)] if name != "command" else []
    return out


def _ranges(row: Row) -> dict[str, tuple[float, float]]:
    """Returns metric → the range its values are drawn over; the channels of a metric share one."""
    points: dict[str, list[float]] = {}
    for name, value in row.measured.items():
        anchors = [a.value for source in row.anchors if (a := headline.anchor(row, source, name))]
        zero = [] if value.better == "higher" else [0.0]  # nearness to zero is what counts
        points.setdefault(name.partition("/")[0], []).extend([value.value, value.low, value.high, *anchors, *zero])
    return {metric: (min(p), max(p)) for metric, p in points.items()}


def _curves(plan: Plan, store: Store) -> list[Curve]:
    """Returns the training curves; those of a run that diverged lie in its own folder."""
    return read_curves(store.path("train", plan.keys["train"]) / "log.json") or read_curves(plan.folder / "log.json")
