"""Changes to a model's own weights that can be switched off: W + Δ, for full fine-tuning and closed forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Delta(nn.Module):
    """One weight's change; switched off, the weight is what it was, bit for bit."""

    def __init__(self, value: Tensor, trainable: bool) -> None:
        super().__init__()
        self.value = nn.Parameter(value, requires_grad=trainable)
        self.on = False

    def forward(self, weight: Tensor) -> Tensor:
        """Returns the weight in use."""
        return (weight + self.value).to(weight.dtype) if self.on else weight


def _still_first(module: nn.Module, args: tuple[Tensor], out: Tensor) -> Tensor:
    return torch.cat([out[:, :1].detach(), out[:, 1:]], 1) if out.requires_grad else out


class Deltas:
    """The named sets of weight changes on one network."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self.sets: dict[str, dict[str, Delta]] = {}
        self._hooks: list[Any] = []

    def add(
        self, name: str, weights: Mapping[str, Tensor | None], trainable: bool, still_first: bool = False
    ) -> list[nn.Parameter]:
        """Puts changes on weights (`block.attn.to_k.weight` → a value, or None for zeros); returns them.

        With `still_first` no gradient passes through the first position the modules read.
        """
        made: dict[str, Delta] = {}
        for path, value in weights.items():
            owner, field = self._owner(path)
            weight = getattr(owner, field)
            start = torch.zeros_like(weight, dtype=torch.float32) if value is None else value.to(weight.device).float()
            made[path] = Delta(start.detach().clone(), trainable)
            parametrize.register_parametrization(owner, field, made[path])
            if still_first:
                self._hooks.append(owner.register_forward_hook(_still_first))
        self.sets[name] = made
        return [d.value for d in made.values()]

    def switch(self, names: tuple[str, ...]) -> None:
        """Switches exactly these sets on."""
        for name, deltas in self.sets.items():
            for delta in deltas.values():
                delta.on = name in names

    def state(self, name: str) -> dict[str, Tensor]:
        """Returns a set's changes by the path of their weight."""
        return {path: delta.value.detach().to("cpu", copy=True) for path, delta in self.sets[name].items()}

    def clear(self) -> None:
        """Takes all changes off; the weights are the originals again."""
        for path in {p for deltas in self.sets.values() for p in deltas}:
            owner, field = self._owner(path)
            parametrize.remove_parametrizations(owner, field, leave_parametrized=False)
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self.sets.clear()

    def _owner(self, path: str) -> tuple[Any, str]:
        module, _, field = path.rpartition(".")
        owner = self._network.get_submodule(module)
        return getattr(owner, "base_layer", owner), field  # under a LoRA, where one lies on it
