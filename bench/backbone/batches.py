"""How many pictures are made at a time: as many as fit, and fewer where they do not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

import torch

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.backbone.base import Backbone

T = TypeVar("T")
R = TypeVar("R")
log = logging.getLogger("bench")
ON_CPU, MOST = 16, 64  # pictures a batch: without a GPU, and on one of any size: larger batches are no faster
LESS = "model.memory.offload=true, model.memory.vae_tiling=true or model.dtype=bfloat16"
SHARE = 0.8  # of a GPU's free memory that a batch may take


def batch_size(
    said: int | Literal["auto"], backbone: Backbone, one: Callable[[], object], memory: GpuMemory | None = None
) -> int:
    """Returns the pictures of a batch, as a model's config says.

    Args:
        said: a number, or `auto`: on a GPU what fits into SHARE of the free memory, measured with one picture.
        backbone: the model.
        one: makes one picture, in as few steps as there can be: the memory of all steps is the same.
        memory: of the GPU.
    """
    if said != "auto":
        return int(said)
    if backbone.device.type != "cuda":
        return ON_CPU
    memory = memory or GpuMemory()
    before = memory.begin()
    one()
    size = int(SHARE * memory.free() // max(memory.peak() - before, 1))
    log.info("one picture takes %.1f GB, %.1f GB are free", (memory.peak() - before) / 1e9, memory.free() / 1e9)
    return max(1, min(size, MOST))


class GpuMemory:
    """The allocator's counts, in bytes."""

    def begin(self) -> int:
        """Returns what is in use, and counts the peak from here on."""
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()

    def peak(self) -> int:
        """Returns the most that was in use."""
        return torch.cuda.max_memory_allocated()

    def free(self) -> int:
        """Returns what can still be had: free on the device, or kept by the allocator and not in use."""
        return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def in_batches(
    items: Sequence[T], size: int, make: Callable[[Sequence[T]], R], what: str, less: str = LESS
) -> Iterator[R]:
    """Yields what is made of the items, a batch at a time; where memory runs out, in half as large ones from then on.

    Args:
        items: what is worked through.
        size: how many at a time.
        make: makes what comes of some.
        what: what there is not enough memory for, in words.
        less: which settings would take less.

    Raises:
        BenchError: there is no memory for one at a time.
    """
    at = 0
    while at < len(items):
        some = items[at : at + size]
        made = _tried(make, some)
        if made:
            at += len(some)
            yield made[0]
        elif len(some) == 1:
            raise BenchError(f"{what}: out of memory with one picture at a time; {less} would take less")
        else:
            size = len(some) // 2
            log.warning("%s: out of memory; going on with %d at a time", what, size)


def _tried(make: Callable[[Sequence[T]], R], some: Sequence[T]) -> list[R]:
    """Returns what was made, or nothing where memory ran out. The error is gone then, and what it held with it."""
    try:
        return [make(some)]
    except torch.OutOfMemoryError:
        pass
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return []
