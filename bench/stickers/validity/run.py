"""Runs the whole check: every metric on its judge, on broken versions of it, and on generated pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.progress import track
from bench.stickers.check import draw, held_out_scenes
from bench.stickers.judges import area
from bench.stickers.oracle import read
from bench.stickers.validity import broken as faulty
from bench.stickers.validity.cases import Item, group_of, of_group
from bench.stickers.validity.measure import (
    Figure,
    Looks,
    auc_of,
    bootstrap,
    decisive,
    differs_by,
    measure,
    scores,
    worse_by,
)
from bench.stickers.world import ATTRIBUTES, caption

if TYPE_CHECKING:
    from bench.metric import Metric

SOUND = 0.8  # a sound judge's AUC, its interval's lower end


def flagged(auc: Figure, lost: Figure, change: float) -> list[str]:
    """Returns what gives a judge away: it no longer tells right from wrong, or is not the judge it was.

    Args:
        auc: of the judge under suspicion.
        lost: how much AUC it loses against the sound judge on the same items.
        change: how far its scores are from the sound judge's, in standard deviations.
    """
    found = [f"AUC {auc.value:.2f}"] if auc.low < SOUND else []
    found += [f"loses {lost.value:.2f} AUC"] if lost.low > 0 else []
    return found + ([f"other scores ({change:.1f} sd)"] if change > 0.05 else [])


def check(metrics: Sequence[Metric], judges: dict[str, Any], count: int) -> dict[str, Any]:
    """Measures on its judge, and on every broken version of it, every metric that there are cases for: none shows
    several things at once, and none is a set of pictures.
    """
    metrics = [m for m in metrics if not m.together and m.serves("subject", "style", "erase", "roundtrip")]
    items = {group: of_group(group, count) for group in dict.fromkeys(map(group_of, metrics))}
    broken, looks = {slot: faulty.faults(judge) for slot, judge in judges.items()}, Looks()
    out: dict[str, Any] = {}
    for m in track(metrics, "metrics against the truth", len(metrics)):
        judge = judges[m.needs]
        sound, values = measure(m, judge, items[group_of(m)], looks)
        entry: dict[str, Any] = {"title": m.title, "group": m.group, "judge": judge.name, "version": m.version,
                                 "items": len(items[group_of(m)]), **asdict(sound), "broken": {}}  # fmt: skip
        for fault, other in broken[m.needs].items():
            if fault == "shuffled captions" and group_of(m) in ("fidelity", "copying", "likeness"):
                continue  # it reads none
            found = decisive(m, other, items[group_of(m)], looks)
            auc, lost = auc_of(found, group_of(m)), worse_by(values, found, group_of(m))
            exposed = flagged(auc, lost, differs_by(values, found))
            entry["broken"][fault] = {"auc": asdict(auc), "lost": asdict(lost), "exposed_by": exposed}
        out[m.name] = entry
    return out


def on_generated(metrics: Sequence[Metric], judges: dict[str, Any], model: str, count: int) -> dict[str, Any]:
    """Checks the metrics of prompt following on pictures a model drew, the oracle telling which are right."""
    scenes = held_out_scenes(count)
    images = draw(model, scenes)
    seen = read(images)
    right = np.array([all(seen[a][i] == getattr(s, a) for a in ATTRIBUTES) for i, s in enumerate(scenes)])
    items = [Item(caption(s), {"right": picture}) for s, picture in zip(scenes, images, strict=True)]
    looks = Looks()
    out: dict[str, Any] = {"model": model, "pictures": count, "followed": round(float(right.mean()), 4), "auc": {}}
    for m in (m for m in metrics if m.group == "prompt following"):
        values = scores(m, looks.at(judges[m.needs], items, "right"))

        def auc(pick: Any, values: Any = values) -> float:
            good, bad = values[pick][right[pick]], values[pick][~right[pick]]
            return area(good, bad) if len(good) and len(bad) else 0.5

        out["auc"][m.name] = asdict(bootstrap(auc, count))
    return out
