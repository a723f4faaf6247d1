"""ESD (Gandikota et al. 2023): erasing a concept by steering its prediction away from itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from bench.workbench import Batch, Group

if TYPE_CHECKING:
    from torch import Tensor

    from bench.adapter import Adapter
    from bench.concept import Concept
    from bench.workbench import Workbench


@dataclass
class ESD:
    """Fine-tunes the denoiser on its own frozen copy's guidance, negated.

    Attributes:
        weights: which: `text_attention` (ESD-x, for styles and names) or `not_text_attention` (ESD-u, for objects).
        lr: learning rate.
        steps: optimizer steps.
        eta: η, how far beyond the unconditional prediction.
        denoise_steps: of the sampler that x_t comes from; x_t is after one of them at least, and before the last.
        guidance_scale: of that sampler.
    """

    weights: Literal["text_attention", "not_text_attention"] = "text_attention"
    lr: PositiveFloat = 1e-5
    steps: PositiveInt = 1000
    eta: NonNegativeFloat = 1.0
    denoise_steps: Annotated[int, Field(ge=2)] = 50
    guidance_scale: PositiveFloat = 3.0

    tasks: ClassVar[tuple[str, ...]] = ("erase", "multi", "roundtrip")
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Minimizes ‖ε_θ(x_t, c) − [ε*(x_t, ∅) − η (ε*(x_t, c) − ε*(x_t, ∅))]‖² (eq. 5–6)."""
        group = Group(workbench.weights("esd", self.weights), self.lr, weight_decay=0.0)

        def draw(step: int) -> Batch:
            return workbench.partly_denoised(
                "esd", step, concept.target, ["esd"], steps=self.denoise_steps, guidance_scale=self.guidance_scale
            )

        def loss(batch: Batch) -> dict[str, Tensor]:
            (ours,) = workbench.predict(batch, batch.complete, using=["esd"], grad=True)
            named, empty = workbench.predict(batch, batch.complete, [""] * len(batch.t))
            return {"loss": (ours - self.target(named, empty)).square().mean()}

        workbench.fit("esd", [group], loss, self.steps, 1, draw=draw)
        return workbench.adapter(delta="esd")

    def target(self, named: Tensor, empty: Tensor) -> Tensor:
        """Returns the negatively guided prediction of the frozen model."""
        return empty - self.eta * (named - empty)
