"""The training loop all parts of the embedded world share: deterministic, resumable, logged."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.progress import track

log = logging.getLogger("bench.pretrain")


@dataclass(frozen=True)
class Recipe:
    """How one part is trained.

    `lr` is constant after `warmup` steps and falls as a cosine over the last `decay` share, so that
    a run can be made longer from any checkpoint before the decay and still be the run it would have been.
    """

    name: str
    steps: int
    batch: int
    lr: float
    warmup: int = 100
    decay: float = 1.0
    weight_decay: float = 0.01
    ema: float = 0.0
    clip: float = 1.0
    seed: int = 0

    def lr_at(self, step: int) -> float:
        """Returns the learning rate of a step."""
        start = self.steps * (1 - self.decay)
        fall = max(0.0, (step - start) / max(1.0, self.steps - start))
        return self.lr * min(1.0, (step + 1) / self.warmup) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, fall)))

    def rng(self, step: int) -> np.random.Generator:
        """Returns the generator of one step's data: the same wherever the run was resumed."""
        return np.random.default_rng([self.seed, step])


def _save(path: Path, state: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    trainable = [p for p in module.parameters() if p.requires_grad]
    groups = [{"params": [p for p in trainable if p.ndim >= 2], "weight_decay": recipe.weight_decay},
              {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0}]  # fmt: skip
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.99), fused=True)


def _resume(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe
) -> tuple[dict[str, Tensor], int, float]:
    """Fills in a checkpoint. Returns the averaged weights, the step to go on from and the seconds spent."""
    state = torch.load(path, weights_only=True)
    fixed = ("batch", "lr", "warmup", "weight_decay", "ema", "clip", "seed")
    if any(state["recipe"][f] != getattr(recipe, f) for f in fixed):
        raise BenchError(f"{path} is of another recipe; remove it to start over")
    module.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    log.info("%s: resumed at step %d", recipe.name, state["step"])
    return state["average"], state["step"], state["seconds"]


def fit(
    module: nn.Module,
    loss: Callable[[int, np.random.Generator], Tensor],
    recipe: Recipe,
    work: Path,
    after_step: Callable[[int], None] | None = None,
    save_every: float = 120.0,
) -> float:
    """Trains a module in place, from its last checkpoint in `work` if there is one.

    Args:
        module: its parameters that require a gradient are trained; at the end it holds the averaged
            weights if the recipe has an `ema`.
        loss: loss(step, rng) over the module, with all randomness from `rng` and torch's seeded generator.
        recipe: steps, rates and seed.
        work: folder of checkpoints and logs.
        after_step: called after each optimizer step (a teacher's moving average, say).
        save_every: seconds between checkpoints.

    Returns:
        The seconds of training, earlier sessions included.

    Raises:
        FloatingPointError: the loss is no longer finite.
    """
    path, journal = work / f"{recipe.name}.ckpt", work / f"{recipe.name}.jsonl"
    optimizer = _optimizer(module, recipe)
    average = {k: v.detach().clone() for k, v in module.state_dict().items()} if recipe.ema else {}
    first, spent = 0, 0.0
    if path.exists():
        average, first, spent = _resume(path, module, optimizer, recipe)
    work.mkdir(parents=True, exist_ok=True)
    begun = saved = time.monotonic()
    running = 0.0
    for step in track(range(first, recipe.steps), recipe.name, recipe.steps, first):
        torch.manual_seed(recipe.seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr_at(step)
        value = loss(step, recipe.rng(step))
        if not torch.isfinite(value):
            raise FloatingPointError(f"{recipe.name}: the loss of step {step} is {value.item()}")
        value.backward()
        nn.utils.clip_grad_norm_(module.parameters(), recipe.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if after_step:
            after_step(step)
        if recipe.ema:
            _update_average(average, module, min(recipe.ema, (step + 1) / (step + 10)))
        running = value.item() if step == first else 0.98 * running + 0.02 * value.item()
        seconds = spent + time.monotonic() - begun
        if step % 50 == 0:
            with journal.open("a") as f:
                f.write(json.dumps({"step": step, "loss": round(running, 5), "seconds": round(seconds)}) + "\n")
        if time.monotonic() - saved > save_every or step + 1 == recipe.steps:
            _save(path, {"model": module.state_dict(), "optimizer": optimizer.state_dict(), "average": average,
                         "step": step + 1, "seconds": seconds, "recipe": asdict(recipe)})  # fmt: skip
            saved = time.monotonic()
    if recipe.ema:
        module.load_state_dict(average)
    return spent + time.monotonic() - begun


@torch.no_grad()
def _update_average(average: dict[str, Tensor], module: nn.Module, keep: float) -> None:
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - keep)
        else:
            average[name].copy_(value)


def plain_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: object, **options: object
) -> Tensor:
    """Attention with its softmax written out, to stand for `F.scaled_dot_product_attention` in training: on
    a CPU and at under a hundred tokens, the backward pass of the fused one costs a quarter of a step.
    """
    weights = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
    if options.get("is_causal"):
        attn_mask = torch.ones(weights.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None:
        weights = weights.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else weights + attn_mask
    return weights.softmax(-1).to(value.dtype) @ value
