"""Reads a dataset's concept files: every field and every picture is looked at before anything is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from bench.composite import Composite, composed
from bench.concept import Concept
from bench.data.dataset import said
from bench.data.photos import references, refuse_heic
from bench.errors import BenchError
from bench.pictures import read_picture


def load(dataset: Path, name: str, pictures: Path | None = None, source: str = "") -> Concept:
    """Loads a concept as its dataset states it and looks at each of its pictures.

    Where it names no pictures, all of its folder are its references; what is erased needs none.

    Args:
        dataset: the dataset's folder.
        name: of the concept.
        pictures: where pictures lie that are not beside the concept's file, in a subfolder a concept.
        source: how the pictures are come by, for the error.

    Raises:
        BenchError: there is no such concept, a field is wrong, or a picture is missing or unreadable.
    """
    fields, path, folder = said(dataset, name, pictures)
    try:
        if "parts" in fields:
            return _composite(dataset, path, Composite(**fields), pictures, source)
        if fields.get("kind") != "erase" and "references" not in fields:
            fields = fields | {"references": references(folder, fields, source)}
        concept = Concept(**fields | {"folder": folder})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BenchError(f"{path}: {where}{': ' * bool(where)}{first['msg'].removeprefix('Value error, ')}") from None
    except TypeError as error:
        raise BenchError(f"{path}: not a YAML mapping: {str(error).splitlines()[0]}") from None
    _check_name(path, concept.name, name)
    silent = [r.image for r in concept.references if concept.token not in r.complete]
    if silent:
        raise BenchError(f"{path}: the complete caption of {silent[0]} does not name the token {concept.token}")
    for image in concept.image_paths():
        if not image.is_file() and source:
            raise BenchError(f"{image}: the picture is missing{source}")
        refuse_heic(image)
        read_picture(image)
    return concept


def load_novel(dataset: Path, names: Sequence[str], pictures: Path | None = None, source: str = "") -> Concept:
    """Loads the things that no model of a dataset knows: one, or several as the parts of a concept.

    Raises:
        BenchError: one of them cannot be loaded, is no subject, or is named twice.
    """
    if twice := [n for n in names if names.count(n) > 1]:
        raise BenchError(f"dataset.novel: {twice[0]} stands there twice; once would be right")
    things = [load(dataset, name, pictures, source) for name in names]
    if wrong := [t for t in things if t.kind != "subject"]:
        raise BenchError(f"dataset.novel: {wrong[0].name} is of kind {wrong[0].kind}; a subject would be right")
    if len(things) == 1:
        return things[0]
    return composed(Composite(name="novel", kind="multi", parts=list(names)), things, things[0].folder.parent)


def _composite(dataset: Path, path: Path, own: Composite, pictures: Path | None, source: str) -> Concept:
    """Puts the parts that a composite concept names together."""
    _check_name(path, own.name, path.parent.name)
    if nested := [name for name in own.parts if "parts" in said(dataset, name, pictures)[0]]:  # or names itself
        raise BenchError(f"{path}: parts: {nested[0]} is itself composite; plain concepts would be right")
    parts = [load(dataset, name, pictures, source) for name in own.parts]
    try:
        return composed(own, parts, parts[0].folder.parent)
    except ValueError as error:
        raise BenchError(f"{path}: parts: {error}") from None


def _check_name(path: Path, name: str, wanted: str) -> None:
    if name != wanted:
        raise BenchError(f"{path}: name: {name!r}; the name of its folder, {wanted!r}, would be right")
