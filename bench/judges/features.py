"""A cache of features that knows pictures by their bytes and judges by their weights."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.names import LOOKS, code_of, libraries, world_key
from bench.pictures import read_picture
from bench.progress import track
from bench.store import key_of

if TYPE_CHECKING:
    from bench.judges.build import Encoder, Known, Matcher, Reads

    Array = np.ndarray[Any, np.dtype[np.float32]]


def _opened(path: Path) -> sqlite3.Connection:
    found = sqlite3.connect(path, timeout=60)
    found.execute(
        "CREATE TABLE IF NOT EXISTS feature (encoder TEXT, content TEXT, value BLOB, PRIMARY KEY (encoder, content))"
    )
    return found


class FeatureCache:
    """Features in one SQLite file, keyed by content: every picture is encoded once by a judge, its weights, the code
    that looks with them and the libraries.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._code = key_of({"code": code_of(*LOOKS), "world": world_key(), "libraries": libraries()})
        try:
            self._db = _opened(path)
        except sqlite3.DatabaseError as error:
            self._begin_anew(error)

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        """Puts a damaged file aside: what was in it is only worked out again."""
        if isinstance(error, sqlite3.OperationalError):
            raise error  # locked, or no place to write
        self._path.rename(self._path.with_name(f"{self._path.name}.damaged-{time.time_ns()}"))
        self._db = _opened(self._path)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def images(self, encoder: Encoder, paths: Sequence[Path]) -> Array:
        """Returns the features (n, d) of picture files."""

        def read(indices: list[int]) -> Array:
            return encoder.images([read_picture(paths[i]) for i in indices])

        return self._get(encoder, [hashlib.sha256(p.read_bytes()).hexdigest() for p in paths], read)

    def texts(self, encoder: Reads, texts: Sequence[str]) -> Array:
        """Returns the features (n, d) of texts."""
        keys = ["text:" + hashlib.sha256(t.encode()).hexdigest() for t in texts]
        return self._get(encoder, keys, lambda indices: encoder.texts([texts[i] for i in indices]))

    def pairs(self, judge: Matcher, paths: Sequence[Path], texts: Sequence[str]) -> Array:
        """Returns a matcher's scores (n, k) of picture files with their texts."""

        def read(indices: list[int]) -> Array:
            return judge.pairs([read_picture(paths[i]) for i in indices], [texts[i] for i in indices])

        hashes = zip((p.read_bytes() for p in paths), texts, strict=True)
        return self._get(judge, [hashlib.sha256(b + b"|" + t.encode()).hexdigest() for b, t in hashes], read)

    def _get(self, encoder: Known, keys: list[str], compute: Callable[[list[int]], Array]) -> Array:
        try:
            return self._looked_up(encoder, keys, compute)
        except sqlite3.DatabaseError as error:  # damage beyond the page that is read first
            self._begin_anew(error)
            return self._looked_up(encoder, keys, compute)

    def _looked_up(self, encoder: Known, keys: list[str], compute: Callable[[list[int]], Array]) -> Array:
        found: dict[str, Array] = {}
        judge = f"{type(encoder).__name__} {encoder.fingerprint} {self._code}"  # it looks with its code as well
        for key in dict.fromkeys(keys):
            row = self._db.execute(
                "SELECT value FROM feature WHERE encoder = ? AND content = ?", (judge, key)
            ).fetchone()
            if row:
                found[key] = np.frombuffer(row[0], dtype=np.float32)
        todo = [keys.index(k) for k in dict.fromkeys(keys) if k not in found]
        made, count = _batches(todo, compute, encoder.name), -(-len(todo) // 32)
        for batch, values in track(made, f"scoring, {encoder.name}", count):
            for i, value in zip(batch, values, strict=True):
                found[keys[i]] = value.astype(np.float32)
                self._db.execute(
                    "INSERT OR REPLACE INTO feature VALUES (?, ?, ?)",
                    (judge, keys[i], found[keys[i]].tobytes()),
                )
            self._db.commit()
        return np.stack([found[k] for k in keys]) if keys else np.zeros((0, 0), np.float32)


def _batches(
    todo: list[int], compute: Callable[[list[int]], Array], name: str
) -> Iterator[tuple[Sequence[int], Array]]:
    """Yields indices and what a judge makes of them, a batch at a time, fewer where a GPU's memory runs out."""
    if todo:
        from bench.backbone.batches import in_batches

        yield from in_batches(todo, 32, lambda some: (some, compute(list(some))), f"judge {name}", "model.device=cpu")
