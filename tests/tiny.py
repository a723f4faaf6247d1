"""Random-weight pipelines and what tests make of them; behind no score, ever."""

from __future__ import annotations

from pathlib import Path

from bench import backbone
from bench.backbone.base import Backbone
from bench.checkpoint import Checkpoint
from bench.concept import Concept
from bench.contract.tiny import MODEL, flow_folder, flux2_folder, flux_folder, sdxl_folder, unet_folder
from bench.data.concept_file import load
from bench.workbench import Workbench

__all__ = [
    "MODEL", "bench_of", "concept", "flow_folder", "flux2_folder", "flux_folder", "load_unet", "run_args",
    "sdxl_folder", "unet_folder",
]  # fmt: skip


def run_args(folder: Path, steps: int | None = 4) -> list[str]:
    """Overrides of runs that take a second: a random-weight U-Net, few steps, few pictures, two judges; no steps for
    a method that has none.
    """
    seeds = "protocol.seeds={concept: 1, class: 1, neighbour: 0, unrelated: 0, empty: 0}"
    metrics = "protocol.metrics=[metrics.dino.dino,metrics.clip_t.clip_t]"
    model = ["model=sticker-unet", "model.name=tiny", f"model.path={folder}", "model.steps=2"]
    return [*model, seeds, metrics, *([f"method.steps={steps}"] if steps else [])]


def concept(dataset: Path, name: str) -> Concept:
    return load(dataset, name)


def bench_of(network: Backbone, of: Concept, folder: Path, seed: int = 0) -> Workbench:
    """A workbench on a backbone with nothing on it."""
    network.clear()
    checkpoint = Checkpoint(folder / "checkpoints", every=1e9)
    checkpoint.discard()  # or a second training would only read what the first one left
    return Workbench(network, of, seed, MODEL, checkpoint)


def load_unet(folder: Path) -> Backbone:
    return backbone.load("epsilon", folder, 0)
