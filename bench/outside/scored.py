"""What was made elsewhere: pictures, complete or refused, and LoRA files, scored as a run's own."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import hub
from bench.adapter import LORA_FILE
from bench.config import NAME
from bench.errors import BenchError
from bench.found import names
from bench.grid import Cell, PromptGrid
from bench.outside import lora_file
from bench.pictures import read_picture
from bench.plan import Plan, make
from bench.store import Store, key_of, write_text
from bench.words import counted

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


def score_outside(options: argparse.Namespace, args: Sequence[str]) -> int:
    """Does what `python -m bench score` was asked for. Returns the exit code.

    Raises:
        BenchError: something in it cannot be met.
    """
    from bench import show
    from bench.compose import compose
    from bench.run import preflight, run

    given = [o for o in (options.images, options.lora, options.list) if o]
    if len(given) != 1:
        raise BenchError("score: one of --images FOLDER, --lora FILE and --list FILE would be right")
    if options.images and options.trigger is not None:
        raise BenchError("score: --trigger goes with --lora FILE or --list FILE")
    if not options.lora and options.weight != 1.0:
        raise BenchError("score: --weight goes with --lora FILE")
    if not any(o.lstrip("+").startswith("concept=") for o in options.overrides):
        raise BenchError("score: concept=NAME would be right: what the pictures or the LoRA are to show")
    name = options.name or _name(options.lora)
    if not re.fullmatch(NAME, name) or name in names():
        raise BenchError(f"--name {name!r}: letters, digits, '.', '_' and '-', and no method's name, would be right")
    config, method = compose(["+method=none", *options.overrides])
    command = shlex.join(["python", "-m", "bench", "score", *args])
    config |= {"_made": {"command": command}, "_given": []}  # the overrides alone would not make this row
    if options.list:
        plan = make(config, method, trigger=options.trigger)
        write_wanted(plan, options.list)
        sys.stdout.write(f"{options.list}: {counted(len(plan.grid.cells), 'picture')}\n")
        return 0
    if options.lora:
        said: dict[str, Any] = {"weight": options.weight, "trigger": options.trigger}
        config |= {"model": hub.model(config["model"])}
        plan = lora_file.taken_in(config, options.lora, name=name, **said)
    else:
        plan = taken_in(make(config, method), options.images, name)
    preflight(plan)
    row, there = run(plan)
    show.show(row, plan, there)
    return 0 if row.status == "ok" else 1


def _name(file: Path | None) -> str:
    """Returns what a row is called that nobody named: as its file, or its folder where diffusers named the file."""
    own = file.parent.name if file and file.name == LORA_FILE else file.stem if file else ""
    stem = re.sub(r"[^\w.-]+", "-", own).strip("-.")
    return stem if stem and stem not in names() else "outside"


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
