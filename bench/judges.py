"""The judges of a run: those of `features`, and those that came after it and have a file of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.names import code_of

if TYPE_CHECKING:
    from bench.features import FeatureCache

OWN_FILE = {"csd": "csd.py"}  # kind → file, which the key of what it judged depends on


def code(kind: str) -> str:
    """Returns a hash of the file of a kind that has one of its own, else nothing."""
    return code_of(OWN_FILE[kind]) if kind in OWN_FILE else ""


def build(spec: dict[str, str]) -> Any:
    """Builds a judge of a dataset's configuration: `kind`, `name`, `path`.

    Raises:
        BenchError: its folder is missing or damaged.
    """
    if spec["kind"] == "csd":
        from bench.csd import Csd

        return Csd(spec["name"], spec["path"])
    from bench import features

    return features.build(spec)


def cache(path: Path) -> FeatureCache:
    """Returns the cache of features in a file; of no pictures at all it has no features."""
    from collections.abc import Callable

    import numpy as np

    from bench.features import FeatureCache

    class Cache(FeatureCache):
        def _get(self, encoder: Any, keys: list[str], compute: Callable[[list[int]], Any]) -> Any:
            return super()._get(encoder, keys, compute) if keys else np.zeros((0, 0), np.float32)

    return Cache(path)
