"""DreamBooth (Ruiz et al. 2023) on LoRA factors, as diffusers' own scripts train it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from bench.workbench import Batch, Group

if TYPE_CHECKING:
    from torch import Tensor

    from bench.adapter import Adapter
    from bench.concept import Concept
    from bench.workbench import Workbench


@dataclass
class DreamBoothLora:
    """The plain training loss on the complete captions, with or without prior preservation.

    Attributes:
        rank: of the LoRA factors (alpha = rank).
        init: of the first factor: `gaussian`, of deviation 1 / rank, as diffusers' scripts have it, or `peft`, PEFT's
            own (uniform, some 17 times as narrow on a transformer of 1536 channels: it learns as much slower).
        lr: of the factors.
        steps: optimizer steps.
        batch_size: samples a step.
        learn_token: whether the placeholder gets embedding rows of its own. Else it is the rare identifier
            that the tokenizer makes of its text, as DreamBooth's `sks`: the LoRA is all there is, and stock
            diffusers loads it.
        token_lr: of the rows.
        prior_images: pictures of the class that the untouched model makes first; 0 is no prior preservation.
        prior_weight: λ of the prior's loss.
    """

    rank: PositiveInt = 4
    init: Literal["gaussian", "peft"] = "gaussian"
    lr: PositiveFloat = 1e-4
    steps: PositiveInt = 500
    batch_size: PositiveInt = 4
    learn_token: bool = False
    token_lr: PositiveFloat = 5e-3
    prior_images: NonNegativeInt = 0
    prior_weight: NonNegativeFloat = 1.0

    tasks: ClassVar[tuple[str, ...]] = ("subject", "style", "subject_style", "multi")
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Minimizes E‖target − prediction(x_t | complete caption)‖² over the LoRA factors, and λ of the prior's."""
        factors = workbench.lora("dreambooth", self.rank, init="gaussian" if self.init == "gaussian" else True)
        groups = [Group(factors, self.lr)]
        using = ["dreambooth"]
        if self.learn_token:
            token = workbench.token("word", init=concept.class_phrase)
            groups.append(Group(token.parameters(), self.token_lr, weight_decay=0.0))
            using.append("word")

        def loss(batch: Batch) -> dict[str, Tensor]:
            return workbench.with_prior(batch, using, self.prior_images, self.prior_weight)

        workbench.fit("dreambooth", groups, loss, self.steps, self.batch_size)
        return workbench.adapter(lora="dreambooth", word="word" if self.learn_token else None)
