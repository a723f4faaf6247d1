"""NewMethod (authors, year, arXiv number): in one line, what it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import NonNegativeFloat

if TYPE_CHECKING:
    from bench.adapter import Adapter
    from bench.concept import Concept
    from bench.workbench import Workbench


@dataclass
class NewMethod:
    """What is edited, and what solves for it; nothing is trained.

    The fields are the hyperparameters. Their types are checked before anything is loaded: take the narrowest that is
    right (`PositiveInt`, `NonNegativeFloat`, `Literal["a", "b"]`, from pydantic and typing).

    Attributes:
        scale: how much of the concept's direction is turned into its surrogate's; 1 is all of it.
    """

    scale: NonNegativeFloat = 1.0

    # Kinds of concept it serves: subject, style, subject_style, multi, erase, roundtrip.
    tasks: ClassVar[tuple[str, ...]] = ("erase",)
    # Models its mathematics holds for. For a family left out, `not_for` may say why: the refusal quotes it.
    families: ClassVar[tuple[str, ...]] = ("epsilon", "v")
    not_for: ClassVar[dict[str, str]] = {"flow": "its keys and values read more than the text"}

    @torch.no_grad()
    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Returns W' = W + scale (W c* - W c) cᵀ / cᵀc for every key and value that reads the text."""
        network = workbench.backbone.denoiser
        # States of the two phrases (2, tokens, width) as the untouched model reads them, averaged over tokens.
        c, instead = workbench.embed([concept.target, concept.surrogate]).embeds.mean(1)
        delta = {}
        for module in workbench.backbone.modules("text_kv"):  # also: attention, text_attention, transformer, all
            weight = network.get_submodule(module).weight
            delta[f"{module}.weight"] = self.scale * torch.outer(weight @ (instead - c), c) / c.dot(c)
        return workbench.edited(delta)
