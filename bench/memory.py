"""How much memory a block takes beyond what was in use before it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

EVERY, MIB = 0.05, 2**20  # seconds between looks
_STATUS = Path("/proc/self/statm")


def _resident() -> int:
    """Returns the bytes this process holds; 0 where the system does not say."""
    import resource

    return int(_STATUS.read_text().split()[1]) * resource.getpagesize() if _STATUS.is_file() else 0


@contextmanager
def peak_memory() -> Iterator[Callable[[], float]]:
    """Watches a block. Yields a function that says its peak so far, in MiB over what was in use before it.

    On a GPU it is the allocator's own count; else the process is looked at every 50 ms.
    """
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield lambda: round((torch.cuda.max_memory_allocated() - before) / MIB, 1)
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
