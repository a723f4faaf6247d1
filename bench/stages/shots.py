"""Every picture of a run: the sides of its grid, then the attacks on what it erased."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.grid import surrogates
from bench.sides import Probe, Side, shoot
from bench.stages.training import beneath, load_adapter
from bench.store import DONE, Store

if TYPE_CHECKING:
    from bench.adapter import Adapter
    from bench.backbone.base import Backbone
    from bench.plan import Plan


def pictures(plan: Plan, store: Store, backbone: Callable[[], Backbone]) -> list[Probe]:
    """Makes every picture that is missing. Returns what is to be scored: the plan's grid first, then the attacks'."""
    keys = plan.keys
    sides = [Side("none", "base", keys["base"], plan.grid, False, "base model")]
    if "surrogate" in keys:
        sides.append(Side("surrogate", "base", keys["surrogate"], surrogates(plan.grid), True, "surrogate"))
    if "learned" in keys:
        learned = load_adapter(store, plan.trainings[0].key)
        sides.append(Side("learned", "generate", keys["learned"], plan.grid, True, "before erasing", [learned]))
    folders = {side.source: shoot(side, plan, store, backbone) for side in sides}
    adapter = load_adapter(store, keys["train"])
    folders["model"] = _customized(plan, adapter, store, backbone, folders.get("learned", folders["none"]))
    probes = [Probe(plan.grid, folders, plan.concept)]
    if adapter.answers:
        return probes  # pictures alone cannot be attacked
    from bench.attacks.stage import Attacks

    return [*probes, *Attacks(plan, store, backbone, adapter).probes()]


def _customized(plan: Plan, adapter: Adapter, store: Store, backbone: Callable[[], Backbone], before: Path) -> Path:
    """Makes the method's own pictures. Returns their folder."""
    key = plan.keys["generate"]
    if not adapter.answers and not adapter.empty and not store.has("generate", key):
        rules = {"gate": plan.config["gate"], "consistency_scale": adapter.consistency_scale}
        label = f"customized, {plan.method}"
        side = Side("model", "generate", key, plan.grid, True, label, [adapter], rules)
        with beneath(plan.trainings[-1], store, backbone):
            return shoot(side, plan, store, backbone)

    def again(folder: Path) -> None:
        if adapter.answers == "references":
            _answer(plan, folder)
            return
        for path in sorted(before.glob("*.*")):  # asked in plain words, the untouched model makes the same again
            if path.name != DONE:
                shutil.copy2(path, folder / path.name)

    store.once("generate", key, {"method": plan.method}, again)
    return store.path("generate", key)


def _answer(plan: Plan, folder: Path) -> None:
    """Answers every prompt of the concept with a reference picture, and every other with the first."""
    from bench.backbone.files import squares
    from bench.pictures import read_picture

    images = [read_picture(p) for p in plan.concept.image_paths()]
    drawn = squares(images, images[0].size[0])
    for k, cell in enumerate(plan.grid.cells):
        drawn[k % len(drawn)].save(folder / f"{cell.key}.png")
