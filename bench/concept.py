"""What is customized or erased, and what is asked for afterwards."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat, field_validator, model_validator


class Reference(BaseModel):
    """One reference picture; `complete` names the concept, `base` names only its class."""

    model_config = ConfigDict(extra="forbid")
    image: str
    complete: str
    base: str

    @field_validator("image")
    @classmethod
    def _inside(cls, image: str) -> str:
        if Path(image).is_absolute() or ".." in Path(image).parts:
            raise ValueError("a picture of the concept's own folder would be right")
        return image


class Concept(BaseModel):
    """A concept as a dataset states it.

    Attributes:
        token: the placeholder that stands for the concept in complete captions.
        class_phrase: the words for what it is one of.
        medium: the words for its art style, as in `a cartoon`.
        neighbours: classes near to it, for preservation.
        surrogate: what an erased concept should become.
        aliases: other words for it.
        parts: of `subject_style` and `multi`, the concepts that are learned apart and put together, each with a
            token of its own; of `roundtrip`, the one concept that is learned and then erased again.
        weights: how strongly each part acts; all 1 if left out.
        prompts: which set of the dataset's templates it is asked, as in `live`; they stand before the kind's.
        folder: where its file lies; set by `load`.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    kind: Literal["subject", "style", "subject_style", "multi", "erase", "roundtrip"]
    class_phrase: str
    token: str = "<new1>"  # noqa: S105
    medium: str = "a picture"
    references: list[Reference] = []
    neighbours: list[str] = []
    surrogate: str = ""
    aliases: list[str] = []
    parts: list[Concept] = []
    weights: list[FiniteFloat] = []
    prompts: str = ""
    licence: str
    attribution: str = ""
    folder: Path = Path()

    @model_validator(mode="after")
    def _shown(self) -> Concept:
        if not self.references and self.kind != "erase" and {p.kind for p in self.parts} != {"erase"}:
            raise ValueError("references: a concept that is learned needs a picture; what is erased needs none")
        return self

    @property
    def target(self) -> str:
        """The target phrase: `<new1> cat`, the concept without a scene; what is erased goes by its own words."""
        if self.kind == "multi":
            return together([p.target for p in self.parts])
        return self.class_phrase if self.token == self.class_phrase else f"{self.token} {self.class_phrase}"

    @property
    def scored_as(self) -> str:
        """The kind whose metrics apply: several at once are scored as one of them is."""
        return self.parts[0].kind if self.kind == "multi" else self.kind

    @property
    def kinds(self) -> tuple[str, ...]:
        """What metrics may ask for: the kind it is scored as; of several at once, `multi_subject` or `multi_erase`."""
        return (self.scored_as, f"multi_{self.scored_as}") if self.kind == "multi" else (self.scored_as,)

    @property
    def apart(self) -> list[Concept]:
        """The parts that can be asked for, and looked for, alone."""
        return self.parts if len(self.parts) > 1 else []

    @property
    def target_medium(self) -> str:
        """The medium as the trained model is asked for it: a style part's own words stand for it."""
        styles = [p for p in self.parts if p.kind == "style"]
        return f"a {styles[0].target}" if styles else self.medium

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

    def of_part(self, part: int | None) -> list[int]:
        """Returns which references show a part; all of them for None."""
        if part is None:
            return list(range(len(self.references)))
        before = sum(len(p.references) for p in self.parts[:part])
        return list(range(before, before + len(self.parts[part].references)))

    def fingerprint(self) -> str:
        """Returns a hash of the text and of every picture's bytes."""
        nobodys = {"folder", "prompts"}  # where it lies, and what is asked of it once it is learned
        unnamed: Any = {f: True for f in nobodys} | {"parts": {"__all__": nobodys}}
        digest = hashlib.sha256(self.model_dump_json(exclude=unnamed).encode())
        for path in self.image_paths():
            digest.update(path.read_bytes())
        return digest.hexdigest()


def article(noun: str) -> str:
    """Returns a noun with its indefinite article."""
    return f"{'an' if noun[:1] in 'aeio' else 'a'} {noun}"


def fill(template: str, noun: str, medium: str) -> str:
    """Fills `{medium}` and `{noun}` into a template; `a {noun}` becomes `an owl` where that is right."""
    return template.replace("{medium}", medium).replace("a {noun}", article(noun)).replace("{noun}", noun)


def together(nouns: list[str]) -> str:
    """Returns `cat and a car` of `cat` and `car`: the first takes the template's own article."""
    return " and ".join([nouns[0], *map(article, nouns[1:])])
