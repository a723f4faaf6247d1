"""Encoded prompts: what the denoiser reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class PromptEmbeds:
    """Encoded prompts.

    Attributes:
        embeds: (n, tokens, width).
        pooled: (n, width); of width 0 where the model takes none.
        slots: (n, tokens); k where the k-th layer-wise word in use goes, counted from 1, and 0 elsewhere.
    """

    embeds: Tensor
    pooled: Tensor
    slots: Tensor

    @staticmethod
    def cat(parts: Sequence[PromptEmbeds]) -> PromptEmbeds:
        """Returns the batches one after the other."""
        return PromptEmbeds(*(torch.cat([getattr(p, f) for p in parts]) for f in ("embeds", "pooled", "slots")))

    def with_embeds(self, embeds: Tensor) -> PromptEmbeds:
        """Returns other states (m, tokens, width) beside this one prompt's pooled vector."""
        return PromptEmbeds(embeds, self.pooled.expand(len(embeds), -1), self.slots.expand(len(embeds), -1))

    def to(self, dtype: torch.dtype) -> PromptEmbeds:
        """Returns the same in another precision."""
        return PromptEmbeds(self.embeds.to(dtype), self.pooled.to(dtype), self.slots)

    def __getitem__(self, index: Sequence[int]) -> PromptEmbeds:
        where = list(index)
        return PromptEmbeds(self.embeds[where], self.pooled[where], self.slots[where])
