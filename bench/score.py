"""Pictures → a table with one line a picture and metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.features import Dino, FeatureCache, OpenClip
from bench.metric import Features, Metric
from bench.row import Value
from bench.stats import interval

if TYPE_CHECKING:
    import pandas as pd

    from bench.concept import PromptGrid

Encoders = dict[str, OpenClip | Dino]


def score(
    grid: PromptGrid, images: Path, base_images: Path, references: Sequence[Path], encoders: Encoders,
    metrics: Sequence[Metric], cache: FeatureCache,
) -> pd.DataFrame:  # fmt: skip
    """Scores the customized model's pictures, and the base model's as anchor `none`.

    Returns:
        Columns source (`model` or `none`), metric, channel, prompt, seed, value.
    """
    import pandas as pd

    lines: list[dict[str, Any]] = []
    slots = {m.needs: encoders[m.needs] for m in metrics}
    for channel in grid.channels():
        cells = [c for c in grid.cells if c.prompt.channel == channel]
        for slot, encoder in slots.items():
            wanted = [m for m in metrics if m.needs == slot and channel in m.channels]
            if not wanted:
                continue
            made = cache.images(encoder, [images / f"{c.key}.png" for c in cells])
            base = cache.images(encoder, [base_images / f"{c.key}.png" for c in cells])
            text = cache.texts(encoder, [c.prompt.base for c in cells]) if isinstance(encoder, OpenClip) else None
            real = cache.images(encoder, references)
            for source, picture in (("model", made), ("none", base)):
                for m in wanted:
                    values = m.function(Features(picture, base, text, real))
                    lines += [
                        {
                            "source": source,
                            "metric": m.name,
                            "channel": channel,
                            "prompt": c.prompt.index,
                            "seed": c.seed,
                            "value": float(v),
                        }
                        for c, v in zip(cells, values, strict=True)
                    ]
    return pd.DataFrame(lines)


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
        if m.channels != ("concept",):
            continue  # the other channels ask what the references do not show
        encoder = encoders[m.needs]
        real = cache.images(encoder, references)
        text = cache.texts(encoder, captions) if isinstance(encoder, OpenClip) else None
        for i in range(len(references) if len(references) > 1 else 0):
            others = np.delete(real, i, axis=0)
            own = text[[i]] if text is not None else None
            value = m.function(Features(real[[i]], real[[i]], own, others))[0]
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


def summarize(table: pd.DataFrame, metrics: Sequence[Metric], encoders: Encoders) -> dict[str, dict[str, Value]]:
    """Returns source → name → value with its interval; a metric on several channels is `metric/channel`."""
    out: dict[str, dict[str, Value]] = {}
    for m in metrics:
        lines = table[table["metric"] == m.name]
        for (source, channel), part in lines.groupby(["source", "channel"], sort=False):
            mean, low, high = interval(part["value"].to_numpy(), part["prompt"].to_numpy())
            name = m.name if len(m.channels) == 1 else f"{m.name}/{channel}"
            out.setdefault(str(source), {})[name] = Value(
                value=round(mean, 6), low=round(low, 6), high=round(high, 6), n=len(part),
                title=m.title, group=m.group, better=m.better, checkpoint=encoders[m.needs].name, version=m.version,
            )  # fmt: skip
    return out
