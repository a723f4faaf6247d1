"""What is asked of a model after training: channels of prompts, times seeds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from bench.concept import Concept, fill, together
from bench.errors import BenchError


class Prompt(BaseModel):
    """One prompt of the grid: what the customized model is asked, and the same without the concept's token.

    `base` is what the untouched model is asked for the same cell, and the text both pictures are scored against.
    `part` is which part of a composite concept alone it asks for; None is the whole. `surrogate` is the prompt with
    what should come in an erased concept's place: what a picture would be had it never been asked for.
    """

    channel: str
    index: int
    complete: str
    base: str
    part: int | None = None
    surrogate: str = ""


class Cell(BaseModel):
    """One picture to make: a prompt and a seed."""

    prompt: Prompt
    seed: int

    @property
    def key(self) -> str:
        """The picture's file name without its suffix."""
        return f"{self.prompt.channel}-{self.prompt.index:02d}-{self.seed}"

    def noise_seed(self) -> int:
        """Returns the seed of this picture's generator: from channel, base prompt and seed alone, so that
        it depends on no batch or order, and the base model's picture starts from the same noise.
        """
        text = f"{self.prompt.channel}|{self.prompt.base}|{self.seed}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


class PromptGrid(BaseModel):
    """All pictures of a run: channels of prompts, times seeds."""

    cells: list[Cell]

    def channels(self) -> list[str]:
        """Returns the channels in order."""
        return list(dict.fromkeys(c.prompt.channel for c in self.cells))

    def prompts(self, channel: str) -> list[Prompt]:
        """Returns the prompts of one channel in order."""
        found = {c.prompt.index: c.prompt for c in self.cells if c.prompt.channel == channel}
        return [found[i] for i in sorted(found)]


def grid(concept: Concept, templates: dict[str, Any], seeds: dict[str, int]) -> PromptGrid:
    """Builds the grid of a concept from a dataset's templates.

    Args:
        concept: whose words fill the templates.
        templates: channel → list of templates; `style.concept` stands in place of `concept` for a style;
            `unrelated_nouns` lists the nouns of channel `unrelated`.
        seeds: channel → how many pictures a prompt gets.

    Raises:
        BenchError: the dataset has no templates for a channel that is asked for.
    """
    cells = []
    for channel, count in seeds.items():
        if channel not in templates:
            raise BenchError(f"protocol.seeds.{channel}: the dataset's prompts.yaml has no channel {channel!r}")
        for prompt in _prompts(concept, templates, channel):
            cells += [Cell(prompt=prompt, seed=s) for s in range(count)]
    return PromptGrid(cells=cells)


def surrogates(cells: PromptGrid) -> PromptGrid:
    """Returns the cells that have a surrogate, asked for with it, at the same noise."""
    asked = [c for c in cells.cells if c.prompt.surrogate]
    return PromptGrid(
        cells=[
            c.model_copy(update={"prompt": c.prompt.model_copy(update={"complete": c.prompt.surrogate})}) for c in asked
        ]
    )


def asked_with(cells: PromptGrid, concept: Concept, trigger: str | None) -> PromptGrid:
    """Returns the cells with another word in place of the concept's own; of an empty one, its class words alone.

    Raises:
        BenchError: the concept has no word of its own, or several.
    """
    if trigger is None:
        return cells
    if concept.parts or concept.token == concept.class_phrase:
        raise BenchError(f"--trigger: concept {concept.name} has no one word of its own; leaving it out would be right")
    if not trigger.isprintable() or trigger != trigger.strip() or len(trigger) > 60:
        raise BenchError(f"--trigger {trigger[:60]!r}: a word or two would be right")

    def asked(p: Prompt) -> Prompt:
        said = p.complete.replace(concept.token, trigger) if trigger else p.base
        return p.model_copy(update={"complete": said})

    return PromptGrid(cells=[c.model_copy(update={"prompt": asked(c.prompt)}) for c in cells.cells])


def _prompts(concept: Concept, templates: dict[str, Any], channel: str) -> list[Prompt]:
    """Returns the prompts of one channel; a channel that has no nouns for this concept is left out."""
    lines = []
    for part, asked in _asked(concept, channel):
        nouns = _nouns(asked, templates, channel)
        own = _own(asked, templates, channel, concept.kind) if nouns else []
        lines += [(template, asked, nouns[i % len(nouns)], part) for i, template in enumerate(own)]
    prompts = [_prompt(channel, i, *line) for i, line in enumerate(lines)]
    if all(p.surrogate for p in prompts):
        return prompts
    return [p.model_copy(update={"surrogate": ""}) for p in prompts]  # one part without it: the channel has none


def _asked(concept: Concept, channel: str) -> list[tuple[int | None, Concept]]:
    """Returns whom a channel asks about: the concept; or each part of several, and which it is if that is asked for."""
    several = concept.kind == "multi"
    if channel == "part" or (several and channel in ("alias", "compose")):
        return list(enumerate(concept.apart))
    if not several or channel != "neighbour":
        return [(None, concept)]
    found: list[tuple[int | None, Concept]] = []
    left = list(concept.neighbours)
    for part in concept.parts:  # what is near to two of them is asked for once
        own = [n for n in part.neighbours if n in left]
        left = [n for n in left if n not in own]
        found.append((None, part.model_copy(update={"neighbours": own})))
    return found


def _own(concept: Concept, templates: dict[str, Any], channel: str, whole: str) -> list[str]:
    """Returns a channel's templates: of the concept's set of prompts, of the kind of the whole, or of its own kind."""
    sets = (concept.prompts, whole, concept.kind, concept.scored_as)
    return next((templates[key] for s in sets if (key := f"{s}.{channel}") in templates), templates[channel])


NOVELTY = "novelty"  # the control of an inversion, of things that no model knows
NAMED, ERASED = ("concept", "part"), ("concept", "part", "alias", "compose")


def _prompt(channel: str, index: int, template: str, concept: Concept, noun: str, part: int | None) -> Prompt:
    base = fill(template, noun, concept.medium)
    complete = fill(template, concept.target, concept.target_medium) if channel in NAMED else base
    instead = _surrogate(concept) if channel in ERASED and concept.scored_as == "erase" else ""
    surrogate = fill(template, instead, concept.medium) if instead else ""
    return Prompt(channel=channel, index=index, complete=complete, base=base, part=part, surrogate=surrogate)


def _surrogate(concept: Concept) -> str:
    parts = [p.surrogate for p in concept.parts] or [concept.surrogate]
    return together(parts) if all(parts) else ""


def load_templates(dataset: Path) -> dict[str, Any]:
    """Loads `<dataset>/prompts.yaml`: channel → list of templates.

    Raises:
        BenchError: there is no such file, or it is not a mapping.
    """
    path = dataset / "prompts.yaml"
    if not path.is_file():
        raise BenchError(f"{path}: no such file; a dataset says there what is asked of a model after training")
    return read_templates(path)


def read_templates(path: Path) -> dict[str, Any]:
    """Reads a file of templates.

    Raises:
        BenchError: it is not a mapping of channels to lists of texts.
    """
    try:
        templates = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        raise BenchError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    try:
        return TypeAdapter(dict[str, list[str]]).validate_python(templates)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise BenchError(f"{path}: {where or 'it'} is not right; a mapping of channels to lists of texts is") from None


def _nouns(concept: Concept, templates: dict[str, Any], channel: str) -> list[str]:
    """Returns what a channel asks for in turn; none leaves the channel out."""
    parts = [p.class_phrase for p in concept.parts if p.kind != "style"] or [concept.class_phrase]
    taken, erased = {*parts, *concept.neighbours}, concept.kind == "erase"
    return {
        "concept": [concept.class_phrase],
        "part": [concept.class_phrase],
        "class": parts if concept.scored_as != "erase" else [],  # there it is what was erased
        "alias": concept.aliases if erased else [],
        "compose": parts if erased else [],
        "neighbour": concept.neighbours,
        "unrelated": [n for n in templates.get("unrelated_nouns", []) if n not in taken],
    }.get(channel, [""])
