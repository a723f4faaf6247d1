"""A grid's pictures by channel, prompt and seed, every source's beside the others' from the same noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.page.picture import Picture, picture
from bench.page.scores import AFTER, Scores

if TYPE_CHECKING:
    from bench.grid import Cell, Prompt, PromptGrid
    from bench.metric import Metric

SEEDS = 10  # pictures of one prompt on the page; the others are in the store


@dataclass(frozen=True)
class Source:
    """Whose pictures a line of a grid holds.

    Attributes:
        key: what tables of scores call it.
        label: what people read.
        complete: whether it was asked with the concept's token.
        role: `before` or `after`, the two that the page can lay over each other; else nothing.
    """

    key: str
    label: str
    complete: bool
    role: str = ""


@dataclass(frozen=True)
class Shown:
    """One picture on the page: `said` are its scores, `marks` what went wrong in it."""

    seed: int
    picture: Picture | None
    said: str
    marks: Sequence[str]


@dataclass(frozen=True)
class Entry:
    """One prompt: its mean scores, and every source's line of pictures."""

    prompt: Prompt
    scores: dict[str, dict[str, float]]
    seeds: list[int]
    lines: list[tuple[Source, list[Shown]]]


Channels = list[tuple[str, list[Entry]]]


def channels(
    grid: PromptGrid, folders: Mapping[str, Path], sources: Sequence[Source], scores: Scores, metrics: Sequence[Metric]
) -> Channels:
    """Returns channel → its prompts, each with the pictures of every source that has a folder."""
    there = [s for s in sources if s.key in folders]

    def shown(source: Source, cell: Cell) -> Shown:
        at = (cell.prompt.channel, cell.prompt.index, cell.seed)
        own = scores.single(source.key, *at)
        said = ", ".join(f"{name} {value:z.3f}" for name, value in own.items())
        marks = scores.marks(metrics, *at) if source.key == AFTER else []
        return Shown(cell.seed, picture(folders[source.key] / f"{cell.key}.png"), said, marks)

    def entry(prompt: Prompt) -> Entry:
        cells = [c for c in grid.cells if c.prompt == prompt][:SEEDS]
        lines = [(source, [shown(source, c) for c in cells]) for source in there]
        own = scores.means.get((prompt.channel, prompt.index), {})
        return Entry(prompt, own, [c.seed for c in cells], lines)

    return [(channel, [entry(p) for p in grid.prompts(channel)]) for channel in grid.channels()]
