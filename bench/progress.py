"""Progress bars with time left, and a log line now and then where there is no terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
log = logging.getLogger("bench")
BARS = True  # False in the processes of a sweep, whose bars would overwrite each other
SILENCE = 20  # seconds from one line of the log to the next


def track(items: Iterable[T], label: str, total: int, done: int = 0) -> Iterator[T]:
    """Yields the items under a bar (label, count, time left) on stderr.

    Args:
        items: what is worked through.
        label: what the bar says.
        total: how many there are in all, those done before included.
        done: how many were done before this call, as after a resume.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn())  # fmt: skip
    said, first = time.monotonic(), 0.0
    with Progress(*columns, console=console, disable=not (BARS and console.is_terminal)) as bar:
        task = bar.add_task(label, total=total, completed=done)
        for count, item in enumerate(items, start=done + 1):
            yield item
            bar.update(task, completed=count)
            now = time.monotonic()
            first = first or now
            if not (BARS and console.is_terminal) and now - said > SILENCE:
                log.info("%s: %d of %d%s", label, count, total, _left(now - first, count - done - 1, total - count))
                said = now


def _left(seconds: float, made: int, left: int) -> str:
    """Returns what to say of the time left; the first item often makes what the others use, and is no measure."""
    return f", {seconds / made * left:.0f} s left" if made else ""


def quiet_libraries() -> None:
    """Silences the model libraries' own bars: ours say what is being waited for."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    diffusers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
