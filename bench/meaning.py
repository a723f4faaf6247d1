"""Runs whose scores mean nothing: a model of random weights checks code, and its row enters no board. No torch."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from bench.row import Row

MEANINGLESS = "meaningless"  # a field of a row's provenance
RANDOM = "the model's weights are random, so its scores mean nothing"
PHOTOS = (
    "the small models were trained on stickers and have seen no photograph: what is drawn of one, and its scores, say "
    "that the path works, not how good a method is"
)
YES = ("true", "yes", "on", "1")


def meaningless(row: Row) -> str:
    """Says why a row's scores mean nothing, or nothing; its command says so too, where the field was taken away."""
    said = str(row.provenance.get(MEANINGLESS) or "")
    return said or (RANDOM if _asked_for(row) else "")


def command_words(row: Row) -> list[str]:
    """Returns the words of the command that made a row; none where it does not say.

    Raises:
        ValueError: no shell reads it.
    """
    return shlex.split(str(row.provenance.get("command", "")))


def caution(config: Mapping[str, Any]) -> str:
    """Says what a reader of a run's scores should know first, or nothing."""
    ours, theirs = (str(config[group]["path"]).startswith("embedded:") for group in ("model", "dataset"))
    return PHOTOS if ours and not theirs else ""


def _asked_for(row: Row) -> bool:
    command = str(row.provenance.get("command", ""))
    if "model.random" not in re.sub(r"[\\'\"]", "", command):  # however it is quoted; most of many rows end here
        return False
    try:
        words = [w.lstrip("+").partition("=") for w in command_words(row)]
    except ValueError:
        return False
    return any(key == "model.random" and value.lower() in YES for key, _, value in words)
