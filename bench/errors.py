"""What the harness says when a request cannot be met."""

from __future__ import annotations

import difflib
import threading
import traceback
from collections.abc import Iterable
from pathlib import Path


def near(name: str, choices: Iterable[str]) -> str:
    """Returns ` (NAME?)` where one of the choices is near, else nothing."""
    found = difflib.get_close_matches(name, list(choices), 1)
    return f" ({found[0]}?)" if found else ""


def own_line(error: BaseException, *, installed: bool = False) -> str:
    """Returns `FILE, line N` of the last step of an error that is neither the harness's nor a library's; or nothing.

    With `installed`, a library's where there is none: a method's own package may be installed beside them.
    """
    home = Path(__file__).resolve().parent
    steps = [f for f in traceback.extract_tb(error.__traceback__) if home not in Path(f.filename).resolve().parents]
    own = [f for f in steps if "site-packages" not in f.filename] or (steps if installed else [])
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}" if own else ""


class BenchError(Exception):
    """The request was wrong: the message is one line that names the file or field and what would be right."""


class NotServed(BenchError):
    """The method is not made for the concept's kind or the model's family; a sweep over all concepts leaves it out."""


class Diverged(Exception):
    """Training left the finite numbers: the run becomes a row that says so.

    Attributes:
        curves: the training curves up to there.
    """

    def __init__(self, message: str, curves: dict[str, list[float]]) -> None:
        super().__init__(message)
        self.curves = curves


STOPPING = threading.Event()  # set where a cluster cuts this process off: what ends then is no run that failed


class Broken(Exception):
    """A promise of a method is not kept; the message says which and what would be right."""
