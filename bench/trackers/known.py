"""Trackers by name; each imports its package when a run starts."""

from __future__ import annotations

from typing import Any

from bench.optional import chosen
from bench.trackers.mlflow import Mlflow
from bench.trackers.tracker import Tracker
from bench.trackers.wandb import Wandb

TRACKERS: dict[str, type[Tracker]] = {"none": Tracker, "wandb": Wandb, "mlflow": Mlflow}


def tracker(said: dict[str, Any]) -> Tracker:
    """Builds a tracker from its configuration.

    Raises:
        BenchError: a field is wrong, or its package is not installed.
    """
    return chosen("tracker", said, TRACKERS)
