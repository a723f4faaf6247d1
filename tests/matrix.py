"""Every kind of model × every method × every task it claims: the random networks, the cases and a run of each.

The test files beside take a class or two each, so that several processes share them.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

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


EMBEDDED = ("flow", "epsilon")


@cache
def served(key: str) -> dict[str, Any]:
    """Returns the methods that say they serve a network's family."""
    return {n: c for n, c in methods().items() if NETWORKS[key].family in c.families}


def cases(*keys: str) -> list[Case]:
    """Returns every (method, network, task), networks outermost: a process keeps one model resident."""
    return [(name, key, task) for key in keys for name, cls in served(key).items() for task in cls.tasks]


def turns(*keys: str, shift: int = 0, variants: bool = True) -> list[Case]:
    """Returns as `cases` does, one task a method and network: those that claim the same tasks take them in turn.

    A shift has them take others. Without variants one method of a class (`dpg`, not `dpg_mean`) stands for all where
    the network is not embedded.
    """
    taken = []
    for turn, key in enumerate(keys):
        first = {cls: name for name, cls in reversed(served(key).items())}
        before: Counter[tuple[str, ...]] = Counter()
        for name, cls in served(key).items():
            if variants or key in EMBEDDED or first[cls] == name:
                taken.append((name, key, cls.tasks[(before[cls.tasks] + turn + shift) % len(cls.tasks)]))
                before[cls.tasks] += 1
    return taken


def whole(*keys: str) -> list[Any]:
    """Returns `cases` as parameters: all of them on what the embedded world is made of.

    Of every other kind of network a turn is taken, another than in bfloat16; the rest is marked `matrix`.
    """
    taken = turns(*NETWORKS, shift=1)
    return [
        pytest.param(case, marks=() if case in taken or case[1] in EMBEDDED else pytest.mark.matrix, id="-".join(case))
        for case in cases(*keys)
    ]


@cache
def folder_of(network: str, root: Path) -> Path:
    """Writes a random network once and returns its folder. Its autoencoder is as small: decoding would take longest."""
    from diffusers import AutoencoderKL

    folder = NETWORKS[network].write(root / network)
    shape = AutoencoderKL.load_config(folder / "vae")
    if shape["_class_name"] == "AutoencoderKL":
        torch.manual_seed(0)
        small = {"block_out_channels": (8,) * len(shape["block_out_channels"]), "layers_per_block": 1}
        AutoencoderKL.from_config(shape | small | {"norm_num_groups": 4}).save_pretrained(folder / "vae")
    return folder


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
        "protocol.seeds={concept: 1, part: 1, alias: 0, compose: 0, class: 1, neighbour: 0, unrelated: 1, empty: 0}",
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
