"""What is made of fetched files so that they are a dataset's: prompts a concept, concepts of captioned pictures."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from bench import paths
from bench.data.dataset import PROMPTS, names, said
from bench.data.photos import SUFFIXES, whole_words
from bench.errors import BenchError

UNFIT = re.compile(r"[^\w.-]+")


def prompts(name: str, folder: Path) -> None:
    """Gives each concept the prompts of its set: `prompts/SET.txt`, a line each, `{}` in the concept's place."""
    dataset = paths.shipped("datasets") / name
    for concept in names(dataset):
        lines = (folder / "prompts" / f"{said(dataset, concept)[0]['prompts']}.txt").read_text(encoding="utf-8")
        asked = [line.strip().replace("{}", "{noun}") for line in lines.splitlines() if line.strip()]
        (folder / concept).mkdir(exist_ok=True)
        (folder / concept / PROMPTS).write_text(_yaml({"concept": asked}), encoding="utf-8")


def captions(name: str, folder: Path) -> None:
    """Makes a concept of each picture below `images/` that has a text of the same name below `captions/`.

    The text's first line is what the picture shows, the others are its prompts, with these words in them.

    Raises:
        BenchError: there are no such files.
    """
    roots = sorted(p.parent for p in folder.rglob("captions") if (p.parent / "images").is_dir())
    texts = [t for root in roots for t in sorted((root / "captions").rglob("*.txt"))]
    if not texts:
        raise BenchError(f"data fetch {name}: no images/ with captions/ beside them in what was fetched")
    for root in roots:
        for text in sorted((root / "captions").rglob("*.txt")):
            _concept(folder, root, text)
    shutil.copy2(paths.shipped("datasets") / name / PROMPTS, folder / PROMPTS)


def _concept(folder: Path, root: Path, text: Path) -> None:
    """Writes one concept: its picture, what it is, and what it is asked."""
    at = text.relative_to(root / "captions")
    stem = root / "images" / at.with_suffix("")
    picture = next((p for s in SUFFIXES if (p := stem.with_name(stem.name + s)).is_file()), None)
    lines = [line.strip() for line in text.read_text(encoding="utf-8").splitlines() if line.strip()]
    if picture is None or len(lines) < 2:
        raise BenchError(f"{at}: a picture of the same name in images/, and a subject and prompts, would be right")
    subject, *asked = lines
    concept = UNFIT.sub("_", "_".join([*at.parent.parts, at.stem, subject]))
    made = folder / "concepts" / concept
    made.mkdir(parents=True, exist_ok=True)
    shutil.copy2(picture, made / picture.name)
    style = "style" in at.parent.parts
    fields = {"name": concept, "kind": "style" if style else "subject", "class_phrase": subject, "medium": "a photo",
              "licence": "see its source; not to be redistributed"}  # fmt: skip
    (made / "concept.yaml").write_text(_yaml(fields), encoding="utf-8")
    named = [re.sub(whole_words(subject), "{noun}", line, count=1, flags=re.IGNORECASE) for line in asked]
    (made / PROMPTS).write_text(_yaml({"concept": named}), encoding="utf-8")


def _yaml(fields: Mapping[str, object]) -> str:
    return yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True, width=1000)


LAYOUTS: dict[str, Callable[[str, Path], None]] = {"prompts": prompts, "captions": captions}
