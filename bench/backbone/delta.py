"""Changes to a model's own weights that can be switched off: W + Δ, for full fine-tuning and closed forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Delta(nn.Module):
    """One change of a weight."""

    def __init__(self, value: Tensor, trainable: bool) -> None:
        super().__init__()
        self.value = nn.Parameter(value, requires_grad=trainable)
        self.on = False


class Changed(nn.Module):
    """A weight with the changes that lie on it; with none switched on it is what it was, bit for bit.

    Attributes:
        lost: what rounding took off the weight, or None. Without it a change of less than half a step between two
            numbers of a half precision would be rounded away on every weight at once.
    """

    def __init__(self, lost: Tensor | None) -> None:
        super().__init__()
        self.lost, self.changes = lost, nn.ModuleList()

    def forward(self, weight: Tensor) -> Tensor:
        """Returns the weight in use."""
        values = [c.value for c in self.changes if c.on]
        if not values:
            return weight
        whole = weight if self.lost is None else weight.float() + self.lost
        return sum(values, start=whole).to(weight.dtype)


def _still_first(module: nn.Module, args: tuple[Tensor], out: Tensor) -> Tensor:
    return torch.cat([out[:, :1].detach(), out[:, 1:]], 1) if out.requires_grad else out


class Deltas:
    """The named sets of weight changes on one network.

    Attributes:
        sets: name → path of a weight → its change.
        lost: path → what rounding took off the weight; on the CPU.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self.sets: dict[str, dict[str, Delta]] = {}
        self.lost: dict[str, Tensor] = {}
        self._changed: dict[str, Changed] = {}
        self._hooks: list[Any] = []

    def rounded(self, precision: torch.dtype) -> None:
        """Keeps what a precision, to which the network is about to be rounded, takes off its weights."""
        for path, weight in self._network.named_parameters():
            if weight.dim() in (2, 4) and weight.dtype != precision != torch.float32:
                whole = weight.detach().float()
                if not torch.equal(whole, rounded := whole.to(precision)):
                    self.keep(path, whole, rounded)

    def keep(self, path: str, whole: Tensor, weight: Tensor) -> None:
        """Keeps what is left of a whole weight beside the rounded one: itself rounded, it must leave that as it is."""
        lost = (whole - weight.float()).to(weight.dtype)
        over = (weight.float() + lost.float()).to(weight.dtype) != weight
        self.lost[path] = torch.where(over, lost * (1 - 2**-7), lost).cpu()

    def whole(self, path: str, weight: Tensor) -> Tensor:
        """Returns a weight in float32, with what rounding took off it."""
        lost = self.lost.get(path)
        return weight.float() if lost is None else weight.float() + lost.to(weight.device).float()

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
            if path not in self._changed:
                lost = self.lost.get(path)
                self._changed[path] = Changed(None if lost is None else lost.to(weight.device))
                parametrize.register_parametrization(owner, field, self._changed[path])
            self._changed[path].changes.append(made[path])
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
        for path in self._changed:
            owner, field = self._owner(path)
            parametrize.remove_parametrizations(owner, field, leave_parametrized=False)
        for hook in self._hooks:
            hook.remove()
        for kept in (self._hooks, self._changed, self.sets):
            kept.clear()

    def _owner(self, path: str) -> tuple[Any, str]:
        module, _, field = path.rpartition(".")
        owner = self._network.get_submodule(module)
        return getattr(owner, "base_layer", owner), field  # under a LoRA, where one lies on it
