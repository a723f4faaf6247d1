"""UCE (Gandikota et al. 2024): the keys and values of a concept's words, edited in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import NonNegativeFloat, PositiveFloat

if TYPE_CHECKING:
    from torch import Tensor

    from bench.adapter import Adapter
    from bench.concept import Concept
    from bench.workbench import Workbench


def edited(weight: Tensor, old: Tensor, new: Tensor, kept: Tensor, scales: tuple[float, float, float]) -> Tensor:
    """Returns W = (λW₀ + e Σ W₀c*cᵀ + p Σ W₀kkᵀ)(λI + e Σ ccᵀ + p Σ kkᵀ)⁻¹ (eq. 7 of the paper).

    Args:
        weight: W₀ (out, in).
        old: vectors c to edit, (n, in).
        new: what each is to be read as, c*, (n, in).
        kept: vectors k to preserve, (m, in).
        scales: λ, e and p.
    """
    w, c, c_new, k = (x.double() for x in (weight, old, new, kept))
    lam, erase, preserve = scales
    left = lam * w + erase * (w @ c_new.T) @ c + preserve * (w @ k.T) @ k
    right = lam * torch.eye(w.shape[1], dtype=w.dtype, device=w.device) + erase * c.T @ c + preserve * k.T @ k
    return torch.linalg.solve(right, left, left=False).to(weight.dtype)


@dataclass
class UCE:
    """Unified concept editing of the cross-attention; nothing is trained.

    Attributes:
        regularization: λ, how strongly the weights stay.
        erase_scale: e, of the edited phrase.
        preserve_scale: p, of what is kept.
    """

    regularization: PositiveFloat = 0.5
    erase_scale: PositiveFloat = 1.0
    preserve_scale: NonNegativeFloat = 1.0

    tasks: ClassVar[tuple[str, ...]] = ("erase", "multi", "roundtrip")
    families: ClassVar[tuple[str, ...]] = ("epsilon", "v")
    not_for: ClassVar[dict[str, str]] = {
        "flow": "its text states are mixed with the picture's before every block's keys and values: no closed form",
    }

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Edits W_k and W_v of every cross-attention so that the target reads as the surrogate."""
        backbone = workbench.backbone
        old, new = self._last_words(workbench, [concept.target, concept.surrogate or ""])
        kept = self._last_words(workbench, workbench.vocabulary())
        scales = (self.regularization, self.erase_scale, self.preserve_scale)
        delta = {}
        for module in backbone.modules("text_kv"):
            weight = backbone.denoiser.get_submodule(module).weight.detach().float()
            delta[f"{module}.weight"] = edited(weight, old[None], new[None], kept, scales) - weight
        return workbench.edited(delta)

    @staticmethod
    @torch.no_grad()
    def _last_words(workbench: Workbench, phrases: list[str]) -> Tensor:
        """Returns the state (n, width) of each phrase's last word; of no phrase, that of the start of text."""
        ids, _ = workbench.text_states(phrases)[0]
        end = workbench.backbone.prompts.tokenizers[0].eos_token_id
        where = (ids == end).int().argmax(1) - 1
        return workbench.backbone.encode_prompts(phrases).embeds[torch.arange(len(phrases)), where]
