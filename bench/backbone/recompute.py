"""Gradient checkpointing on a network whose adapters are switched between the forward and the backward pass."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from bench.backbone.base import Backbone


def recomputed(backbone: Backbone, block: nn.Module, *args: Any) -> Any:
    """Runs a block of the denoiser, and again in the backward pass, in place of keeping its activations.

    The second time everything that was switched on the first time is switched on again: by then a method has long
    switched to something else. Arguments go by their names, as in a plain call: hooks look for them there.
    """
    names, slots, gates = backbone.active, backbone.slots, dict(backbone.gating.values)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _as_it_was(backbone, names, slots, gates)

    known = list(inspect.signature(block.forward).parameters)
    named = dict(zip(known, args, strict=False))
    return checkpoint(
        block, *args[len(known) :], use_reentrant=False, preserve_rng_state=False, context_fn=contexts, **named
    )


@contextmanager
def _as_it_was(
    backbone: Backbone, names: tuple[str, ...], slots: Tensor | None, gates: dict[str, Tensor]
) -> Iterator[None]:
    before, values = backbone.slots, dict(backbone.gating.values)
    backbone.slots = slots
    _filled(backbone.gating.values, gates)
    try:
        with backbone.using(names):
            yield
    finally:
        backbone.slots = before
        _filled(backbone.gating.values, values)


def _filled(values: dict[str, Tensor], by: dict[str, Tensor]) -> None:
    values.clear()
    values.update(by)
