"""Pictures → a table with one line a picture and metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.features import FeatureCache, Judge, OpenClip
from bench.matching import Blip1, Blip2
from bench.metric import Features, Metric
from bench.reader import Reader
from bench.row import Value
from bench.stats import interval

if TYPE_CHECKING:
    import pandas as pd

    from bench.concept import Concept
    from bench.grid import PromptGrid

Encoders = dict[str, Judge]


def score(
    grid: PromptGrid, folders: dict[str, Path], concept: Concept, encoders: Encoders, metrics: Sequence[Metric],
    cache: FeatureCache,
) -> pd.DataFrame:  # fmt: skip
    """Scores pictures of several sources: the customized `model`'s, and those of the anchors.

    A prompt that asks for one part of a composite concept is compared with that part's references.

    Returns:
        Columns source, metric, channel, prompt, seed, value.
    """
    import pandas as pd

    lines: list[dict[str, Any]] = []
    slots = {m.needs: encoders[m.needs] for m in metrics}
    for channel, part in dict.fromkeys((c.prompt.channel, c.prompt.part) for c in grid.cells):
        cells = [c for c in grid.cells if (c.prompt.channel, c.prompt.part) == (channel, part)]
        references = [concept.image_paths()[i] for i in concept.of_part(part)]
        for slot, encoder in slots.items():
            wanted = [m for m in metrics if m.needs == slot and channel in m.channels]
            asked = [c for c in cells if not isinstance(encoder, Reader) or encoder.knows(c.prompt.base)]
            if not wanted or not asked:
                continue
            prompts = [c.prompt.base for c in asked]
            seen = look(encoder, {s: [f / f"{c.key}.png" for c in asked] for s, f in folders.items()}, prompts,
                        references, cache)  # fmt: skip
            for source, features in seen.items():
                for m in wanted:
                    named = {"source": source, "metric": m.name, "channel": channel}
                    lines += [
                        named | {"prompt": c.prompt.index, "seed": c.seed, "value": float(v)}
                        for c, v in zip(asked, m.function(features), strict=True)
                    ]
    return pd.DataFrame(lines)


def look(
    encoder: Judge, pictures: dict[str, list[Path]], prompts: Sequence[str], references: Sequence[Path],
    cache: FeatureCache,
) -> dict[str, Features]:  # fmt: skip
    """Returns what a judge sees of each source's pictures; `none` is the untouched model's."""
    if isinstance(encoder, Blip2 | Blip1 | Reader):
        nothing = np.zeros((0, 0), np.float32)
        scores = {source: cache.pairs(encoder, paths, prompts) for source, paths in pictures.items()}
        return {source: Features(nothing, nothing, None, nothing, match) for source, match in scores.items()}
    made = {source: cache.images(encoder, paths) for source, paths in pictures.items()}
    text = cache.texts(encoder, prompts) if isinstance(encoder, OpenClip) else None
    real = cache.images(encoder, references)
    return {source: Features(picture, made["none"], text, real) for source, picture in made.items()}


def score_references(
    references: Sequence[Path],
    captions: Sequence[str],
    encoders: Encoders,
    metrics: Sequence[Metric],
    cache: FeatureCache,
) -> pd.DataFrame:
    """Scores the real references as if they had been generated, each against the others: the ceiling of
    fidelity (a picture is not compared with itself) and what the references' own captions score.
    One reference alone has no other to be compared with: the anchor is empty.
    """
    import pandas as pd

    lines: list[dict[str, Any]] = []
    for m in metrics:
        encoder = encoders[m.needs]
        unread = isinstance(encoder, Reader) and not all(map(encoder.knows, captions))
        if m.plain != "concept" or unread:
            continue  # the other channels ask what the references do not show
        seen = look(encoder, {"none": list(references)}, captions, references, cache)["none"]
        for i in range(len(references) if len(references) > 1 else 0):
            value = m.function(_alone(seen, i))[0]
            lines.append(
                {
                    "source": "references",
                    "metric": m.name,
                    "channel": "concept",
                    "prompt": i,
                    "seed": 0,
                    "value": float(value),
                }
            )
    return pd.DataFrame(lines)


def _alone(seen: Features, i: int) -> Features:
    """Returns one reference's features, to be compared with the other references."""
    if seen.match is not None:
        return replace(seen, match=seen.match[[i]])
    own = seen.text[[i]] if seen.text is not None else None
    return Features(seen.image[[i]], seen.image[[i]], own, np.delete(seen.references, i, axis=0))


def summarize(table: pd.DataFrame, metrics: Sequence[Metric], encoders: Encoders) -> dict[str, dict[str, Value]]:
    """Returns source → name → value with its interval; a metric on several channels is `metric/channel`."""
    out: dict[str, dict[str, Value]] = {}
    for m in metrics:
        lines = table[table["metric"] == m.name]
        for (source, channel), part in lines.groupby(["source", "channel"], sort=False):
            mean, low, high = interval(part["value"].to_numpy(), part["prompt"].to_numpy())
            out.setdefault(str(source), {})[m.value_name(str(channel))] = Value(
                value=round(mean, 6), low=round(low, 6), high=round(high, 6), n=len(part),
                title=m.title, group=m.group, better=m.better, checkpoint=encoders[m.needs].name, version=m.version,
            )  # fmt: skip
    return out
