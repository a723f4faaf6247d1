"""Runs whose scores mean nothing: a model of random weights checks code, and its row enters no board. No torch."""

from __future__ import annotations

import shlex

from bench.row import Row

MEANINGLESS = "meaningless"  # a field of a row's provenance
RANDOM = "the model's weights are random, so its scores mean nothing"
YES = ("true", "yes", "on", "1")


def meaningless(row: Row) -> str:
    """Says why a row's scores mean nothing, or nothing; its command says so too, where the field was taken away."""
    said = str(row.provenance.get(MEANINGLESS) or "")
    return said or (RANDOM if _asked_for(str(row.provenance.get("command", ""))) else "")


def _asked_for(command: str) -> bool:
    try:
        words = [w.lstrip("+").partition("=") for w in shlex.split(command)]
    except ValueError:
        return False
    return any(key == "model.random" and value.lower() in YES for key, _, value in words)
