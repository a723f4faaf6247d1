"""Claims of papers as data, and what the rows say of each. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from bench.boards.paired import sign_flip
from bench.boards.resample import concept_means, intervals, means, pair_arrays
from bench.config import NAME
from bench.errors import BenchError
from bench.papers.files import Strict, Sure, read_file
from bench.row import Row

ALPHA = 0.05  # what p may be at most; of so few concepts that none can be as small, the smallest there is
FEWEST = 4  # concepts: fewer are all on one side by chance in a quarter of the cases or more
Word = Literal["reproduced", "not reproduced", "undecided", "not measured"]
Key = tuple[str, int]  # concept and seed
Board = tuple[str, str, str, str]  # dataset, model, task and protocol


class Claim(Strict):
    """One method against another in one value of a row.

    Attributes:
        where: the table and column, or what else it rests on.
        basis: `reported`, a table's figures; `said`, the paper's words; `expected`, what follows from the method,
            though nobody reported it.
        against: another method, or an anchor of the method's own rows, as `none`.
        metric: the value's name in rows.
        direction: whether the method's value is claimed to be greater or less.
    """

    id: str = Field(pattern=NAME)
    says: str = Field(min_length=1)
    where: str = Field(min_length=1)
    basis: Literal["reported", "said", "expected"]
    sure: Sure
    task: str = Field(pattern=NAME)
    method: str = Field(pattern=NAME)
    against: str = Field(pattern=NAME)
    metric: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")
    direction: Literal["greater", "less"]
    note: str = ""

    @model_validator(mode="after")
    def _of_two(self) -> Claim:
        if self.method == self.against:
            raise ValueError(f"{self.id}: {self.method!r} against itself; another method would be right")
        return self


class Claims(Strict):
    """A file of claims: who makes them, and the models they are judged on."""

    about: str = Field(min_length=1)
    source: str = Field(min_length=1)
    models: list[str] = Field(min_length=1)
    claims: list[Claim] = Field(min_length=1)


@dataclass(frozen=True)
class Verdict:
    """What the rows of one board say of a claim.

    Attributes:
        board: the board, empty where there is none.
        why: of what is undecided or not measured.
        means: the method's and the other's, over the pairs.
        difference: its mean and 95 % interval, the method's value minus the other's.
        side: concepts whose mean difference is on the claimed side.
        p: of the sign-flip test on the concepts' mean differences, that of this comparison alone.
        lost: concepts on which one of the two has no run that went well, though it has some that did not.
    """

    claim: Claim
    model: str
    word: Word
    why: str = ""
    board: Board | None = None
    means: tuple[float, float] = (0.0, 0.0)
    difference: tuple[float, float, float] = (0.0, 0.0, 0.0)
    concepts: tuple[str, ...] = ()
    side: int = 0
    seeds: int = 0
    pairs: int = 0
    p: float = float("nan")
    lost: tuple[str, ...] = ()


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


def judge(claim: Claim, model: str, boards: Mapping[Board, Sequence[Row]]) -> list[Verdict]:
    """Returns a verdict for each dataset and protocol on which the claim can be looked at; one where it cannot."""
    here = {b: rows for b, rows in boards.items() if b[1:3] == (model, claim.task)}
    found = [_judged(claim, board, rows) for board, rows in here.items()]
    measured = [v for v in found if v.word != "not measured"]
    other = sorted({b[1] for b, rows in boards.items() if b[2] == claim.task and rows} - {model})
    where = f" on {model}; there are some on {', '.join(other)}" if other else ""
    return measured or found[:1] or [Verdict(claim, model, "not measured", f"no rows of the task {claim.task}{where}")]


def _judged(claim: Claim, board: Board, rows: Sequence[Row]) -> Verdict:
    own = {(r.concept, r.seed): r for r in rows if r.method == claim.method and r.status == "ok"}
    other = {(r.concept, r.seed): r for r in rows if r.method == claim.against and r.status == "ok"}
    pairs = {k: p for k in sorted(own) if (p := _pair(claim, own[k], other.get(k)))}
    if not pairs:
        return Verdict(claim, board[1], "not measured", _absent(claim, own, other), board)
    first, second = pair_arrays(pairs)
    differences = first - second  # as a board has it: one estimate and one interval, wherever it is read
    concepts = tuple(dict.fromkeys(concept for concept, _ in pairs))
    sign = 1 if claim.direction == "greater" else -1
    side = int((sign * concept_means(differences)[0] > 0).sum())
    mean, low, high = (float(v[0]) for v in intervals(differences))
    chance = float(sign_flip(concept_means(differences))[0])
    lost = _lost(rows, (claim.method, claim.against))
    word, why = _word((low, high), chance, sign, concepts, lost)
    sides = float(means(first)[0]), float(means(second)[0])
    return Verdict(claim, board[1], word, why, board, sides, (mean, low, high), concepts, side,
                   len({seed for _, seed in pairs}), len(pairs), chance, lost)  # fmt: skip


def _lost(rows: Sequence[Row], methods: Sequence[str]) -> tuple[str, ...]:
    """Returns the concepts on which every run of one of some methods diverged or failed: what is left is no sample."""
    tried = {(r.method, r.concept) for r in rows if r.method in methods}
    well = {(r.method, r.concept) for r in rows if r.status == "ok"}
    return tuple(sorted({concept for _, concept in tried - well}))


def _pair(claim: Claim, own: Row, other: Row | None) -> tuple[float, float] | None:
    """Returns the two values of one concept and seed, if both were measured."""
    values = own.anchors.get(claim.against) or (other.measured if other else {})
    if claim.metric not in own.measured or claim.metric not in values:
        return None
    return own.measured[claim.metric].value, values[claim.metric].value


def _absent(claim: Claim, own: Mapping[Key, Row], other: Mapping[Key, Row]) -> str:
    rows = {claim.method: own, claim.against: other}
    missing = [m for m, found in rows.items() if not found]
    if missing:
        return f"no rows of {' and '.join(f'`{m}`' for m in missing)}"
    return f"no concept and seed with `{claim.metric}` of both"


def _word(
    interval: tuple[float, float], p: float, sign: int, concepts: Sequence[str], lost: Sequence[str]
) -> tuple[Word, str]:
    """Returns the verdict, and of an undecided one the reason."""
    low, high = interval
    if len(concepts) < FEWEST:
        return "undecided", f"{len(concepts)} of at least {FEWEST} concepts: {', '.join(concepts)}"
    if lost:
        return "undecided", f"no run went well on {', '.join(lost)}"
    if low <= 0 <= high:
        return "undecided", "the interval contains 0"
    if p > max(ALPHA, 2.0 ** (1 - len(concepts))):
        return "undecided", f"p = {p:.2f}: the concepts are not of one sign"
    return ("reproduced", "") if sign * low > 0 else ("not reproduced", "")
