"""Custom Diffusion (Kumari et al. 2023): the keys and values that read the text, and the concept's word."""

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
class CustomDiffusion:
    """Trains W_k, W_v of the cross-attention and the word, with pictures of the class as regularization.

    Attributes:
        lr: of both; 8e-5 once the published scripts have scaled it.
        steps: optimizer steps.
        batch_size: samples a step, of instance and prior each.
        prior_images: pictures of the class that the untouched model makes first (the paper takes real ones).
        prior_weight: weight of the prior's loss beside the instance's: 1 as the CompVis code has it, 0.25 as
            diffusers' script (its masked instance loss is summed over the latents' four channels).
    """

    lr: PositiveFloat = 8e-5
    steps: PositiveInt = 250
    batch_size: PositiveInt = 4
    prior_images: NonNegativeInt = 200
    prior_weight: NonNegativeFloat = 1.0

    tasks: ClassVar[tuple[str, ...]] = ("subject", "style", "subject_style", "multi")
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Minimizes the instance's loss and the prior's over keys, values and word (section 3.2)."""
        word = workbench.token("word", init=concept.class_phrase)
        groups = [
            Group(workbench.weights("keys-values", "text_kv", still_first=True), self.lr, weight_decay=1e-2),
            Group(word.parameters(), self.lr, weight_decay=0.0),
        ]

        def loss(batch: Batch) -> dict[str, Tensor]:
            return workbench.with_prior(batch, ["keys-values", "word"], self.prior_images, self.prior_weight)

        workbench.fit("custom-diffusion", groups, loss, self.steps, self.batch_size)
        return workbench.adapter(delta="keys-values", word="word")
