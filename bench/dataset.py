"""What a dataset holds, in whichever of its three layouts: a file a concept, one list of them, or a folder of photos."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

from bench import paths
from bench.errors import BenchError
from bench.grid import load_templates, read_templates

FILE, LIST, PROMPTS = "concept.yaml", "concepts.yaml", "prompts.yaml"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
UNREADABLE = (".heic", ".heif", ".avif")
BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif"}  # of ISO 23008-12 files
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
        raise BenchError(f"no concept {name!r} in {dataset}; there are: {', '.join(names(dataset)) or 'none'}")
    if (dataset / LIST).is_file():
        whole = _listed(dataset)
        own = whole["concepts"][name] or {}
        return {"name": name} | whole.get("defaults", {}) | own, dataset / LIST, (pictures or dataset) / name
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
    except (yaml.YAMLError, UnicodeDecodeError) as error:
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
    return whole


def references(folder: Path, fields: dict[str, Any], source: str) -> list[dict[str, str]]:
    """Returns a concept's pictures in order of their names, each with its captions.

    A text file beside a picture (`1.jpg`, `1.txt`) is its caption, and must hold the class's words once, where the
    token is put before them; without one a picture is `MEDIUM of a CLASS`.

    Args:
        folder: where the pictures lie.
        fields: what is said of the concept.
        source: how the pictures are come by, for the error.

    Raises:
        BenchError: there are none, one is of a kind that cannot be read, or a caption does not name the class.
    """
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in found:
        refuse_heic(path)
    pictures = [p for p in found if p.suffix.lower() in SUFFIXES and p.is_file()]
    if not pictures:
        raise BenchError(f"{folder}: no pictures of {fields['name']}{source}")
    return [{"image": p.name} | _captions(p, fields) for p in pictures]


def refuse_heic(path: Path) -> None:
    """Refuses what phones write and Pillow does not read, also where it goes by another name.

    Raises:
        BenchError: it is such a file.
    """
    named = path.suffix.lower() in UNREADABLE
    if not named and path.is_file():
        with path.open("rb") as f:
            head = f.read(12)
        named = head[4:8] == b"ftyp" and head[8:12] in BRANDS
    if named:
        kind = "AVIF" if path.suffix.lower() == ".avif" else "HEIC"
        raise BenchError(f"{path}: {kind} is not read here; convert it to JPEG or PNG and take the {kind} file away")


def _captions(path: Path, fields: dict[str, Any]) -> dict[str, str]:
    from bench.concept import fill

    noun, token = str(fields.get("class_phrase", "")), str(fields.get("token", "<new1>"))
    target = noun if token == noun else f"{token} {noun}"
    words = path.with_suffix(".txt")
    if not words.is_file():
        plain, medium = "a {noun}" if fields.get("kind") == "style" else "{medium} of a {noun}", fields.get("medium")
        return {w: fill(plain, n, str(medium or "a picture")) for w, n in (("base", noun), ("complete", target))}
    text = " ".join(words.read_text(encoding="utf-8").split())
    if not noun or text.count(noun) != 1:
        raise BenchError(f"{words}: names {noun!r} {text.count(noun)} times; once, the class's words, would be right")
    return {"base": text, "complete": text.replace(noun, target)}


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
