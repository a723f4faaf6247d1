"""Concepts made of others: a subject in a style, several subjects at once, and one that is learned and erased again."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from bench.concept import Concept, together


class Composite(BaseModel):
    """The file of a composite concept: the names of plain concepts beside it, and how strongly each acts."""

    model_config = ConfigDict(extra="forbid")
    name: str
    kind: Literal["subject_style", "multi", "roundtrip"]
    parts: list[str] = Field(min_length=1)
    weights: list[FiniteFloat] = []


def composed(said: Composite, parts: list[Concept], folder: Path) -> Concept:
    """Puts concepts together, each with a token of its own.

    Args:
        said: what the file says.
        parts: the concepts it names.
        folder: what the parts' own folders lie in.

    Raises:
        ValueError: the parts do not fit the kind.
    """
    kinds = sorted(p.kind for p in parts)
    right = {
        "subject_style": kinds == ["style", "subject"],
        "multi": len(parts) > 1 and len(set(kinds)) == 1 and kinds[0] in ("subject", "erase"),
        "roundtrip": kinds == ["subject"],
    }[said.kind]
    if not right:
        raise ValueError(f"{', '.join(kinds)} do not make a {said.kind}; {WANTED[said.kind]} would be right")
    if len(said.weights) not in (0, len(parts)):
        raise ValueError(f"{len(said.weights)} weights for {len(parts)} parts; one each, or none, would be right")
    own = [p if p.kind == "erase" else _renamed(p, f"<new{k}>") for k, p in enumerate(parts, start=1)]
    main = next(p for p in own if p.kind != "style")
    words = [p.class_phrase for p in own if p.kind != "style"]
    sets = {p.prompts for p in own}
    return Concept(
        name=said.name,
        kind=said.kind,
        class_phrase=together(words),
        token=main.token,
        medium="a picture" if said.kind == "subject_style" else main.medium,
        references=[r.model_copy(update={"image": f"{p.name}/{r.image}"}) for p in own for r in p.references],
        neighbours=[n for n in dict.fromkeys(n for p in own for n in p.neighbours) if n not in words],
        surrogate=main.class_phrase if said.kind == "roundtrip" else main.surrogate,
        parts=own,
        prompts=sets.pop() if len(sets) == 1 else "",
        weights=said.weights,
        licence="; ".join(dict.fromkeys(p.licence for p in own)),
        attribution="; ".join(dict.fromkeys(p.attribution for p in own)),
        folder=folder,
    )


WANTED = {
    "subject_style": "one subject and one style",
    "multi": "two or more subjects, or two or more concepts to erase",
    "roundtrip": "one subject",
}


def _renamed(part: Concept, token: str) -> Concept:
    """Returns the concept under another token."""
    captions = [r.model_copy(update={"complete": r.complete.replace(part.token, token)}) for r in part.references]
    return part.model_copy(update={"token": token, "references": captions})
