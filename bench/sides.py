"""The sides of a comparison: which model answers which prompts, and where its pictures lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.generate import generate

if TYPE_CHECKING:
    from bench.adapter import Adapter
    from bench.backbone.base import Backbone
    from bench.concept import Concept
    from bench.grid import PromptGrid
    from bench.plan import Plan
    from bench.store import Store


@dataclass(frozen=True)
class Probe:
    """What is scored as a whole.

    Attributes:
        grid: what was asked.
        folders: source → its pictures of the grid.
        concept: what they are held against.
        plain: what the source `plain` was asked beyond the grid, to calibrate a detector on.
    """

    grid: PromptGrid
    folders: dict[str, Path]
    concept: Concept
    plain: PromptGrid | None = None


@dataclass(frozen=True)
class Side:
    """One side's pictures of a grid.

    Attributes:
        source: what it is called in tables of scores: `model`, `none`, `surrogate`, …
        stage: of the store, `base` where the untouched model answers, else `generate`.
        key: of the pictures.
        grid: what is asked.
        complete: whether it is asked with the concept's token or without.
        label: what the progress bar says.
        adapters: what is on the model.
        rules: of guidance and gates.
    """

    source: str
    stage: str
    key: str
    grid: PromptGrid
    complete: bool
    label: str
    adapters: Sequence[Adapter] = ()
    rules: dict[str, Any] | None = None


def shoot(side: Side, plan: Plan, store: Store, backbone: Callable[[], Backbone]) -> Path:
    """Makes a side's pictures where they are missing. Returns their folder."""
    options = {k: plan.config["model"][k] for k in ("steps", "guidance_scale", "batch_size")}
    about = {"source": side.source, "method": plan.method, "model": plan.config["model"]["name"], "asked": side.label}

    def draw(folder: Path) -> None:
        with applied(backbone(), side.adapters):
            rules = side.rules or {}
            generate(backbone(), side.grid, folder, complete=side.complete, label=side.label, **options, **rules)

    store.once(side.stage, side.key, about, draw)
    return store.path(side.stage, side.key)


@contextmanager
def applied(backbone: Backbone, adapters: Sequence[Adapter]) -> Iterator[list[str]]:
    """Puts adapters on the backbone together for a block. Yields the names their parts go by there."""
    try:
        names = [name for k, a in enumerate(adapters) for name in a.put(backbone, f"applied-{k}")]
        with backbone.using(names):
            yield names
    finally:
        backbone.clear()
