"""A method's trainings in brief: a few steps of every stage on random-weight pipelines, to be compared."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.adapter import Adapter, merge
from bench.backbone.base import Backbone
from bench.checkpoint import Checkpoint
from bench.concept import Concept
from bench.contract.tiny import MODEL
from bench.errors import BenchError
from bench.loop import Batch, Group
from bench.workbench import Workbench

STEPS, PICTURES = 3, 4  # of a stage; that the untouched model makes


class Cut(Exception):
    """A training is interrupted here."""


class Brief(Workbench):
    """A workbench whose stages end after a few steps, and whose untouched model makes a few pictures."""

    cut: int | None = None  # the step before which all ends, counted over the stages
    done: int = 0

    def fit(self, stage: str, groups: Sequence[Group], loss: Callable[[Batch], dict[str, Tensor]], steps: int,
            batch_size: int, **more: Any) -> None:  # fmt: skip
        """Trains a stage for a few steps."""

        def counted(batch: Batch) -> dict[str, Tensor]:
            if self.done == self.cut:
                raise Cut
            self.done += 1
            return loss(batch)

        super().fit(stage, groups, counted, min(steps, STEPS), batch_size, **more)

    def imagine(self, prompts: Sequence[str], stage: str = "prior") -> Tensor:
        """Returns a few pictures again and again."""
        made = super().imagine(prompts[:PICTURES], stage)
        return made.repeat(-(-len(prompts) // len(made)), 1, 1, 1)[: len(prompts)]


@dataclass(frozen=True)
class Case:
    """What is trained: a concept (the parts of a composite one) on a backbone; `make` builds the method anew."""

    backbone: Backbone
    concepts: tuple[Concept, ...]
    make: Callable[[], Any]

    def train(self, folder: Path, seed: int = 0, state: int = 0) -> Adapter:
        """Trains from nothing.

        Args:
            folder: of checkpoints.
            seed: of the training.
            state: of the generators that belong to nobody, on which nothing may depend.
        """
        return self.trained(folder, seed, state)[0]

    def trained(self, folder: Path, seed: int = 0, state: int = 0) -> tuple[Adapter, int]:
        """Trains, and counts the steps of all stages."""
        adapters, steps = [], 0
        for k, concept in enumerate(self.concepts):
            adapter, count = self._one(concept, folder / str(k), seed, state)
            adapters.append(adapter)
            steps += count
        return (adapters[0] if len(adapters) == 1 else merge(adapters, [1.0] * len(adapters))), steps

    def continued(self, folder: Path, steps: int) -> Adapter:
        """Trains until the last of so many steps, is interrupted, and goes on from what was kept."""
        with contextlib.suppress(Cut):
            self._one(self.concepts[0], folder, 0, 0, cut=steps - 1)
        return self._one(self.concepts[0], folder, 0, 1)[0]

    def _one(
        self, concept: Concept, folder: Path, seed: int, state: int, cut: int | None = None
    ) -> tuple[Adapter, int]:
        random.seed(state)
        np.random.seed(state)
        torch.manual_seed(state)
        bench = Brief(self.backbone, concept, seed, MODEL, Checkpoint(folder, every=0.0))
        bench.cut = cut
        try:
            adapter = self.make().train(bench, concept)
        finally:
            self.backbone.clear()
        if not isinstance(adapter, Adapter):
            raise BenchError(
                f"train returns {type(adapter).__name__}; workbench.adapter(…) or an Adapter would be right"
            )
        return adapter, bench.done

    def prediction(self, adapter: Adapter | None = None) -> Tensor:
        """Returns what the network predicts of noise, asked for the concept, with an adapter or without."""
        x = torch.randn((1, *self.backbone.latent_shape), generator=torch.Generator().manual_seed(0))
        try:
            names = adapter.put(self.backbone, "check") if adapter else []
            with self.backbone.using(names), torch.no_grad():
                asked = self.backbone.encode_prompts([self.concepts[0].references[0].complete])
                return self.backbone.predict(x, torch.tensor([0.5]), asked)
        finally:
            self.backbone.clear()

    def weights(self) -> dict[str, Tensor]:
        """Returns a copy of every weight of the pipeline."""
        parts = {n: m for n, m in self.backbone.pipe.components.items() if isinstance(m, nn.Module)}
        named = {f"{n}.{k}": v for n, m in parts.items() for k, v in m.state_dict().items()}
        return {k.replace(".base_layer", ""): v.clone() for k, v in named.items()}


def tensors(adapter: Adapter) -> dict[str, Tensor]:
    """Returns an adapter's tensors by a name for people."""
    loras = {f"LoRA {k} {n}": v for k, x in enumerate(adapter.loras) for n, v in x.factors.items()}
    words = {f"word {t['text']} {n}": v for t in adapter.tokens for n, v in t["state"].items()}
    return loras | words | {f"weight {n}": v for n, v in adapter.delta.items()}


def unlike(one: dict[str, Tensor], other: dict[str, Tensor]) -> str:
    """Returns the name of the first tensor that two sets do not share bit for bit; nothing if there is none."""
    for name in sorted({*one, *other}):
        if name not in one or name not in other or not torch.equal(one[name], other[name]):
            return name
    return ""
