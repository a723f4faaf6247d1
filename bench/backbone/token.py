"""A concept's word: one learned row for each text encoder, or a learned vector before every block."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class ConceptToken:
    """A placeholder's learned vectors.

    Attributes:
        text: the placeholder, `<new1>`.
        init: the word whose embedding it starts from (its first token), and which the text encoders
            see in its place where the vectors are layer-wise.
        rows: one row a text encoder, (width,) each; empty if layer-wise.
        layers: (blocks, width) vectors that replace the token's state before every block of the
            transformer (PureCC eq. 7), or None.
    """

    text: str
    init: str
    rows: list[nn.Parameter] = field(default_factory=list)
    layers: nn.Parameter | None = None

    def parameters(self) -> list[nn.Parameter]:
        """Returns what trains."""
        return [*self.rows, *([self.layers] if self.layers is not None else [])]

    def state(self) -> dict[str, Tensor]:
        """Returns the vectors by name."""
        named = {f"row_{i}": r.detach().clone() for i, r in enumerate(self.rows)}
        return named | ({"layers": self.layers.detach().clone()} if self.layers is not None else {})

    @classmethod
    def from_state(
        cls, text: str, init: str, state: dict[str, Tensor], device: torch.device | None = None
    ) -> ConceptToken:
        """Builds a frozen token from saved vectors, on their own device or another."""
        rows = [
            nn.Parameter(state[f"row_{i}"].to(device=device, copy=True), requires_grad=False)
            for i in range(len(state))
            if f"row_{i}" in state
        ]
        layered = "layers" in state
        layers = nn.Parameter(state["layers"].to(device=device, copy=True), requires_grad=False) if layered else None
        return cls(text, init, rows, layers)

    def copy(self, trainable: bool) -> ConceptToken:
        """Returns the same token with parameters of its own."""
        token = self.from_state(self.text, self.init, self.state())
        for parameter in token.parameters():
            parameter.requires_grad_(trainable)
        return token


class RowSwitch:
    """Puts concept rows into one text encoder: hooks on its token embedding, which cost nothing when idle.

    The placeholder's id is beyond the vocabulary. Before the embedding it becomes the init word's
    id; after it, the row takes the place of that word's embedding.
    """

    def __init__(self, embedding: nn.Embedding, index: int) -> None:
        self.index = index
        self.active: dict[int, tuple[int, Tensor | None]] = {}
        self._found: list[tuple[Tensor, Tensor]] = []
        embedding.register_forward_pre_hook(self._before)
        embedding.register_forward_hook(self._after)

    def _before(self, module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        ids = args[0]
        self._found = []
        for placeholder, (init, row) in self.active.items():
            where = ids == placeholder
            if row is not None:
                self._found.append((where, row))
            ids = torch.where(where, init, ids)
        return (ids,)

    def _after(self, module: nn.Module, args: tuple[Tensor], out: Tensor) -> Tensor:
        for where, row in self._found:
            out = torch.where(where[..., None], row.to(out.dtype), out)
        return out
