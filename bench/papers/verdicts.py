"""What the rows say of a claim. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.boards.anchors import ANCHORS
from bench.boards.paired import sign_flip
from bench.boards.resample import concept_means, intervals, means, pair_arrays
from bench.papers.claims import Claim
from bench.row import Row
from bench.rows.place import task_of

ALPHA = 0.05  # what p may be at most; of so few concepts that none can be as small, the smallest there is
FEWEST = 4  # concepts: fewer are all on one side by chance in a quarter of the cases or more
Word = Literal["reproduced", "not reproduced", "undecided", "not measured"]
Key = tuple[str, int]  # concept and seed
Board = tuple[str, str, str, str]  # dataset, model, task and protocol


@dataclass(frozen=True)
class Verdict:
    """What the rows of one board say of a claim.

    Attributes:
        board: the board, empty where there is none.
        why: of what is undecided or not measured.
        means: the method's and the other's, over the pairs.
        difference: its mean and 95 % interval, the method's value minus the other's.
        side: concepts whose mean difference is on the claimed side.
        left_out: runs that both have, of which one did not go well or has no such value.
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
    left_out: int = 0
    p: float = float("nan")
    lost: tuple[str, ...] = ()


def boards(rows: Iterable[Row]) -> dict[Board, list[Row]]:
    """Returns rows by dataset, model, task and protocol, in order."""
    found: dict[Board, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.dataset, row.model, task_of(row), row.protocol].append(row)
    return dict(sorted(found.items()))


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
    left_out = len(_tried(claim, rows) - pairs.keys())
    return Verdict(claim, board[1], word, why, board, sides, (mean, low, high), concepts, side,
                   len({seed for _, seed in pairs}), len(pairs), left_out, chance, lost)  # fmt: skip


def _tried(claim: Claim, rows: Sequence[Row]) -> set[Key]:
    """Returns the concepts and seeds that were run with both, however that went; an anchor is in every row."""
    own, other = ({(r.concept, r.seed) for r in rows if r.method == m} for m in (claim.method, claim.against))
    return own if claim.against in ANCHORS else own & other


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
