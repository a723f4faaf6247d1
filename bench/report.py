"""One run's page: a single HTML file with its pictures inside, readable without a network."""

from __future__ import annotations

import base64
import io
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import show
from bench.curves import POINTS, Curve, read_curves
from bench.metric import Metric, load_metrics
from bench.store import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.grid import Prompt, PromptGrid
    from bench.plan import Plan
    from bench.row import Row
    from bench.sides import Probe
    from bench.store import Store

SEEDS = 10  # pictures of one prompt on the page; the others are in the store
SOURCES = ("none", "learned", "control", "model")  # whose pictures are shown
SIDE = 256  # a larger picture is embedded at this size

# (channel, prompt index) → metric → source → mean
Scores = dict[tuple[str, int], dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Picture:
    """An embedded picture and the width it is shown at, in CSS pixels."""

    src: str
    width: int


def write_report(plan: Plan, row: Row, store: Store, attacks: Sequence[Probe] = ()) -> None:
    """Writes `<plan.folder>/report.html`; what the run did not come to is left out.

    Args:
        plan: the run.
        row: its result, of any status.
        store: where its pictures, scores and training log lie.
        attacks: pictures asked for otherwise than in the plan's grid.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent / "templates")
    env = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    env.filters["number"] = lambda value: show.number(value).replace("-", "\N{MINUS SIGN}")
    write_text(plan.folder / "report.html", env.get_template("report.html").render(_context(plan, row, store, attacks)))


def _context(plan: Plan, row: Row, store: Store, attacks: Sequence[Probe]) -> dict[str, Any]:
    scores = _scores(store.path("score", plan.keys["score"]) / "scores.parquet")
    return {
        "row": row,
        "concept": plan.concept,
        "verdict": show.verdict(row),
        "values_used": show.values_used(row, plan),
        "groups": show.grouped(row),
        "before": show.before(row),
        "arrows": show.ARROWS,
        "ranges": _ranges(row),
        "kinds": {name.partition("/")[0]: value for name, value in row.measured.items()},
        "references": [(r, _picture(plan.concept.folder / r.image), scores.get(("concept", i), {}))
                       for i, r in enumerate(plan.concept.references)],
        "drawn_over": _drawn_over(plan, scores),
        "channels": _channels(plan, store, scores) + [c for a in attacks for c in _shown(a.grid, a.folders, scores)],
        "seeds_shown": SEEDS,
        "points": POINTS,
        "curves": _curves(plan, store),
        "command": _command(plan, row),
        "cost": [(name.replace("_", " "), f"{value:,.10g}") for name, value in row.cost.items()],
        "provenance": _flat(row.provenance),
    }  # fmt: skip


def _command(plan: Plan, row: Row) -> str:
    """Returns the command of this one run, also where it was one of a sweep."""
    given = plan.config.get("_given")
    return f"python -m bench {shlex.join(given)}" if given else str(row.provenance.get("command", ""))


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
        anchors = [a.value for source in row.anchors if (a := show.anchor(row, source, name))]
        zero = [] if value.better == "higher" else [0.0]  # nearness to zero is what counts
        points.setdefault(name.partition("/")[0], []).extend([value.value, value.low, value.high, *anchors, *zero])
    return {metric: (min(p), max(p)) for metric, p in points.items()}


def _scores(path: Path) -> Scores:
    """Returns the mean over seeds of every prompt; nothing where nothing was scored."""
    if not path.is_file():
        return {}
    import pandas as pd

    by = ["source", "metric", "channel", "prompt"]
    means = pd.read_parquet(path).groupby(by, sort=False, as_index=False)["value"].mean()
    out: Scores = {}
    for source, metric, channel, prompt, value in means.itertuples(index=False):
        out.setdefault((channel, prompt), {}).setdefault(metric, {})[source] = value
    return out


@dataclass(frozen=True)
class Points:
    """One metric drawn over another: a point a prompt, (x, after, before, prompt)."""

    name: str
    over: str
    points: list[tuple[float, float, float, str]]


def _drawn_over(plan: Plan, scores: Scores) -> list[Points]:
    """Returns what is drawn over something else; nothing where either was not measured."""
    metrics = {m.name: m for m in load_metrics(plan.config["protocol"]["metrics"]) if isinstance(m, Metric)}
    prompts = {(c.prompt.channel, c.prompt.index): c.prompt.base for c in plan.grid.cells}
    out = []
    for m in (m for m in metrics.values() if m.over in metrics):
        points = [
            (of[m.over]["model"], of[m.name]["model"], of[m.name]["none"], prompts.get(at, ""))
            for at, of in scores.items()
            if {"model", "none"} <= of.get(m.name, {}).keys() and "model" in of.get(m.over, {})
        ]
        out += [Points(m.title, metrics[m.over].title, sorted(points))] if points else []
    return out


def _channels(plan: Plan, store: Store, scores: Scores) -> list[tuple[str, list[dict[str, Any]]]]:
    """Returns channel → its prompts, each with its pictures; nothing where no picture was made."""
    folders = {"none": store.path("base", plan.keys["base"]), "model": store.path("generate", plan.keys["generate"])}
    if "learned" in plan.keys:
        folders["learned"] = store.path("generate", plan.keys["learned"])
    return _shown(plan.grid, folders, scores) if folders["model"].is_dir() else []


def _shown(grid: PromptGrid, folders: dict[str, Path], scores: Scores) -> list[tuple[str, list[dict[str, Any]]]]:
    """Returns channel → its prompts, each with the pictures of every source that is shown."""
    folders = {source: folder for source, folder in folders.items() if source in SOURCES}

    def entry(prompt: Prompt) -> dict[str, Any]:
        cells = [c for c in grid.cells if c.prompt == prompt]
        rows = {source: [_picture(f / f"{c.key}.png") for c in cells[:SEEDS]] for source, f in folders.items()}
        own = scores.get((prompt.channel, prompt.index), {})
        return {"prompt": prompt, "seeds": [c.seed for c in cells], "scores": own, **rows}

    return [(channel, [entry(p) for p in grid.prompts(channel)]) for channel in grid.channels()]


def _picture(path: Path) -> Picture | None:
    """Embeds a picture: a small one as it is, at twice its size; a large one reduced."""
    from PIL import Image, ImageOps

    if not path.is_file():
        return None
    with Image.open(path) as image:
        side = max(image.size)
        reduced = ImageOps.exif_transpose(image).convert("RGB")  # as the model sees it
    reduced.thumbnail((SIDE, SIDE))
    data = io.BytesIO()
    kind = "png" if side <= SIDE else "webp"
    reduced.save(data, kind)
    text = base64.b64encode(data.getvalue()).decode()
    return Picture(f"data:image/{kind};base64,{text}", min(2 * reduced.width, 160))


def _curves(plan: Plan, store: Store) -> list[Curve]:
    """Returns the training curves; those of a run that diverged lie in its own folder."""
    return read_curves(store.path("train", plan.keys["train"]) / "log.json") or read_curves(plan.folder / "log.json")
