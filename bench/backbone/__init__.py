"""One interface over diffusers pipelines: prompts, prediction, noising, decoding, sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.backbone.files import check_files
from bench.errors import BenchError
from bench.progress import quiet_libraries

if TYPE_CHECKING:
    from pathlib import Path

    from bench.backbone.base import Backbone


def load(family: str, path: Path, max_sequence_length: int = 0, lora: Path | None = None) -> Backbone:
    """Loads a model folder as the backbone of its family.

    Args:
        family: `flow`, `epsilon` or `v`.
        path: a diffusers folder.
        max_sequence_length: tokens of a T5, where the pipeline has one.
        lora: a folder with a LoRA file that is made part of the weights: a community checkpoint.

    Raises:
        BenchError: a weight file is truncated, or no backbone knows the family.
    """
    check_files(path)
    quiet_libraries()
    if family == "flow":
        from bench.backbone.sd3 import SD3

        return SD3.load(path, max_sequence_length, lora)
    if family in ("epsilon", "v"):
        from bench.backbone.sd import SD

        return SD.load(path, lora)
    raise BenchError(f"model.family={family}: no backbone of this family; flow, epsilon or v would be right")
