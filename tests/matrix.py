"""Every kind of model × every method × every task it claims: the random networks, the cases and a run of each.

The test files beside take a class or two each, so that several processes share them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from bench.__main__ import main
from bench.row import Row
from tests import tiny
from tools.methods_page import methods

Case = tuple[str, str, str]  # method, network, task
CONCEPTS = {"subject": "whole_cat", "style": "style_ink", "subject_style": "cat_in_ink", "multi": "cat_and_poodle",
            "erase": "erase_cat", "roundtrip": "roundtrip_cat"}  # fmt: skip
LITTLE = {"steps": 1, "extractor_steps": 1, "prior_images": 1, "anchor_images": 2, "denoise_steps": 2, "rank": 1}


@dataclasses.dataclass(frozen=True)
class Network:
    """A kind of random network: what writes it, what it predicts, and its own settings."""

    write: Callable[[Path], Path]
    family: str
    given: tuple[str, ...] = ()


T5 = ("model.max_sequence_length=20",)
NETWORKS = {
    "flow": Network(tiny.flow_folder, "flow"),
    "epsilon": Network(tiny.unet_folder, "epsilon"),
    "v": Network(lambda p: tiny.unet_folder(p, "v_prediction"), "v"),
    "sdxl": Network(tiny.sdxl_folder, "epsilon"),
    "sd35": Network(lambda p: tiny.flow_folder(p, t5=True), "flow", given=T5),
    "flux": Network(tiny.flux_folder, "flow", given=(*T5, "++model.resolution=64")),
    "klein": Network(tiny.flux2_folder, "flow", given=("model.max_sequence_length=40", "++model.resolution=64")),
}


def served(key: str) -> dict[str, Any]:
    """Returns the methods that say they serve a network's family."""
    return {n: c for n, c in methods().items() if NETWORKS[key].family in c.families}


def cases(*keys: str) -> list[Case]:
    """Returns every (method, network, task), networks outermost: a process keeps one model resident."""
    return [(name, key, task) for key in keys for name, cls in served(key).items() for task in cls.tasks]


def turns(*keys: str) -> list[Case]:
    """Returns as `cases` does, of a method's tasks one on each network, in turn."""
    return [
        (name, key, cls.tasks[(k + turn) % len(cls.tasks)])
        for turn, key in enumerate(keys)
        for k, (name, cls) in enumerate(served(key).items())
    ]


@cache
def folder_of(network: str, root: Path) -> Path:
    """Writes a random network once and returns its folder."""
    return NETWORKS[network].write(root / network)


def request(name: str, network: str, task: str, folder: Path, runs: Path) -> list[str]:
    """A run of next to nothing, on a random network."""
    cls, family = methods()[name], NETWORKS[network].family
    concept = CONCEPTS[task] if "erase" not in cls.tasks or task != "multi" else "erase_cat_and_rocket"
    known = {f.name for f in dataclasses.fields(cls)}
    given = [f"method.{k}={v}" for k, v in LITTLE.items() if k in known]
    return [
        f"+method={name}", f"concept={concept}", f"model=sticker-{'flow' if family == 'flow' else 'unet'}",
        f"model.path={folder}", f"model.family={family}", *NETWORKS[network].given,
        "model.name=tiny", "model.steps=2", "tuned=none", "customizer=none",
        "protocol.seeds={concept: 1, part: 1, class: 1, unrelated: 1}",
        "protocol.metrics=[metrics.preservation.drift,metrics.preservation.restoration]",
        "protocol.attacks.prefix.steps=2", "protocol.attacks.inversion.steps=2", "protocol.attacks.words.length=1",
        *(f"protocol.attacks.{attack}.seeds=1" for attack in ("words", "prefix", "inversion")),
        f"root={runs}", *given,
    ]  # fmt: skip


def row_of(case: Case, root: Path) -> Row:
    """Runs a case and returns its row."""
    name, network, task = case
    runs = root / "runs" / network
    asked = request(name, network, task, folder_of(network, root), runs)
    assert main(asked) == 0
    (path,) = runs.glob(f"{name}/{asked[1].removeprefix('concept=')}-*/row.json")
    return Row.model_validate_json(path.read_text())
