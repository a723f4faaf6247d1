"""Trackers by name; each imports its package when a run starts."""

from bench.track import Tracker
from bench.trackers.mlflow import Mlflow
from bench.trackers.wandb import Wandb

TRACKERS: dict[str, type[Tracker]] = {"none": Tracker, "wandb": Wandb, "mlflow": Mlflow}
