"""Pictures made elsewhere: checked for completeness, taken into the store, and scored as a run's own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

from bench.errors import BenchError
from bench.grid import Cell, PromptGrid
from bench.pictures import read_picture
from bench.plan import Plan
from bench.store import Store, key_of, write_text

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def wanted(grid: PromptGrid) -> list[dict[str, object]]:
    """Returns what is to be made: file, prompt and seed of every picture."""
    return [
        {"file": f"{c.key}.png", "channel": c.prompt.channel, "prompt": c.prompt.complete, "seed": c.noise_seed()}
        for c in grid.cells
    ]


def write_wanted(plan: Plan, path: Path) -> None:
    """Writes the list of pictures a folder must hold to be scored."""
    write_text(path, json.dumps(wanted(plan.grid), indent=1) + "\n")


def find(folder: Path, cell: Cell) -> Path | None:
    """Returns a cell's picture: `concept-00-0.png`, or `concept/0/0.png` in a folder a prompt."""
    stems = (folder / cell.key, folder / cell.prompt.channel / str(cell.prompt.index) / str(cell.seed))
    return next((p for stem in stems for s in SUFFIXES if (p := stem.with_name(stem.name + s)).is_file()), None)


def located(folder: Path, grid: PromptGrid) -> dict[str, Path]:
    """Returns where every cell's picture lies, each looked at.

    Raises:
        BenchError: some are missing or unreadable; nothing was computed.
    """
    if not folder.is_dir():
        raise BenchError(f"--images {folder}: no such folder")
    found = {c.key: find(folder, c) for c in grid.cells}
    missing = [key for key, path in found.items() if path is None]
    if missing:
        raise BenchError(
            f"--images {folder}: {len(missing)} of {len(found)} pictures are missing, {missing[0]}.png the first; "
            f"--list FILE writes what is asked for"
        )
    whole = {key: path for key, path in found.items() if path is not None}
    for path in whole.values():
        read_picture(path)
    return whole


def taken_in(plan: Plan, folder: Path, name: str) -> Plan:
    """Takes a folder's pictures into the store. Returns the plan of a run whose pictures they are."""
    from bench.adapter import Adapter

    pictures, store = located(folder, plan.grid), Store(Path(plan.config["root"]))
    content = {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in pictures.items()}
    key = key_of({"outside": content})

    def taken(into: Path) -> None:
        for cell, path in pictures.items():
            read_picture(path).save(into / f"{cell}.png")

    store.once("generate", key, {"method": name}, taken)
    store.once("train", key, {"method": name}, Adapter(answers="pictures made elsewhere").save)
    keys = plan.keys | {"train": key, "generate": key, "score": key_of({"plan": plan.keys["score"], "outside": key})}
    return dataclasses.replace(plan, method=name, hyperparameters={}, tuned=False, keys=keys)
