"""Crayon: the concept's word alone, trained on the references."""

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
class Crayon:
    """Trains one embedding a text tower.

    Attributes:
        lr: of the word.
        steps: optimizer steps.
        batch_size: samples a step.
    """

    lr: PositiveFloat = 1e-2
    steps: PositiveInt = 4
    batch_size: PositiveInt = 2

    tasks: ClassVar[tuple[str, ...]] = ("subject", "style")
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Minimizes the denoising loss over the word."""
        word = workbench.token("word", init=concept.class_phrase)

        def loss(batch: Batch) -> dict[str, Tensor]:
            return {"loss": workbench.denoising(batch, ["word"])}

        groups = [Group(word.parameters(), self.lr, weight_decay=0.0)]
        workbench.fit("crayon", groups, loss, self.steps, self.batch_size)
        return workbench.adapter(word="word")
