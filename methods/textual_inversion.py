"""Textual Inversion (Gal et al. 2022): the concept's word is all that is learned."""

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
class TextualInversion:
    """One embedding row in each text tower.

    Attributes:
        lr: of the rows.
        steps: optimizer steps.
        batch_size: samples a step.
    """

    lr: PositiveFloat = 5e-4
    steps: PositiveInt = 3000
    batch_size: PositiveInt = 1

    tasks: ClassVar[tuple[str, ...]] = ("subject", "style", "subject_style", "multi")
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Minimizes E‖target − prediction(x_t | complete caption)‖² over the word's rows (eq. 2)."""
        rows = workbench.token("word", init=concept.class_phrase).parameters()

        def loss(batch: Batch) -> dict[str, Tensor]:
            return {"loss": workbench.denoising(batch, ["word"])}

        workbench.fit("word", [Group(rows, self.lr, weight_decay=0.0)], loss, self.steps, self.batch_size)
        return workbench.adapter(word="word")
