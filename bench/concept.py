"""What is customized or erased, and what is asked for afterwards."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bench.errors import BenchError


class Reference(BaseModel):
    """One reference picture; `complete` names the concept, `base` names only its class."""

    model_config = ConfigDict(extra="forbid")
    image: str
    complete: str
    base: str


class Concept(BaseModel):
    """A concept as a dataset states it.

    Attributes:
        token: the placeholder that stands for the concept in complete captions.
        class_phrase: the words for what it is one of.
        medium: the words for its art style, as in `a cartoon`.
        neighbours: classes near to it, for preservation.
        surrogate: what an erased concept should become.
        aliases: other words for it.
        folder: where its file lies; set by `load`.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    kind: Literal["subject", "style", "erase", "multi"]
    class_phrase: str
    token: str = "<new1>"  # noqa: S105
    medium: str = "a picture"
    references: list[Reference] = Field(min_length=1)
    neighbours: list[str] = []
    surrogate: str = ""
    aliases: list[str] = []
    licence: str
    attribution: str = ""
    folder: Path = Path()

    @property
    def target(self) -> str:
        """The target phrase: `<new1> cat`, the concept without a scene; what is erased goes by its own words."""
        return self.class_phrase if self.token == self.class_phrase else f"{self.token} {self.class_phrase}"

    @property
    def class_prompt(self) -> str:
        """What a picture of the class alone is asked for with."""
        return (
            f"a {self.class_phrase}"
            if self.kind == "style"
            else fill("{medium} of a {noun}", self.class_phrase, self.medium)
        )

    def image_paths(self) -> list[Path]:
        """Returns the paths of the reference pictures."""
        return [self.folder / r.image for r in self.references]

    def fingerprint(self) -> str:
        """Returns a hash of the text and of every picture's bytes."""
        digest = hashlib.sha256(self.model_dump_json(exclude={"folder"}).encode())
        for path in self.image_paths():
            digest.update(path.read_bytes())
        return digest.hexdigest()


def load(dataset: Path, name: str) -> Concept:
    """Loads `<dataset>/concepts/<name>/concept.yaml` and looks at each of its pictures.

    Raises:
        BenchError: there is no such concept, a field is wrong, or a picture is missing or unreadable.
    """
    path = dataset / "concepts" / name / "concept.yaml"
    if not path.is_file():
        known = sorted(p.parent.name for p in dataset.glob("concepts/*/concept.yaml"))
        raise BenchError(f"no concept {name!r} in {dataset}; there are: {', '.join(known) or 'none'}")
    try:
        concept = Concept(**yaml.safe_load(path.read_text(encoding="utf-8")), folder=path.parent)
    except ValidationError as error:
        first = error.errors()[0]
        raise BenchError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        raise BenchError(f"{path}: not a YAML mapping: {str(error).splitlines()[0]}") from None
    if concept.name != path.parent.name:
        raise BenchError(
            f"{path}: name: {concept.name!r}; the name of its folder, {path.parent.name!r}, would be right"
        )
    silent = [r.image for r in concept.references if concept.token not in r.complete]
    if silent:
        raise BenchError(f"{path}: the complete caption of {silent[0]} does not name the token {concept.token}")
    for image in concept.image_paths():
        _check_picture(image)
    return concept


def _check_picture(path: Path) -> None:
    from PIL import Image

    if not path.is_file():
        raise BenchError(f"{path}: the reference picture is missing")
    try:
        with Image.open(path) as image:
            image.load()
    except Exception as error:
        raise BenchError(f"{path}: not a readable picture ({error}); PNG, JPEG or WebP would be right") from None


class Prompt(BaseModel):
    """One prompt of the grid: what the customized model is asked, and the same without the concept's token.

    `base` is what the untouched model is asked for the same cell, and the text both pictures are scored against.
    """

    channel: str
    index: int
    complete: str
    base: str


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


def fill(template: str, noun: str, medium: str) -> str:
    """Fills `{medium}` and `{noun}` into a template; `a {noun}` becomes `an owl` where that is right."""
    with_article = f"{'an' if noun[:1] in 'aeio' else 'a'} {noun}"
    return template.replace("{medium}", medium).replace("a {noun}", with_article).replace("{noun}", noun)


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


def grid(concept: Concept, templates: dict[str, Any], seeds: dict[str, int], scale: int = 1) -> PromptGrid:
    """Builds the grid of a concept from a dataset's templates.

    Args:
        concept: whose words fill the templates.
        templates: channel → list of templates; `style.concept` stands in place of `concept` for a style;
            `unrelated_nouns` lists the nouns of channel `unrelated`.
        seeds: channel → how many pictures a prompt gets.
        scale: multiplies the number of seeds.

    Raises:
        BenchError: the dataset has no templates for a channel that is asked for.
    """
    cells = []
    for channel, count in seeds.items():
        if channel not in templates:
            raise BenchError(f"protocol.seeds.{channel}: the dataset's prompts.yaml has no channel {channel!r}")
        nouns = _nouns(concept, templates, channel)
        own = templates.get(f"{concept.kind}.{channel}", templates[channel])
        for index, template in enumerate(own if nouns else []):
            base = fill(template, nouns[index % len(nouns)], concept.medium)
            complete = fill(template, concept.target, concept.medium) if channel == "concept" else base
            prompt = Prompt(channel=channel, index=index, complete=complete, base=base)
            cells += [Cell(prompt=prompt, seed=s) for s in range(count * scale)]
    return PromptGrid(cells=cells)


def load_templates(dataset: Path) -> dict[str, Any]:
    """Loads `<dataset>/prompts.yaml`: channel → list of templates.

    Raises:
        BenchError: there is no such file, or it is not a mapping.
    """
    path = dataset / "prompts.yaml"
    if not path.is_file():
        raise BenchError(f"{path}: no such file; a dataset says there what is asked of a model after training")
    try:
        templates = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    try:
        return TypeAdapter(dict[str, list[str]]).validate_python(templates)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise BenchError(f"{path}: {where or 'it'} is not right; a mapping of channels to lists of texts is") from None


def _nouns(concept: Concept, templates: dict[str, Any], channel: str) -> list[str]:
    """Returns what a channel asks for in turn; none leaves the channel out."""
    taken = {concept.class_phrase, *concept.neighbours}
    return {
        "concept": [concept.class_phrase],
        "class": [concept.class_phrase],
        "neighbour": concept.neighbours,
        "unrelated": [n for n in templates.get("unrelated_nouns", []) if n not in taken],
    }.get(channel, [""])
