"""One interface over diffusers pipelines: prompts, prediction, noising, decoding, sampling."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from bench.backbone.files import check_files
from bench.pipelines import CLASSES, check_family, class_of
from bench.progress import quiet_libraries

if TYPE_CHECKING:
    from pathlib import Path

    from bench.backbone.base import Backbone
    from bench.backbone.place import Placement


def load(
    family: str, path: Path, max_sequence_length: int = 0, lora: Path | None = None, resolution: int = 0,
    where: Placement | None = None,
) -> Backbone:  # fmt: skip
    """Loads a model folder as the backbone of the pipeline class that its `model_index.json` names.

    Args:
        family: `flow`, `epsilon` or `v`: what the network predicts, which the folder has to bear out.
        path: a diffusers folder.
        max_sequence_length: tokens of a T5 or a language model, where the pipeline has one.
        lora: a folder with a LoRA file that is made part of the weights: a community checkpoint.
        resolution: pixels a side; 0 is the model's own square.
        where: the device, the precision and what is given up for memory; the CPU in float32 if left out.

    Raises:
        BenchError: a weight file is truncated, no backbone is made for the class, or the family is another.
    """
    check_files(path)
    check_family(family, path)
    quiet_libraries()
    from bench.backbone.place import Placement

    module = import_module(f"bench.backbone.{CLASSES[class_of(path)][0]}")
    backbone: Backbone = module.load(path, max_sequence_length, lora, resolution)
    return backbone.place(where or Placement())
