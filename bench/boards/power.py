"""How many concepts and seeds show a stated difference, from the spread of the rows of a board.

A method's difference to the baseline on concept c and seed s is taken as μ + a_c + e_cs. The variances of a (between
concepts) and of e (between seeds) are those of a one-way analysis of variance with random effects, the mean over
methods. With C concepts and S seeds the mean difference has variance σ_a² / C + σ_e² / (C S); its test is taken as a
two-sided t test with C − 1 degrees of freedom. No p can be below the sign-flip test's 2 / 2^C: with hardly more
concepts than that asks for, all of them must lie on one side, and the t test would promise a power that is not there;
so there the sign-flip test itself is tried on random draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.boards.analysis import Board
from bench.boards.paired import EXACT, sign_flip
from bench.boards.resample import Array
from bench.errors import BenchError

MOST = 500  # concepts looked at
CLOSE, TRIED = 3, 2000  # concepts from the fewest that can be found on; draws


@dataclass(frozen=True)
class Components:
    """Variances of a method's difference to the baseline: between concepts, and between seeds of one concept."""

    concepts: float
    seeds: float


def components(differences: Array) -> Components:
    """Returns the variance components of differences, the mean over methods that allow one.

    Args:
        differences: (methods, concepts, seeds), NaN where not measured.

    Raises:
        BenchError: no method has two concepts and, on one of them, two seeds.
    """
    found = [c for d in differences if (c := _of_one(d)) is not None]
    if not found:
        raise BenchError("power needs rows of a method and the baseline on two concepts, with two seeds of one of them")
    return Components(float(np.mean([c.concepts for c in found])), float(np.mean([c.seeds for c in found])))


def _of_one(values: Array) -> Components | None:
    """Returns the components of (concepts, seeds) by the method of moments; a negative one is 0."""
    groups = [g[np.isfinite(g)] for g in values if np.isfinite(g).any()]
    sizes = np.array([len(g) for g in groups], float)
    k, n = len(groups), sizes.sum()
    if k < 2 or n <= k:
        return None
    means = np.array([g.mean() for g in groups])
    within = sum(float(((g - g.mean()) ** 2).sum()) for g in groups) / (n - k)
    between = float((sizes * (means - (sizes * means).sum() / n) ** 2).sum()) / (k - 1)
    size = (n - (sizes**2).sum() / n) / (k - 1)
    return Components(max(0.0, (between - within) / size), float(within))


def power(difference: float, concepts: int, seeds: int, spread: Components, alpha: float) -> float:
    """Returns how often a difference would be found significant at `alpha`, two-sided."""
    from scipy.stats import chi2, norm, t

    fewest = max(2, int(np.ceil(1 - np.log2(alpha))))
    if concepts < fewest:
        return 0.0
    variance = (spread.concepts + spread.seeds / seeds) / concepts
    if variance == 0:
        return 1.0
    if concepts < fewest + CLOSE and concepts <= EXACT:
        return _tried(difference / np.sqrt(variance * concepts), concepts, alpha)
    limit, shift = t.isf(alpha / 2, concepts - 1), abs(difference) / np.sqrt(variance)
    # noncentral t over quantiles of its chi-square; scipy's own gives NaN far from 0
    scale = limit * np.sqrt(chi2.ppf((np.arange(2000) + 0.5) / 2000, concepts - 1) / (concepts - 1))
    return float((norm.sf(scale - shift) + norm.cdf(-scale - shift)).mean())


def _tried(difference: float, concepts: int, alpha: float) -> float:
    """Returns how often the sign-flip test finds a difference, in standard deviations of a concept, in random draws."""
    drawn = np.random.default_rng(0).standard_normal((TRIED, concepts))
    return float((sign_flip(abs(difference) + drawn) <= alpha).mean())


def needed(difference: float, seeds: int, spread: Components, alpha: float, wanted: float = 0.8) -> int | None:
    """Returns the fewest concepts that find a difference with the wanted power; None where MOST are too few."""
    for concepts in range(2, MOST + 1):
        if power(difference, concepts, seeds, spread, alpha) >= wanted:
            return concepts
    return None


def table(board: Board, column: str, differences: Sequence[float], seeds: Sequence[int], alpha: float = 0.05) -> str:
    """Returns the concepts needed for differences, by seeds of training, as text.

    Args:
        board: whose spread counts.
        column: what is compared.
        differences: to be found, in the column's unit.
        seeds: trainings a concept.
        alpha: of one comparison; the table gives the numbers for Holm's first step too.

    Raises:
        BenchError: the board has no such column or no baseline.
    """
    if column not in board.columns:
        raise BenchError(f"--column {column!r}; there are: {', '.join(board.columns)}")
    if board.baseline is None:
        raise BenchError(f"the board has no row of its baseline; `baseline.{board.kind}` of conf/leaderboard.yaml")
    values, at = board.cells.values[column], board.cells.methods.index(board.baseline)
    others = len(values) - 1
    spread = components(np.delete(values - values[at], at, axis=0))
    lines = [f"{column} against {board.baseline}: sd {np.sqrt(spread.concepts):.3f} between concepts, "
             f"{np.sqrt(spread.seeds):.3f} between seeds; power 0.8, alpha {alpha:g}",
             f"concepts for one comparison (for {others}, after Holm)", "",
             f"{'difference':>10}" + "".join(f"{f'{s} seed' + 's' * (s > 1):>14}" for s in seeds)]  # fmt: skip
    for difference in differences:
        counts = [[needed(difference, s, spread, a) for a in (alpha, alpha / others)] for s in seeds]
        texts = [f"{_count(one)} ({_count(all_)})" for one, all_ in counts]
        lines.append(f"{difference:>10g}" + "".join(f"{text:>14}" for text in texts))
    return "\n".join(lines) + "\n"


def _count(concepts: int | None) -> str:
    return f">{MOST}" if concepts is None else str(concepts)
