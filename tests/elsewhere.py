"""A device that is not the CPU, where there is none: real numbers under a strict guard.

Tensors of `DEVICE` hold CPU tensors and compute what those compute. What no GPU allows raises: mixing devices, a CPU
generator drawing on the device, reading a tensor's memory without `.cpu()`. So code that runs here and gives what it
gives on the CPU puts every tensor where it belongs, and draws its noise on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

DEVICE = torch.device("meta:1")  # autograd knows no other beside the CPU in every build; loaders ask for `meta` alone
CROSSES = ("aten::copy_", "aten::_to_copy")  # what takes a tensor from one device to another
INDEXES = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")


class Mixed(RuntimeError):
    """Two devices in one operation."""


class Elsewhere(torch.Tensor):
    """A tensor of the device."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Elsewhere:
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=DEVICE,
        )  # fmt: skip
        made.held = held
        return made

    # What torch does beneath the dispatcher, where numbers would be lost.

    def tolist(self) -> Any:
        return self.held.tolist()

    def __getitem__(self, index: Any) -> torch.Tensor:
        return super().__getitem__(torch.tensor(index) if isinstance(index, list) else index)

    def new_tensor(self, data: Any) -> torch.Tensor:
        return torch.tensor(data, dtype=self.dtype).to(DEVICE)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Guard(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name, given = func._schema.name, [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
    there = [x for x in given if isinstance(x, Elsewhere)]
    asked = kwargs.get("device")
    _check(name, given, there, asked, kwargs)
    plain = tree_map_only(Elsewhere, lambda x: x.held, (args, kwargs))
    if asked is not None:
        plain[1]["device"] = torch.device("cpu")
    out = func(*plain[0], **plain[1])
    stays = isinstance(given[0], Elsewhere) if given else False
    if not (torch.device(asked) == DEVICE if asked is not None else stays or (there and name not in CROSSES)):
        return out
    same = {id(x.held): x for x in there}  # an operation in place returns the tensor it was given
    return tree_map_only(torch.Tensor, lambda x: same.get(id(x)) if id(x) in same else Elsewhere(x), out)


def _check(name: str, given: list[torch.Tensor], there: list[Elsewhere], asked: Any, kwargs: dict[str, Any]) -> None:
    where = bool(there) or (asked is not None and torch.device(asked) == DEVICE)
    if where and kwargs.get("generator") is not None:
        raise Mixed(f"{name}: a generator of the CPU on {DEVICE}")
    here = [x for x in given if not isinstance(x, Elsewhere) and x.ndim]
    if not (there and here) or name in CROSSES:
        return
    if name in INDEXES and isinstance(given[0], Elsewhere) and all(not x.is_floating_point() for x in here):
        return  # indices may lie on the CPU
    raise Mixed(f"{name}: tensors of cpu {[tuple(x.shape) for x in here]} and {DEVICE} in one operation")


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """Has the device for a block."""
    with _Guard():
        yield DEVICE
