"""Run folders: found by content, written whole or not at all, one writer at a time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.errors import BenchError

DONE = "done.json"
CLOCK = ".clock"  # in an unfinished folder: the seconds of earlier attempts; written when the last began


def key_of(parts: dict[str, Any]) -> str:
    """Returns the key of a stage: a hash of everything its output depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")  # another machine may have our number
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _spent(clock: Path) -> float:
    """Returns the seconds that earlier attempts at a stage took, each up to the last file it wrote, and notes that
    another begins; killed, none could have said.
    """
    seconds = 0.0
    with suppress(OSError, ValueError):
        before = float(clock.read_text())
        last = max(p.stat().st_mtime for p in clock.parent.rglob("*"))
        seconds = before + max(0.0, last - clock.stat().st_mtime)
    clock.write_text(repr(seconds))
    return seconds


class Store:
    """A folder of stage outputs, `<root>/store/<stage>/<key>`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, stage: str, key: str) -> Path:
        """Returns where a stage's output lies once it is done.

        Raises:
            BenchError: the key, of a row from anybody, is no name of a folder.
        """
        if not re.fullmatch(r"(\w[\w.-]*)?", key):
            raise BenchError(f"{stage} key {ascii(key)[:60]}: 16 digits would be right")
        return self.root / "store" / stage / key

    def has(self, stage: str, key: str) -> bool:
        """Returns whether a stage is done and everything it wrote is still there, unchanged."""
        done = self.path(stage, key) / DONE
        if not done.is_file():
            return False
        try:
            sums = dict(json.loads(done.read_text())["files"].items())
        except (ValueError, KeyError, TypeError, AttributeError):
            return False  # done.json itself is damaged
        folder = done.parent
        return all((folder / name).is_file() and _checksum(folder / name) == sum_ for name, sum_ in sums.items())

    def once(self, stage: str, key: str, about: dict[str, Any], fill: Callable[[Path], object]) -> None:
        """Makes a stage unless it is there; who comes while another process makes it waits, and finds it made.

        What an interrupted run left in the unfinished folder is still there, to go on from. Every stage that is
        made adds a line to `store/log.jsonl`, so that what was made twice can be counted.

        Args:
            stage: name of the stage.
            key: the stage's key.
            about: what the key was made of, kept beside the output.
            fill: writes the output into the folder it is given.
        """
        if self.has(stage, key):
            return
        final = self.path(stage, key)
        partial = final.with_name(f"{key}.partial")
        final.parent.mkdir(parents=True, exist_ok=True)
        with self._lock(final.with_name(f"{key}.lock")):
            if self.has(stage, key):  # another process made it while this one waited
                return
            partial.mkdir(exist_ok=True)
            begun = time.monotonic() - _spent(partial / CLOCK)
            fill(partial)
            written = [p for p in sorted(partial.rglob("*")) if p.is_file() and p.name not in (DONE, CLOCK)]
            files = {str(p.relative_to(partial)): _checksum(p) for p in written}
            seconds = round(time.monotonic() - begun, 3)
            done = {"about": about, "files": files, "seconds": seconds}
            (partial / DONE).write_text(json.dumps(done, indent=1, default=str))
            if final.exists():  # damaged: something it wrote is gone
                final.rename(final.with_name(f"{key}.damaged-{time.time_ns()}"))
            (partial / CLOCK).unlink(missing_ok=True)
            partial.rename(final)
            self._note(stage, key, seconds)

    def seconds(self, stage: str, key: str) -> float | None:
        """Returns how long a finished stage took, with what interrupted ones had written into its folder; a
        training has its own clock, in its checkpoints.
        """
        done: dict[str, Any] = json.loads((self.path(stage, key) / DONE).read_text())
        return done.get("seconds")

    def _note(self, stage: str, key: str, seconds: float) -> None:
        """Adds a line to the log; one write of a short line is whole even where several processes write."""
        made = {"stage": stage, "key": key, "seconds": seconds, "host": platform.node(), "pid": os.getpid()}
        with (self.root / "store" / "log.jsonl").open("a", encoding="utf-8") as f:
            f.write(json.dumps(made) + "\n")

    @contextmanager
    def _lock(self, path: Path) -> Iterator[None]:
        with path.open("w") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            yield
