"""SPM (arXiv 2312.16145): a one-dimensional membrane that erases one concept, and lets the rest through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from bench.workbench import Batch, Gate, Group

if TYPE_CHECKING:
    from torch import Tensor

    from bench.adapter import Adapter
    from bench.backbone.prompts import PromptEmbeds
    from bench.concept import Concept
    from bench.workbench import Workbench


def anchor_weights(anchors: Tensor, target: Tensor, alpha: float) -> Tensor:
    """Returns P(c̃ | c) ∝ (1 − |cos(c̃, c)|)^α over anchors (m, d) of a target (d,) (eq. 7).

    A few at a time, in float32: an anchor of FLUX is two million numbers.
    """
    near = torch.nn.functional.cosine_similarity
    cosine = torch.cat([near(some.float(), target[None].float(), dim=1) for some in anchors.split(16)])
    weights = (1 - cosine.abs()).clamp(min=0) ** alpha
    return weights / weights.sum()


def random_directions(target: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Returns `count` random embeddings of about the target's length, as the released code draws its anchors.

    In tens of thousands of dimensions every direction is far from the target: its rejection step rejects nothing.
    """
    z = torch.randn((count, *target.shape), generator=generator).to(target)
    length = target.norm() * (0.8 + 0.4 * torch.rand(count, generator=generator).to(target))
    return z / z.flatten(1).norm(dim=1)[:, None, None] * length[:, None, None]


@dataclass
class SPM:
    """Trains the membrane by erasing and latent anchoring; facilitated transport gates it prompt by prompt.

    Attributes:
        rank: d of the membrane.
        lr: learning rate (the authors': a cosine with restarts that peaks here).
        steps: optimizer steps.
        eta: η of the erasing loss.
        anchor_weight: λ of latent anchoring.
        anchor_power: α of its sampling.
        anchors: anchors a step.
        anchor_mode: `paper` draws real words by their distance; `official` random directions, every second
            anchor being the empty prompt, as the released code's batching has it.
        denoise_steps: of the sampler that x_t comes from; x_t is after one of them at least, and before the last.
        guidance_scale: of that sampler.
        combine: several membranes at once, see `bench.backbone.gate.Gate`.
    """

    rank: PositiveInt = 1
    lr: PositiveFloat = 1e-4
    steps: PositiveInt = 3000
    eta: NonNegativeFloat = 1.0
    anchor_weight: NonNegativeFloat = 1000.0
    anchor_power: NonNegativeFloat = 1.0
    anchors: PositiveInt = 4
    anchor_mode: Literal["paper", "official"] = "paper"
    denoise_steps: Annotated[int, Field(ge=2)] = 30
    guidance_scale: PositiveFloat = 3.0
    combine: Literal["paper", "official"] = "paper"

    tasks: ClassVar[tuple[str, ...]] = ("erase", "multi", "roundtrip")
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Minimizes L_era + λ L_anc at latents the model denoised from the concept's own phrase."""
        group = Group(workbench.lora("spm", self.rank, kind="transformer"), self.lr, weight_decay=1e-2)
        sample_anchors = self._anchors(workbench, concept)

        def draw(step: int) -> Batch:
            return workbench.partly_denoised(
                "spm", step, concept.target, ["spm"], steps=self.denoise_steps, guidance_scale=self.guidance_scale
            )

        def loss(batch: Batch) -> dict[str, Tensor]:
            (ours,) = workbench.predict(batch, batch.complete, using=["spm"], grad=True)
            target, surrogate = workbench.predict(batch, batch.complete, [concept.surrogate])
            erase = (ours - self.target(target, surrogate)).square().mean()
            anchors = sample_anchors(workbench.generator("anchors", batch.step))
            moved = workbench.predict_embeds(batch, anchors, using=["spm"], grad=True)
            anchor = (moved - workbench.predict_embeds(batch, anchors)).square().mean()
            return {"loss": erase + self.anchor_weight * anchor, "erase": erase, "anchor": anchor}

        workbench.fit("spm", [group], loss, self.steps, 1, draw=draw)
        return workbench.adapter(lora="spm", gate=Gate((concept.target,), self.combine))

    def target(self, named: Tensor, surrogate: Tensor) -> Tensor:
        """Returns ε(c_s) − η (ε(c) − ε(c_s)) of the frozen model (eq. 5)."""
        return surrogate - self.eta * (named - surrogate)

    def _anchors(self, workbench: Workbench, concept: Concept) -> Callable[[torch.Generator], PromptEmbeds]:
        """Returns what draws a step's anchors."""
        named, empty = (workbench.embed([p]) for p in (concept.target, ""))
        if self.anchor_mode == "official":

            def directions(generator: torch.Generator) -> PromptEmbeds:
                count = self.anchors // 2
                drawn = random_directions(named.embeds[0], count, generator)
                return empty.with_embeds(torch.cat([empty.embeds.expand(self.anchors - count, -1, -1), drawn]))

            return directions
        words = workbench.embed(workbench.vocabulary())
        embeds, target = words.embeds.flatten(1), named.embeds[0].flatten()
        weights = anchor_weights(embeds, target, self.anchor_power).cpu()  # drawn from with a generator of the CPU
        return lambda generator: words[torch.multinomial(weights, self.anchors, generator=generator).tolist()]
