"""Claims of papers as data. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from bench.config import NAME
from bench.errors import BenchError
from bench.papers.files import Strict, Sure, read_file


class Claim(Strict):
    """One method against another in one value of a row.

    Attributes:
        where: the table and column, or what else it rests on.
        basis: `reported`, a table's figures; `said`, words, the paper's or of whoever ran it; `expected`, claimed by
            nobody: what a reader may hope of a method by what it is for, or what follows from how it works.
        sure: of the source; what is expected has none.
        against: another method, or an anchor of the method's own rows, as `none`.
        metric: the value's name in rows.
        direction: whether the method's value is claimed to be greater or less.
        models: what it can be judged on, where not on all models of its file.
    """

    id: str = Field(pattern=NAME)
    says: str = Field(min_length=1)
    where: str = Field(min_length=1)
    basis: Literal["reported", "said", "expected"]
    sure: Sure | None = None
    task: str = Field(pattern=NAME)
    method: str = Field(pattern=NAME)
    against: str = Field(pattern=NAME)
    metric: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")
    direction: Literal["greater", "less"]
    note: str = ""
    models: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _of_two(self) -> Claim:
        if self.method == self.against:
            raise ValueError(f"{self.id}: {self.method!r} against itself; another method would be right")
        if (self.basis == "expected") != (self.sure is None):
            raise ValueError(f"{self.id}: sure={self.sure}: a mark where it is reported or said, none where expected")
        return self


class Claims(Strict):
    """A file of claims: who makes them, the models they are judged on, and what a reader of the verdicts must know."""

    about: str = Field(min_length=1)
    source: str = Field(min_length=1)
    models: list[str] = Field(min_length=1)
    notes: list[str] = Field(default_factory=list)
    claims: list[Claim] = Field(min_length=1)


def load(folder: Path) -> list[Claims]:
    """Returns the claims of `folder/*.yaml`, in the files' order.

    Raises:
        BenchError: a field is wrong, or two claims have one id.
    """
    found: dict[str, Path] = {}
    out = []
    for path in sorted(folder.glob("*.yaml")):
        out.append(read_file(path, Claims))
        for claim in out[-1].claims:
            if claim.id in found:
                raise BenchError(f"{path}: id {claim.id!r} is taken by {found[claim.id]}; another would be right")
            found[claim.id] = path
    return out
