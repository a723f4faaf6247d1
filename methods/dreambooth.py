"""DreamBooth (Ruiz et al. 2023): full fine-tuning of the denoiser, with prior preservation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from bench.workbench import Batch, Group

if TYPE_CHECKING:
    from torch import Tensor

    from bench.adapter import Adapter
    from bench.concept import Concept
    from bench.workbench import Workbench


@dataclass
class DreamBooth:
    """All of the denoiser's weights; the placeholder is the rare identifier its tokenizer makes of it.

    Attributes:
        lr: learning rate.
        steps: optimizer steps.
        batch_size: samples a step, of instance and prior each.
        prior_images: pictures of the class that the untouched model makes first; 0 is no prior preservation.
        prior_weight: λ of the prior's loss.
    """

    lr: PositiveFloat = 5e-6
    steps: PositiveInt = 800
    batch_size: PositiveInt = 1
    prior_images: NonNegativeInt = 200
    prior_weight: NonNegativeFloat = 1.0

    tasks: ClassVar[tuple[str, ...]] = ("subject", "style", "subject_style", "multi")
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Minimizes E‖target − prediction(x_t | complete)‖² + λ E‖target' − prediction(x'_t | class)‖²."""
        group = Group(workbench.weights("dreambooth", "all"), self.lr, weight_decay=1e-2)

        def loss(batch: Batch) -> dict[str, Tensor]:
            return workbench.with_prior(batch, ["dreambooth"], self.prior_images, self.prior_weight)

        workbench.fit("dreambooth", [group], loss, self.steps, self.batch_size)
        return workbench.adapter(delta="dreambooth")
