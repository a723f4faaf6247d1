"""NewMethod (authors, year, arXiv number): in one line, what it does."""

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
class NewMethod:
    """What is trained, and against what.

    The fields are the hyperparameters. Their types are checked before anything is loaded: take the narrowest that is
    right (`PositiveInt`, `NonNegativeFloat`, `Literal["a", "b"]`, from pydantic and typing).

    Attributes:
        rank: of the LoRA factors (alpha = rank).
        lr: of the factors.
        steps: optimizer steps.
        batch_size: samples a step.
    """

    rank: PositiveInt = 4
    lr: PositiveFloat = 1e-4
    steps: PositiveInt = 500
    batch_size: PositiveInt = 4

    # Kinds of concept it serves: subject, style, subject_style, multi, erase, roundtrip.
    tasks: ClassVar[tuple[str, ...]] = ("subject", "style")
    # Models its mathematics holds for: flow predicts noise - x_0, epsilon the noise, v the velocity.
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Minimizes the loss below over LoRA factors on the attention (state the paper's equation here)."""
        factors = workbench.lora("mine", self.rank)  # also: workbench.token(...), workbench.weights(...)

        def loss(batch: Batch) -> dict[str, Tensor]:
            # batch.complete names the concept (`<new1> cat`), batch.base does not (`cat`); without `using` the
            # untouched model predicts. Several prompt lists in one call are one batch: (a, b) = predict(batch, x, y).
            (ours,) = workbench.predict(batch, batch.complete, using=["mine"], grad=True)
            denoising = (ours - batch.target).square().mean()
            return {"loss": denoising}  # `loss` is minimized; whatever else is named is drawn as a curve

        # One `fit` for every stage of the paper. What is drawn beside it comes from workbench.generator(stage, step):
        # then a training repeats bit for bit, and goes on after an interruption as if there had been none.
        workbench.fit("new_method", [Group(factors, self.lr)], loss, self.steps, self.batch_size)
        return workbench.adapter(lora="mine")
