"""DCO (arXiv 2402.12004): direct consistency optimization, and its consistency guidance when sampling.

The equations are those of the authors' code, the paper's body not being at hand; where the code's
half precision keeps the word from training, this trains it, as the paper intends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch.nn import functional as F

from bench.workbench import Batch, Group

if TYPE_CHECKING:
    from torch import Tensor

    from bench.adapter import Adapter
    from bench.concept import Concept
    from bench.workbench import Workbench


def dco_loss(error: Tensor, reference_error: Tensor, beta: float) -> Tensor:
    """Returns −log σ(−β (ℓ_θ − ℓ_φ)) of each sample's mean squared errors (n,), averaged."""
    return F.softplus(beta * (error - reference_error)).mean()


@dataclass
class DCO:
    """Learns the concept only as far as the untouched model explains it worse.

    Attributes:
        rank: of the LoRA (alpha = rank); the authors take 32 for subjects and 64 for styles.
        lr: of the LoRA.
        token_lr: of the concept's word.
        learn_token: whether the word trains; the authors' style runs have none.
        steps: optimizer steps.
        batch_size: samples a step.
        beta: β, how hard the model is held to the reference.
        consistency_scale: w_con of the guidance; None samples with classifier-free guidance.
    """

    rank: PositiveInt = 32
    lr: PositiveFloat = 5e-5
    token_lr: PositiveFloat = 5e-6
    learn_token: bool = True
    steps: PositiveInt = 2000
    batch_size: PositiveInt = 1
    beta: PositiveFloat = 1000.0
    consistency_scale: NonNegativeFloat | None = 3.0

    tasks: ClassVar[tuple[str, ...]] = ("subject", "style", "subject_style", "multi")
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Trains LoRA and word against the same network with both switched off."""
        groups = [Group(workbench.lora("dco", self.rank, init="gaussian"), self.lr)]
        using, rows = ["dco"], []
        if self.learn_token:
            rows = workbench.token("word", init=concept.class_phrase).rows
            groups.append(Group(list(rows), self.token_lr))
            using.append("word")
        norms = [row.detach().norm() for row in rows]

        def loss(batch: Batch) -> dict[str, Tensor]:
            (prediction,) = workbench.predict(batch, batch.complete, using=using, grad=True)
            (reference,) = workbench.predict(batch, batch.base)
            error, before = ((p - batch.target).square().mean((1, 2, 3)) for p in (prediction, reference))
            return {"loss": dco_loss(error, before, self.beta), "mse": error.mean(), "reference": before.mean()}

        @torch.no_grad()
        def retract(batch: Batch) -> None:
            for row, norm in zip(rows, norms, strict=True):
                row.mul_(norm / row.norm())

        workbench.fit("dco", groups, loss, self.steps, self.batch_size, after_step=retract)
        word = "word" if self.learn_token else None
        return workbench.adapter(lora="dco", word=word, consistency_scale=self.consistency_scale)
