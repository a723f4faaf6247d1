"""How much memory a block takes beyond what was in use before it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchError

EVERY, MIB = 0.05, 2**20  # seconds between looks
_OUTER: list[list[int]] = []  # the blocks open on a GPU: the most of each before one inside it counted anew
_STATUS = Path("/proc/self/statm")


def _resident() -> int:
    """Returns the bytes this process holds; 0 where the system does not say."""
    import resource

    return int(_STATUS.read_text().split()[1]) * resource.getpagesize() if _STATUS.is_file() else 0


@contextmanager
def peak_memory(device: str = "cpu") -> Iterator[Callable[[], float]]:
    """Watches a block. Yields a function that says its peak so far, in MiB over what was in use before it.

    On a GPU (`cuda`) it is the allocator's own count; else the process is looked at every 50 ms.
    """
    if device == "cuda":
        import torch

        for seen in _OUTER:
            seen[0] = max(seen[0], torch.cuda.max_memory_allocated())
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _OUTER.append(mine := [before])
        try:
            yield lambda: round((max(mine[0], torch.cuda.max_memory_allocated()) - before) / MIB, 1)
        finally:
            _OUTER.pop()
        return
    begun, over = _resident(), threading.Event()
    most = [begun]

    def watch() -> None:
        while not over.wait(EVERY):
            most[0] = max(most[0], _resident())

    def peak() -> float:
        return round((max(most[0], _resident()) - begun) / MIB, 1)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


@contextmanager
def named_shortage(what: str, batch: str) -> Iterator[None]:
    """Turns running out of memory in a block into one line.

    Args:
        what: what there was not enough memory for.
        batch: the setting of its batch size.

    Raises:
        BenchError: there was not enough.
    """
    import torch

    try:
        yield
        return
    except torch.OutOfMemoryError as error:
        said = str(error).splitlines()[0].partition(". GPU")[0]
    raise BenchError(
        f"{what}: out of memory ({said}); a smaller {batch}, model.memory.gradient_checkpointing=true, "
        "model.memory.drop_text_encoders=true, model.memory.offload=true, model.memory.vae_tiling=true or "
        "model.dtype=bfloat16 would take less"
    )
