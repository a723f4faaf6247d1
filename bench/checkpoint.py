"""Keeps a training loop's state, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

log = logging.getLogger("bench")

LISTENERS: list[Callable[[Path, dict[str, list[float]]], None]] = []  # told of the curves whenever a state is kept


class Checkpoint:
    """One file a stage in the folder of an unfinished training run; gone when the run is done."""

    def __init__(self, folder: Path, every: float = 15.0) -> None:
        self.folder, self.every = folder, every
        self._last = time.monotonic()

    def due(self) -> bool:
        """Returns whether it is time to keep the state again."""
        return time.monotonic() - self._last > self.every

    def keep(self, stage: str, step: int, parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer,
             curves: dict[str, list[float]], cost: dict[str, float],
             scaler: torch.amp.GradScaler | None = None) -> None:  # fmt: skip
        """Writes the state after `step` steps of a stage, whole or not at all."""
        import torch

        state = {"step": step, "parameters": [p.detach() for p in parameters], "optimizer": optimizer.state_dict(),
                 "curves": curves, "cost": cost, "scaler": scaler.state_dict() if scaler else {}}  # fmt: skip
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"{stage}.partial"
        torch.save(state, partial)
        partial.replace(self.folder / f"{stage}.ckpt")
        for tell in LISTENERS:
            tell(self.folder, curves)
        self._last = time.monotonic()

    def restore(self, stage: str, parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer,
                curves: dict[str, list[float]], cost: dict[str, float],
                scaler: torch.amp.GradScaler | None = None) -> int:  # fmt: skip
        """Fills in the state of a stage, if one was kept, and returns the step to go on from."""
        import torch

        state = self._kept(stage)
        if state is None:
            return 0
        with torch.no_grad():
            for parameter, value in zip(parameters, state["parameters"], strict=True):
                parameter.copy_(value)
        optimizer.load_state_dict(state["optimizer"])
        if scaler and state.get("scaler"):
            scaler.load_state_dict(state["scaler"])
        curves.clear()
        curves.update(state["curves"])
        cost.update(state["cost"])
        return int(state["step"])

    def _kept(self, stage: str) -> dict[str, Any] | None:
        """Returns the state of a stage; None if there is none, or one that cannot be read."""
        import torch

        path = self.folder / f"{stage}.ckpt"
        if not path.exists():
            return None
        try:
            return dict(torch.load(path, weights_only=True, map_location="cpu"))
        except Exception as error:  # a disk that was full, or fell out: torch has many errors for it
            log.warning("%s: not a whole checkpoint (%s); training begins anew", path, type(error).__name__)
            return None

    def discard(self) -> None:
        """Removes what was kept: the run is done."""
        shutil.rmtree(self.folder, ignore_errors=True)
