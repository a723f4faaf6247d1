"""One interface over diffusers pipelines: prompts, prediction, noising, decoding, sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.backbone.files import check_files
from bench.errors import BenchError

if TYPE_CHECKING:
    from pathlib import Path

    from bench.backbone.base import Backbone


def load(family: str, path: Path, max_sequence_length: int) -> Backbone:
    """Loads a model folder as the backbone of its family.

    Raises:
        BenchError: a weight file is truncated, or no backbone knows the family.
    """
    check_files(path)
    _quiet()
    if family == "flow":
        from bench.backbone.sd3 import SD3

        return SD3.load(path, max_sequence_length)
    raise BenchError(f"model.family={family}: no backbone of this family yet; flow would be right")


def _quiet() -> None:
    """Silences the libraries' own bars: ours say what is being waited for."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity_error()
