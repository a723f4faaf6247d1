"""The loop in which a stage of a method trains: repeatable bit for bit, and resumable as if never interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.errors import BenchError, Diverged
from bench.progress import track

if TYPE_CHECKING:
    from bench.checkpoint import Checkpoint


@dataclass
class Batch:
    """One training batch at one noise level a sample.

    Attributes:
        x_t: noised latents (n, C, h, w).
        t: times (n,).
        target: what the family's network is to predict, shaped as x_t.
        complete: captions that name the concept.
        base: the same captions without it.
        x_0: the clean latents; None where there are none.
        step: the optimizer step it is for.
    """

    x_t: Tensor
    t: Tensor
    target: Tensor
    complete: list[str]
    base: list[str]
    x_0: Tensor | None = None
    step: int = 0


@dataclass
class Group:
    """Parameters that train together, at one learning rate."""

    parameters: list[nn.Parameter]
    lr: float
    weight_decay: float = 1e-4
    clip: float = 1.0


@dataclass
class Log:
    """What a training run leaves behind beside its weights."""

    curves: dict[str, list[float]]
    cost: dict[str, float]
    begun: float = 0.0  # when the loop's clock was read last

    def read(self) -> None:
        """Adds the seconds since the clock was read last."""
        now = time.monotonic()
        self.cost["seconds"] += now - self.begun
        self.begun = now

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stops the clock for a block."""
        here = time.monotonic()
        yield
        self.begun += time.monotonic() - here


def fit(
    stage: str,
    groups: Sequence[Group],
    draw: Callable[[int], Batch],
    loss: Callable[[Batch], dict[str, Tensor]],
    steps: int,
    checkpoint: Checkpoint,
    log: Log,
    after_step: Callable[[Batch], None] | None = None,
    also: Sequence[Tensor] = (),
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Trains parameters for a stage of a method, with AdamW at a constant rate.

    Args:
        stage: its name, for the bar, the log and the checkpoint.
        groups: what trains.
        draw: step → its batch.
        loss: loss(batch) → named scalars; `loss` is minimized, the others are logged.
        steps: optimizer steps.
        checkpoint: where an interrupted run goes on from.
        log: curves and costs, added to.
        after_step: called after each optimizer step.
        also: other tensors that `after_step` changes, kept with the checkpoint.
        scaler: scales the loss of a network in float16.

    Raises:
        Diverged: the loss, or what it left, is no longer finite.
        BenchError: a group that should train gets no gradient.
    """
    optimizer = torch.optim.AdamW(  # foreach: the same bits with fewer calls, on the CPU too
        [{"params": g.parameters, "lr": g.lr, "weight_decay": g.weight_decay} for g in groups],
        betas=(0.9, 0.999), foreach=True,
    )  # fmt: skip
    scaler = scaler or torch.amp.GradScaler(enabled=False)
    trained = [p for g in groups for p in g.parameters]
    first = checkpoint.restore(stage, [*trained, *also], optimizer, log.curves, log.cost, scaler)
    log.begun = time.monotonic()
    for step in track(range(first, steps), stage, steps, first):
        batch = draw(step)
        values = loss(batch)
        if not torch.isfinite(values["loss"]):
            raise Diverged(f"{stage}: the loss of step {step} is {values['loss'].item()}", log.curves)
        scaler.scale(values["loss"]).backward()
        if step == 0:
            _check_gradients(stage, groups)
        scaler.unscale_(optimizer)
        for group in groups:
            nn.utils.clip_grad_norm_(group.parameters, group.clip)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        if after_step:
            after_step(batch)
        for name, value in values.items():
            log.curves.setdefault(f"{stage}/{name}", []).append(round(float(value.detach()), 6))
        log.cost["steps"] += 1
        if checkpoint.due() and step + 1 < steps:
            log.read()
            checkpoint.keep(stage, step + 1, [*trained, *also], optimizer, log.curves, log.cost, scaler)
    log.read()
    if not all(bool(torch.isfinite(p).all()) for p in trained):
        raise Diverged(f"{stage}: the last step left weights that are not finite", log.curves)
    if first < steps:
        checkpoint.keep(stage, steps, [*trained, *also], optimizer, log.curves, log.cost, scaler)


def _check_gradients(stage: str, groups: Sequence[Group]) -> None:
    silent = [i for i, g in enumerate(groups) if all(p.grad is None for p in g.parameters)]
    if silent:
        raise BenchError(f"{stage}: parameter group {silent[0]} gets no gradient from the loss")
