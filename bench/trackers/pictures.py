"""The pictures of a finished run as tables, read from the store. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.attack_keys import part_key
from bench.forecast.steps import SIDES
from bench.pictures import FORMATS
from bench.store import Store

if TYPE_CHECKING:
    from PIL import Image

Scores = dict[tuple[str, int, int], dict[str, float]]  # (channel, prompt, seed) → metric → value
COLUMNS = ("prompt", "plain", "seed", "base", "custom")


@dataclass(frozen=True)
class Table:
    """A table; a cell is a word, a number, nothing, or a picture (`PIL.Image`)."""

    name: str
    columns: list[str]
    lines: list[list[Any]]


def tables(store: Store, keys: Mapping[str, str], seeds: int, side: int) -> Iterator[Table]:
    """Yields a table of pictures a channel: prompt, seed, the untouched model's, the method's, what was scored.

    An attack's pictures are tables of their own. What is no longer in the store has none.

    Args:
        store: of the run.
        keys: the row's fingerprints.
        seeds: how many pictures of a prompt are shown.
        side: of the largest picture, in pixels.
    """
    scores = _scores(store.path("score", keys.get("score", "none")))
    for base, custom in _folders(store, keys):
        manifest = base / "manifest.json"
        if not manifest.is_file() or not custom.is_dir():
            continue
        cells = [c for c in json.loads(manifest.read_text(encoding="utf-8")) if c["seed"] < seeds]
        for channel in dict.fromkeys(c["channel"] for c in cells):
            own = [c for c in cells if c["channel"] == channel]
            of = [scores.get((channel, c["index"], c["seed"]), {}) for c in own]
            metrics = list(dict.fromkeys(m for found in of for m in found))
            lines = [
                [c["complete"], c["base"], c["seed"], *(_picture(f / c["file"], side) for f in (base, custom)),
                 *(found.get(m) for m in metrics)]
                for c, found in zip(own, of, strict=True)
            ]  # fmt: skip
            yield Table(f"pictures/{channel}", [*COLUMNS, *metrics], lines)


def _folders(store: Store, keys: Mapping[str, str]) -> Iterator[tuple[Path, Path]]:
    """Yields the untouched model's pictures and the method's: of the grid, then of every attack there was."""
    yield store.path("base", keys.get("base", "none")), store.path("generate", keys.get("generate", "none"))
    for channel in (c for c in SIDES if c in keys):
        made = {source: part_key(keys[of], f"{channel} {source}") for of, source in SIDES[channel] if of in keys}
        before, after = (made.get(source, "none") for source in ("none", "model"))
        yield store.path("base", before), store.path("generate", after)


def _scores(folder: Path) -> Scores:
    path = folder / "scores.parquet"
    out: Scores = {}
    if path.is_file():
        import pandas as pd

        table = pd.read_parquet(path, columns=["source", "metric", "channel", "prompt", "seed", "value"])
        own = table[(table["source"] == "model") & (table["prompt"] >= 0)].drop(columns="source")
        for metric, channel, prompt, seed, value in own.itertuples(index=False):
            out.setdefault((channel, int(prompt), int(seed)), {})[metric] = float(value)
    return out


def _picture(path: Path, side: int) -> Image.Image | None:
    from PIL import Image

    if not path.is_file():
        return None
    with Image.open(path, formats=FORMATS) as image:
        shown = image.convert("RGB")
    shown.thumbnail((side, side))
    return shown
