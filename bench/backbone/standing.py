"""An adapter made part of the model: what is trained or measured on it then takes it for the untouched model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.backbone.token import ConceptToken
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.adapter import Adapter, Lora
    from bench.backbone.base import Backbone


@contextmanager
def standing(backbone: Backbone, adapter: Adapter) -> Iterator[None]:
    """Adds an adapter's changes to the weights and keeps its words in use for the block.

    Raises:
        BenchError: it acts by a rule (a gate, a guidance), which no weight can hold.
    """
    if adapter.consistency_scale is not None or any(x.gate for x in adapter.loras):
        raise BenchError("an adapter that acts by a gate or by guidance cannot be made part of a model's weights")
    before: dict[str, Tensor] = {}
    deltas = backbone.deltas
    lost = dict(deltas.lost)
    with torch.no_grad():
        for path, change in _changes(adapter):
            weight = backbone.denoiser.get_parameter(path)
            before.setdefault(path, weight.detach().clone())
            whole = deltas.whole(path, weight) + change.to(weight.device).float().view_as(weight)
            weight.copy_(whole)
            if weight.dtype != torch.float32:
                deltas.keep(path, whole, weight)
    backbone.standing = [ConceptToken.from_state(**t, device=backbone.device) for t in adapter.tokens]
    try:
        yield
    finally:
        backbone.standing, deltas.lost = [], lost
        with torch.no_grad():
            for path, original in before.items():
                backbone.denoiser.get_parameter(path).copy_(original)


def _changes(adapter: Adapter) -> Iterator[tuple[str, Tensor]]:
    """Yields weight paths and what is added to them."""
    yield from adapter.delta.items()
    for lora in adapter.loras:
        yield from _products(lora)


def _products(lora: Lora) -> Iterator[tuple[str, Tensor]]:
    for name, down in lora.factors.items():
        if ".lora_A." in name:
            up = lora.factors[name.replace(".lora_A.", ".lora_B.")]
            yield name.replace(".lora_A.", "."), lora.weight * up.float().flatten(1) @ down.float().flatten(1)
