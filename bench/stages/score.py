"""Pictures → a table with one line a picture and metric."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.grid import NOVELTY
from bench.judges.build import Judge, Matcher, Reads
from bench.judges.detector import calibration
from bench.judges.features import FeatureCache
from bench.judges.reader import Reader
from bench.metric import Bank, Derived, Features, Metric
from bench.row import Value
from bench.rows.checks import ranges
from bench.stages.derive import Means, derive
from bench.stats import independent, interval, wilson

if TYPE_CHECKING:
    import pandas as pd

    from bench.grid import Cell
    from bench.sides import Probe

Encoders = dict[str, Judge]


def score(
    probe: Probe, main: Probe, encoders: Encoders, metrics: Sequence[Metric | Derived], cache: FeatureCache
) -> pd.DataFrame:
    """Scores pictures of several sources: the customized `model`'s, and those of the anchors.

    A prompt that asks for one part of a composite concept is compared with that part's references.

    Args:
        probe: what is scored.
        main: the run's own grid, whose pictures of the untouched model detectors are calibrated on.
        encoders: the judges.
        metrics: those that are not for the probe's concept or channels are passed over.
        cache: of features.

    Returns:
        Columns source, metric, channel, prompt, seed, value.
    """
    import pandas as pd

    grid, folders, concept = probe.grid, probe.folders, probe.concept
    lines: list[dict[str, Any]] = []
    single = [m for m in metrics if isinstance(m, Metric) and m.serves(*concept.kinds)]
    slots = dict.fromkeys(m.needs for m in single)

    @functools.cache
    def bank(slot: str, part: int | None) -> Bank | None:
        return calibration(encoders[slot], probe, main, cache, part)

    for channel, part in dict.fromkeys((c.prompt.channel, c.prompt.part) for c in grid.cells):
        cells = [c for c in grid.cells if (c.prompt.channel, c.prompt.part) == (channel, part)]
        references = [concept.image_paths()[i] for i in concept.of_part(part)]
        parts = [(p.kind, concept.of_part(k)) for k, p in enumerate(concept.apart)] if part is None else []
        told = part if concept.scored_as == "erase" or channel == NOVELTY else None  # parts learned together share one
        for slot in slots:
            encoder = encoders[slot]
            wanted = [m for m in single if m.needs == slot and channel in m.channels]
            if not wanted:
                continue
            asked = [c for c in cells if not isinstance(encoder, Reader) or encoder.knows(c.prompt.base)]
            if not asked:
                continue
            pictures = {
                source: [f / f"{c.key}.png" for c in asked]
                for source, f in folders.items()
                if source != "surrogate" or asked[0].prompt.surrogate
            }
            seen = look(encoder, pictures, [c.prompt.base for c in asked], references, cache)
            others = [c.prompt.surrogate for c in asked]
            instead = cache.texts(encoder, others) if isinstance(encoder, Reads) and all(others) else None
            prompts, seeds = (np.array([f(c) for c in asked]) for f in (lambda c: c.prompt.index, lambda c: c.seed))
            thing = "" if part is None else concept.apart[part].name
            for source, features in seen.items():
                whole = replace(
                    features, prompts=prompts, seeds=seeds, bank=bank(slot, told), parts=parts, instead=instead
                )
                for m in wanted:
                    lines += _lines(m, whole, source, channel, asked, thing)
    return refused_whole(pd.DataFrame(lines, columns=COLUMNS))


COLUMNS = ["source", "metric", "channel", "prompt", "seed", "value", "reason"]


def refused_whole(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table in which what is refused for one part of several is refused for its channel, in one line."""
    refused = table.groupby(COLUMNS[:3])["reason"].transform("max") != ""
    return table[~refused | (table["reason"] != "")].drop_duplicates(COLUMNS[:5], ignore_index=True)


def _lines(
    m: Metric, features: Features, source: str, channel: str, cells: Sequence[Cell], thing: str
) -> list[dict[str, Any]]:
    """Returns one line a picture; where the metric cannot be measured, one line that says why, and of which thing."""
    named: dict[str, Any] = {"source": source, "metric": m.name, "channel": channel}
    reason = m.gate(features) if m.gate else ""
    if reason:
        whose = f"{thing}: {reason}" if thing else reason
        return [named | {"prompt": -1, "seed": -1, "value": np.nan, "reason": whose}]
    values = m.function(features)
    if not np.isfinite(values).all():
        raise ValueError(f"{m.name} on {channel}: a value is not finite; the picture or the judge is broken")
    return [
        named | {"prompt": c.prompt.index, "seed": c.seed, "value": float(v), "reason": ""}
        for c, v in zip(cells, values, strict=True)
    ]


def look(
    encoder: Judge, pictures: dict[str, list[Path]], prompts: Sequence[str], references: Sequence[Path],
    cache: FeatureCache,
) -> dict[str, Features]:  # fmt: skip
    """Returns what a judge sees of each source's pictures; `none` is the untouched model's."""
    if isinstance(encoder, Matcher):
        nothing = np.zeros((0, 0), np.float32)
        scores = {source: cache.pairs(encoder, paths, prompts) for source, paths in pictures.items()}
        return {source: Features(nothing, nothing, None, nothing, match) for source, match in scores.items()}
    made = {source: cache.images(encoder, paths) for source, paths in pictures.items()}
    text = cache.texts(encoder, prompts) if isinstance(encoder, Reads) else None
    real = cache.images(encoder, references)
    return {source: Features(picture, made["none"], text, real) for source, picture in made.items()}


def score_references(
    references: Sequence[Path],
    captions: Sequence[str],
    encoders: Encoders,
    metrics: Sequence[Metric | Derived],
    cache: FeatureCache,
) -> pd.DataFrame:
    """Scores the real references as if they had been generated, each against the others: the ceiling of
    fidelity (a picture is not compared with itself) and what the references' own captions score.
    One reference alone has no other to be compared with: the anchor is empty.
    """
    import pandas as pd

    lines: list[dict[str, Any]] = []
    for m in (m for m in metrics if isinstance(m, Metric)):
        encoder = encoders[m.needs]
        unread = isinstance(encoder, Reader) and not all(map(encoder.knows, captions))
        if m.plain != "concept" or unread or m.gate or m.together:
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
                    "reason": "",
                }
            )
    return pd.DataFrame(lines, columns=COLUMNS)


def _alone(seen: Features, i: int) -> Features:
    """Returns one reference's features, to be compared with the other references."""
    if seen.match is not None:
        return replace(seen, match=seen.match[[i]])
    own = seen.text[[i]] if seen.text is not None else None
    return Features(seen.image[[i]], seen.image[[i]], own, np.delete(seen.references, i, axis=0))


def summarize(
    table: pd.DataFrame, metrics: Sequence[Metric | Derived], encoders: Encoders
) -> tuple[dict[str, dict[str, Value]], dict[str, str]]:
    """Returns source → name → value with its interval, and name → why it could not be measured."""
    out: dict[str, dict[str, Value]] = {}
    unmeasured: dict[str, str] = {}
    for m in (m for m in metrics if isinstance(m, Metric)):
        lines = table[table["metric"] == m.name]
        for (source, channel), part in lines.groupby(["source", "channel"], sort=False):
            name, why = m.value_name(str(channel)), part["reason"].iloc[0]
            if why:
                unmeasured |= {name: why} if source == "model" else {}
                continue
            values = part["value"].to_numpy()
            prompts = part["prompt"].to_numpy()
            mean, low, high = interval(values, prompts, bounds=ranges().get(m.name))
            if m.binary and mean in (0, 1):  # resampling cannot see what a share of none or of all may be
                low, high = wilson(mean, independent(prompts))
            out.setdefault(str(source), {})[name] = _value(
                m, str(channel), mean, low, high, len(part), encoders[m.needs].name
            )
    means = Means(table, {m.name for m in metrics if isinstance(m, Metric) and m.binary})
    for d in (m for m in metrics if isinstance(m, Derived)):
        for channel in d.channels:
            found = derive(d, means, channel)
            if isinstance(found, str):
                unmeasured |= {d.value_name(channel): found} if found else {}
            else:
                read = [k for k in metrics if isinstance(k, Metric) and k.name in found.read]
                judges = " and ".join(dict.fromkeys(encoders[k.needs].name for k in read))
                out.setdefault("model", {})[d.value_name(channel)] = _value(d, channel, *found[:4], judges)
    return out, unmeasured


def _value(m: Metric | Derived, channel: str, mean: float, low: float, high: float, n: int, checkpoint: str) -> Value:
    return Value(
        value=round(mean, 6), low=round(low, 6), high=round(high, 6), n=n, title=m.title, group=m.group_on(channel),
        better=m.direction(channel), checkpoint=checkpoint, version=m.version,
    )  # fmt: skip
