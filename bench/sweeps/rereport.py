"""A finished run's page rendered again, from what the store still holds; nothing is made."""

from __future__ import annotations

import dataclasses
import json
import logging
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.grid import NOVELTY, Cell, Prompt, PromptGrid
from bench.plan import Plan
from bench.row import Row
from bench.store import Store
from bench.sweeps.rerun import COMMAND, overrides, plan, read

if TYPE_CHECKING:
    from bench.sides import Probe

log = logging.getLogger("bench")


class _Gone(Exception):
    """A stage that a page would show is not in the store."""


class Kept(Store):
    """A store that is only read."""

    def once(self, stage: str, key: str, about: dict[str, Any], fill: Callable[[Path], object]) -> None:
        """Does nothing where a stage is there.

        Raises:
            _Gone: it is not.
        """
        if not self.has(stage, key):
            raise _Gone(f"{self.path(stage, key)}")


def found(run: Path, trust: bool = False) -> tuple[Row, Plan, Kept]:
    """Returns a run's row, its plan with the keys the row has, and the store they are of.

    The prompts are those its pictures were made for, also where the dataset has changed since.

    Args:
        run: its folder, `<root>/<method>/<name>`, or the row.json in it.
        trust: whether its command may name code of other packages.

    Raises:
        BenchError: there is no row, or it cannot be planned here.
    """
    path = run if run.suffix == ".json" else run / "row.json"
    row = read(path)
    root = path.resolve().parent.parent.parent
    if not (root / "store").is_dir():
        raise BenchError(f"{path}: no store beside it; a run's folder under its root would be right")
    planned = plan(row, overrides(row, trust), str(root), trust)
    keys = {k: v for k, v in row.fingerprints.items() if k != "concept_content"}
    missing = [stage for stage in ("train", "base", "generate", "score") if stage not in keys]
    if missing:
        raise BenchError(f"{path}: fingerprints.{missing[0]} is missing; a row as a run writes it would be right")
    store = Kept(root)
    grid = asked(store.path("base", keys["base"])) or planned.grid
    config = planned.config | {"_given": shlex.split(row.provenance["command"])[len(COMMAND) :]}  # as it was given
    return row, dataclasses.replace(planned, config=config, keys=keys, grid=grid), store


def asked(folder: Path) -> PromptGrid | None:
    """Returns what a folder of pictures was asked for, as its manifest says; None where it has none."""
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        cells = [Cell(prompt=Prompt(**{k: e[k] for k in Prompt.model_fields if k in e}), seed=e["seed"]) for e in said]
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path}: not a manifest of pictures: {str(error).splitlines()[0]}") from None
    return PromptGrid(cells=cells)


def rereport(run: Path, to: Path | None, trust: bool = False) -> Path:
    """Renders a run's page again. Returns where it lies.

    Args:
        run: its folder.
        to: the file to write; the run's own `report.html` if left out.
        trust: whether its command may name code of other packages.
    """
    from bench.page.report import write_report

    row, planned, store = found(run, trust)
    folder = run.parent if run.suffix == ".json" else run
    return write_report(planned, row, store, _attacks(planned, store), to or folder / "report.html")


def _attacks(planned: Plan, store: Kept) -> list[Probe]:
    """Returns the attacks' pictures as far as they are there."""
    if not any(name in planned.keys for name in planned.config["protocol"]["attacks"] or ()):
        return []
    from bench.attacks.stage import Attacks
    from bench.stages.training import load_adapter

    def absent() -> Any:
        raise _Gone("a model is not loaded for a page")

    if "inversion" in planned.keys and NOVELTY not in planned.keys:
        log.warning("the control of the inversion, of an earlier kind, is left out")
    out: list[Probe] = []
    try:
        for probe in Attacks(planned, store, absent, load_adapter(store, planned.keys["train"])).probes():
            out.append(probe)
    except (_Gone, OSError) as error:
        log.warning("attacks from %s on are left out: what they made is gone", error)
    return out
