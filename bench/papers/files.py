"""What papers report: data files, and the page that shows it apart from everything measured here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.errors import BenchError

Sure = Literal["paper", "code", "readme", "second hand", "memory"]
ARROWS = {"higher": " ↑", "lower": " ↓", "zero": " →0", "neither": ""}
HEAD = """# What papers report

Written by `python -m bench leaderboard` from the files beside it. **Everything on this page is *reported***: copied
from papers and repositories, on their models, data, prompts and judges, and measured by nobody here. What is measured
here stands in the boards; the two are never in one table, and a figure of one paper is not comparable with another's.
Where our rows speak to a paper's claim: [CLAIMS.md](../CLAIMS.md).

How sure a value is, and how it was come by:

- *paper*: read in the paper's full text
- *code*, *readme*: read in the official repository
- *second hand*: quoted by others; the paper's own text was not at hand
- *memory*: remembered, not looked up again

An empty cell was not found. One mark stands for a whole table; a value that differs has its own behind it.
"""


class Strict(BaseModel):
    """What is written by hand: every field known, every value of its type, every number finite."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Column(Strict):
    """A metric as the paper prints it: its scale (`×100`, `GB`), and what is better.

    `here` is the value of our rows that it is set beside, where that has another name.
    """

    metric: str = Field(min_length=1)
    here: str = ""
    scale: str = ""
    better: Literal["higher", "lower", "zero", "neither"]


class Cell(Strict):
    """A value that is not as sure as its table, or needs a word."""

    value: float
    sure: Sure | None = None
    note: str = ""


class Table(Strict):
    """A table of a paper; `values` are one list a method, in the columns' order, nothing where none was found.

    `kind` is that of its concepts, where the paper has tables of several; `here` has the methods that lines are set
    beside, where these have other names.
    """

    where: str = Field(min_length=1)
    model: str = Field(min_length=1)
    dataset: str = Field(min_length=1)
    sure: Sure
    kind: str = ""
    here: dict[str, str] = Field(default_factory=dict)
    note: str = ""
    columns: list[Column] = Field(min_length=1)
    values: dict[str, list[float | Cell | None]] = Field(min_length=1)

    @model_validator(mode="after")
    def _as_wide_as_its_columns(self) -> Table:
        for method, cells in self.values.items():
            if len(cells) != len(self.columns):
                raise ValueError(f"{method!r} has {len(cells)} values; {len(self.columns)} would be right")
        if unknown := self.here.keys() - self.values.keys():
            raise ValueError(f"here: no line {min(unknown)!r}; one of {', '.join(self.values)} would be right")
        return self


class Paper(Strict):
    """A paper, or a benchmark's published results; without a table, `note` says why there is none."""

    name: str = Field(min_length=1)
    title: str = ""
    arxiv: str = Field("", pattern=r"^(\d{4}\.\d{5}(v\d+)?)?$")
    venue: str = ""
    note: str = ""
    tables: list[Table]

    @model_validator(mode="after")
    def _says_why_it_is_empty(self) -> Paper:
        if not self.tables and not self.note:
            raise ValueError("no tables and no note; a note that says why would be right")
        return self


Kind = TypeVar("Kind", bound=Strict)


def read_file(path: Path, kind: type[Kind]) -> Kind:
    """Reads a YAML file of a kind.

    Raises:
        BenchError: it is no YAML, or a field is wrong; names both.
    """
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(said, dict):
        raise BenchError(f"{path}: a mapping of fields would be right, not {type(said).__name__}")
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        raise BenchError(f"{path}: {'.'.join(map(str, first['loc'])) or 'as a whole'}: {first['msg']}") from None


def load(folder: Path) -> list[Paper]:
    """Returns the papers of `folder/*.yaml`, in the files' order."""
    return [read_file(p, Paper) for p in sorted(folder.glob("*.yaml"))]


def render(papers: list[Paper]) -> str:
    """Returns the page of everything reported."""
    return HEAD + "".join(_paper(p) for p in papers)


def _paper(paper: Paper) -> str:
    link = f"[arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})" if paper.arxiv else ""
    about = ", ".join(s for s in (paper.title, paper.venue, link) if s)
    said = "".join(f"\n{s}\n" for s in (about, paper.note) if s)
    return f"\n## {paper.name}\n{said}" + "".join(_table(t) for t in paper.tables)


def _table(table: Table) -> str:
    heads = [f"{c.metric}{ARROWS[c.better]}{f' ({c.scale})' if c.scale else ''}" for c in table.columns]
    places = [max(map(_places, column)) for column in zip(*table.values.values(), strict=True)]
    lines = [["*reported*", *heads], ["---"] * (len(heads) + 1)]
    lines += [[method, *map(_cell, cells, places)] for method, cells in table.values.items()]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    note = f" {table.note}" if table.note else ""
    return f"\n**{table.where}**: {table.model}, {table.dataset}. *Reported; {table.sure}.*{note}\n\n{text}\n"


def _places(cell: float | Cell | None) -> int:
    """Returns how many decimals a value is written with."""
    value = cell.value if isinstance(cell, Cell) else cell
    return 0 if value is None else len(f"{value:.6f}".rstrip("0").partition(".")[2])


def _cell(cell: float | Cell | None, places: int) -> str:
    if cell is None:
        return ""
    if not isinstance(cell, Cell):
        return f"{cell:.{places}f}"
    marks = ", ".join(s for s in (cell.sure, cell.note) if s)
    return f"{cell.value:.{places}f} ({marks})" if marks else f"{cell.value:.{places}f}"
