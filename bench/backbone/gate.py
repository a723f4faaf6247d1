"""Gates: how strongly an adapter acts on each picture of a batch (SPM's facilitated transport)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from bench.backbone.base import Backbone


@dataclass(frozen=True)
class Gate:
    """When an adapter acts.

    Attributes:
        phrases: what it answers to.
        combine: several gated adapters on one weight: `paper`, ΔW = Σ γ u dᵀ (SPM eq. 9); `official`,
            ΔW = (Σ γ u)(Σ γ d)ᵀ, as the released code sums the factors first: γ² for one adapter.
    """

    phrases: tuple[str, ...]
    combine: Literal["paper", "official"] = "paper"


def strength(backbone: Backbone, gate: Gate, prompts: Sequence[str]) -> Tensor:
    """Returns γ (n,) of prompts: the larger of the two likenesses to the nearest phrase (SPM section 3.4).

    One is the cosine of the text towers' flattened states, the other the share of the phrase's tokens
    that the prompt has.
    """
    states = [backbone.text_states(list(gate.phrases)), backbone.text_states(list(prompts))]
    phrases, asked = (torch.cat([s.flatten(1) for _, s in towers], 1) for towers in states)
    cosine = torch.nn.functional.cosine_similarity(asked[:, None], phrases[None], dim=-1)
    shared = torch.tensor([[_share(backbone, p, q) for p in gate.phrases] for q in prompts])
    return torch.maximum(cosine, shared.to(cosine)).amax(1)


def _share(backbone: Backbone, phrase: str, prompt: str) -> float:
    wanted, there = (set(backbone.prompts.pieces(text)) for text in (phrase, prompt))
    return len(wanted & there) / max(1, len(wanted))


def set_gates(backbone: Backbone, prompts: Sequence[str], mode: str | float) -> None:
    """Sets every gate for these prompts: `auto` by likeness, `open` 1, `closed` 0, or a value."""
    for name, gate in backbone.gating.gates.items():
        if mode == "auto":
            backbone.gating.values[name] = strength(backbone, gate, prompts)
        else:
            value = {"open": 1.0, "closed": 0.0}.get(str(mode))
            backbone.gating.values[name] = torch.full((len(prompts),), float(mode) if value is None else value)


class Gating:
    """Scales gated LoRAs sample by sample: a hook on each down projection, idle while nothing is set."""

    def __init__(self) -> None:
        self.gates: dict[str, Gate] = {}
        self.values: dict[str, Tensor] = {}

    def watch(self, network: nn.Module, name: str, gate: Gate) -> None:
        """Gates a LoRA that is on the network."""
        self.gates[name] = gate
        for module in network.modules():
            downs: Any = getattr(module, "lora_A", None)
            if downs is not None and name in downs:
                downs[name].register_forward_hook(self._hook(name, downs))

    def _hook(self, name: str, downs: Any) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor], out: Tensor) -> Tensor:
            if name not in self.values:
                return out
            if self.gates[name].combine == "official":
                others = [n for n in self.values if n in downs and n != name]
                out = self._scaled(name, out) + sum(
                    (self._scaled(n, downs[n].forward(args[0])) for n in others), torch.zeros(())
                )
            return self._scaled(name, out)

        return hook

    def _scaled(self, name: str, out: Tensor) -> Tensor:
        gamma = self.values[name].to(out)
        return out * gamma.repeat(len(out) // len(gamma)).view(-1, *[1] * (out.ndim - 1))
