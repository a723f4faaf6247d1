"""Reads a dataset's concept files: every field and every picture is looked at before anything is made of them."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from bench.composite import Composite, composed
from bench.concept import Concept
from bench.errors import BenchError
from bench.pictures import read_picture


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
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "parts" in said:
            return _composite(dataset, path, Composite(**said))
        concept = Concept(**said, folder=path.parent)
    except ValidationError as error:
        first = error.errors()[0]
        raise BenchError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        raise BenchError(f"{path}: not a YAML mapping: {str(error).splitlines()[0]}") from None
    _check_name(path, concept.name)
    silent = [r.image for r in concept.references if concept.token not in r.complete]
    if silent:
        raise BenchError(f"{path}: the complete caption of {silent[0]} does not name the token {concept.token}")
    for image in concept.image_paths():
        read_picture(image)
    return concept


def _composite(dataset: Path, path: Path, said: Composite) -> Concept:
    """Puts the parts that a composite concept names together."""
    _check_name(path, said.name)
    parts = [load(dataset, name) for name in said.parts]
    if any(p.parts for p in parts):
        raise BenchError(f"{path}: parts: a part is itself composite; plain concepts would be right")
    try:
        return composed(said, parts, dataset / "concepts")
    except ValueError as error:
        raise BenchError(f"{path}: parts: {error}") from None


def _check_name(path: Path, name: str) -> None:
    if name != path.parent.name:
        raise BenchError(f"{path}: name: {name!r}; the name of its folder, {path.parent.name!r}, would be right")
