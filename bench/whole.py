"""Whether a pipeline's folder has every part its `model_index.json` names, before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from bench.backbone.files import VARIANT
from bench.errors import BenchError

# What runs without: no backbone loads the first three, and an SD3's T5 may be left out.
SPARE = ("safety_checker", "feature_extractor", "image_encoder", "text_encoder_3", "tokenizer_3")
TEMPLATE = "chat_template.jinja"  # of the chat that a language model reads a prompt as
CHATS = ("Flux2KleinPipeline",)
WORDS = ("tokenizer.json", "vocab.json", "spiece.model")  # any of them is a tokenizer's vocabulary


def check_parts(folder: Path, said: str) -> None:
    """Checks that the files a pipeline is loaded from are there.

    Args:
        folder: the pipeline's; its `model_index.json` was read before.
        said: the configuration's field and value, for the error.

    Raises:
        BenchError: one is missing.
    """
    about = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    for part, kind in about.items():
        named = isinstance(kind, list) and len(kind) == 2 and kind[1]
        if named and (part not in SPARE or (part.endswith("_3") and (folder / part).is_dir())):
            for name in _missing(folder / part, str(kind[1])):
                raise BenchError(f"{said}: {part}/{name} is missing; it goes into {folder / part}")
    if about.get("_class_name") in CHATS and not _templated(folder / "tokenizer"):
        raise BenchError(f"{said}: tokenizer/{TEMPLATE} is missing; it goes into {folder / 'tokenizer'}")


def _templated(tokenizer: Path) -> bool:
    """Whether a tokenizer has a chat's template, in a file of its own or in its configuration."""
    config = tokenizer / "tokenizer_config.json"
    inside = config.is_file() and "chat_template" in json.loads(config.read_text(encoding="utf-8"))
    return inside or (tokenizer / TEMPLATE).is_file()


def _missing(part: Path, kind: str) -> Iterator[str]:
    """Yields what a part of a class lacks."""
    if "Tokenizer" in kind:
        if not any((part / name).is_file() for name in WORDS):
            yield WORDS[0]
    elif "Scheduler" in kind:
        if not (part / "scheduler_config.json").is_file():
            yield "scheduler_config.json"
    else:
        if not (part / "config.json").is_file():
            yield "config.json"
        yield from _weights(part)


def _weights(part: Path) -> Iterator[str]:
    """Yields the weight files that are not there: those an index names, or the only one."""
    indices = [p for p in part.glob("*.safetensors.index.json") if not VARIANT.search(p.name)]
    for index in indices:
        yield from (s for s in _shards(index) if not (part / s).is_file())
    if not indices and all(VARIANT.search(p.name) for p in part.glob("*.safetensors")):
        yield "model.safetensors" if part.name.startswith("text") else "diffusion_pytorch_model.safetensors"


def _shards(index: Path) -> list[str]:
    """Returns the files that an index spreads a part's weights over."""
    try:
        return sorted({str(s) for s in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BenchError(f"{index}: no index of weights can be read from it; fetch it again") from None
