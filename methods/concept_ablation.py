"""Concept Ablation (Kumari et al. 2023): the concept's words come to mean the surrogate's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import PositiveFloat, PositiveInt

from bench.workbench import Batch, Group

if TYPE_CHECKING:
    from torch import Tensor

    from bench.adapter import Adapter
    from bench.concept import Concept
    from bench.workbench import Workbench


@dataclass
class ConceptAblation:
    """Trains the keys and values that read the text, on pictures of the anchor (model-based variant).

    Attributes:
        lr: learning rate: the released 2e-6 scaled by its batch.
        steps: optimizer steps.
        batch_size: samples a step.
        anchor_images: pictures of the anchor that the untouched model makes first (the authors: 1000 of 200 prompts).
    """

    lr: PositiveFloat = 8e-6
    steps: PositiveInt = 100
    batch_size: PositiveInt = 4
    anchor_images: PositiveInt = 200

    tasks: ClassVar[tuple[str, ...]] = ("erase", "multi", "roundtrip")
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Minimizes ‖ε_θ(x_t, target) − sg[ε_θ(x_t, anchor)]‖² on pictures x of the anchor (eq. 5)."""
        frames = ("{}", "a {}", "a picture of a {}", f"{concept.medium} of a {{}}")
        named = [(f.format(concept.target), f.format(concept.surrogate)) for f in frames]
        captions = [named[i % len(named)] for i in range(self.anchor_images)]
        latents = workbench.imagine([anchor for _, anchor in captions], stage="anchor")
        weights = workbench.weights("ablation", "text_kv", still_first=True)
        group = Group(weights, self.lr, weight_decay=1e-2)

        def draw(step: int) -> Batch:
            return workbench.noised("ablation", step, self.batch_size, latents, captions)

        def loss(batch: Batch) -> dict[str, Tensor]:
            (anchor,) = workbench.predict(batch, batch.base, using=["ablation"])
            (ours,) = workbench.predict(batch, batch.complete, using=["ablation"], grad=True)
            return {"loss": (ours - anchor).square().mean()}

        workbench.fit("ablation", [group], loss, self.steps, self.batch_size, draw=draw)
        return workbench.adapter(delta="ablation")
