"""What a dataset holds, in any of three layouts: a file a concept, one list of them, or a folder of photos."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

from bench import paths
from bench.data.photos import SUFFIXES, UNREADABLE
from bench.errors import BenchError, near
from bench.grid import load_templates, read_templates

FILE, LIST, PROMPTS = "concept.yaml", "concepts.yaml", "prompts.yaml"
OWN = "not stated; the photos' owner knows"


def is_photos(dataset: Path) -> bool:
    """Returns whether a folder is anybody's photos: its subfolders are the concepts."""
    return not (dataset / "concepts").is_dir() and not (dataset / LIST).is_file()


def names(dataset: Path) -> list[str]:
    """Returns the concepts of a dataset by name, in order.

    Raises:
        BenchError: its list cannot be read.
    """
    if (dataset / LIST).is_file():
        return sorted(_listed(dataset)["concepts"])
    if is_photos(dataset):
        return sorted(p.name for p in dataset.iterdir() if p.is_dir() and not p.name.startswith(".") and _holds(p))
    return sorted(p.parent.name for p in dataset.glob(f"concepts/*/{FILE}"))


def _holds(folder: Path) -> bool:
    return any(p.name == FILE or p.suffix.lower() in (*SUFFIXES, *UNREADABLE) for p in folder.iterdir())


def said(dataset: Path, name: str, pictures: Path | None = None) -> tuple[dict[str, Any], Path, Path]:
    """Returns what a dataset says of a concept, the file that says it, and the folder its pictures lie in.

    What a photo's owner does not say is the clear default: a subject whose class is its folder's name, in words.

    Args:
        dataset: the dataset's folder.
        name: of the concept.
        pictures: where pictures lie that are not beside the concept's file, in a subfolder a concept.

    Raises:
        BenchError: there is no such concept, or its file is not a mapping.
    """
    if name not in names(dataset):  # also what would lead out of the folder
        there = names(dataset)
        known = ", ".join(there) or "none: each thing needs a folder of its own in it"
        raise BenchError(f"no concept {name!r} in {dataset}{near(name, there)}; there are: {known}")
    if (dataset / LIST).is_file():
        whole = _listed(dataset)
        own = whole["concepts"][name] or {}
        return {"name": name} | whole["defaults"] | own, dataset / LIST, (pictures or dataset) / name
    if is_photos(dataset):
        path = dataset / name / FILE
        fields = mapping(path) if path.is_file() else {}
        noun = " ".join(name.replace("_", " ").replace("-", " ").split())
        default = {"name": name, "kind": "subject", "class_phrase": noun, "medium": "a photo", "licence": OWN}
        return default | fields, path if path.is_file() else dataset / name, path.parent
    path = dataset / "concepts" / name / FILE
    return mapping(path), path, pictures / name if pictures else path.parent


def mapping(path: Path) -> dict[str, Any]:
    """Returns a YAML file that is a mapping.

    Raises:
        BenchError: it is something else.
    """
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        raise BenchError(f"{path}: not a YAML mapping: {str(error).splitlines()[0]}") from None
    if not isinstance(fields, dict) or not all(isinstance(k, str) for k in fields):
        raise BenchError(f"{path}: not a YAML mapping of fields; datasets/README.md says which there are")
    return fields


def _listed(dataset: Path) -> dict[str, Any]:
    """Returns `concepts.yaml`: what many concepts share, under `defaults`, and what each is."""
    path = dataset / LIST
    return _read_list(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _read_list(path: Path, changed: int) -> dict[str, Any]:
    whole = mapping(path)
    wrong = [k for k in whole if k not in ("defaults", "concepts")]
    if wrong or not isinstance(whole.get("concepts"), dict):
        raise BenchError(f"{path}: {wrong[0] if wrong else 'concepts'}: `defaults` and `concepts` are right")
    defaults, concepts = whole.get("defaults") or {}, whole["concepts"]
    if odd := [n for n in concepts if not isinstance(n, str)]:  # YAML reads 007 as a number, no as false
        raise BenchError(f"{path}: concepts.{odd[0]}: a name in quotes, '{odd[0]}', would be right")
    for field, value in {"defaults": defaults, **{f"concepts.{n}": own or {} for n, own in concepts.items()}}.items():
        if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
            raise BenchError(f"{path}: {field}: a mapping of fields, or nothing, would be right")
    return {"defaults": defaults, "concepts": concepts}


def fetched(name: str) -> str:
    """Says how a dataset's files are come by, as the end of an error; nothing where it is anybody's."""
    shipped = paths.shipped("datasets") / name
    if not (shipped / "source.yaml").is_file():
        return ""
    field = "pictures" if (shipped / LIST).is_file() else "path"
    return f"; `python -m bench data fetch {name}` gets them, dataset.{field}=PATH says where they are"


def templates(dataset: Path, name: str, pictures: Path | None = None) -> dict[str, Any]:
    """Returns what is asked of a concept: the dataset's templates, and over them the concept's own.

    Raises:
        BenchError: a file of them is missing or wrong.
    """
    own = (said(dataset, name, pictures)[2]) / PROMPTS
    everybodys = is_photos(dataset) and not (dataset / PROMPTS).is_file()
    shared = load_templates(paths.shipped("datasets") / "folder" if everybodys else dataset)
    return shared | (read_templates(own) if own.is_file() else {})
