"""Checks rows against each other: what counts twice, and what cannot stand on one board. No torch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from bench.row import Row, Value
from bench.rows.alike import alike, by_method, unmoved
from bench.rows.place import board_of

Rows = Mapping[Path, Row]


def at_odds(rows: Rows, loose: frozenset[Path] = frozenset()) -> Iterator[str]:
    """Yields what is wrong with rows beside each other, one line each naming file and field.

    Args:
        rows: each right by itself.
        loose: those that lie where a run left them, or a submission packed them. A folder of runs may hold several of
            one method, concept and seed, with other values each.
    """
    yield from _one_run_twice(rows, loose)
    yield from _one_training_twice(rows)
    yield from _one_score_twice(rows)
    yield from _one_method_twice({p: r for p, r in rows.items() if p not in loose})
    yield from _other_values({p: r for p, r in rows.items() if p not in loose})
    yield from _other_columns(rows)
    yield from _other_anchors(rows)


def _one_run_twice(rows: Rows, loose: frozenset[Path]) -> Iterator[str]:
    seen: dict[tuple[object, ...], Path] = {}
    for path, row in rows.items():
        key = (row.dataset, row.model, row.kind, row.method, row.concept, row.seed, row.protocol, row.gate,
               row.fingerprints.get("score") if path in loose else "")  # fmt: skip
        if (first := seen.setdefault(key, path)) != path:
            yield f"{path}: method, concept, seed, protocol, gate: as in {first}; one row of each would be right"


def _one_training_twice(rows: Rows) -> Iterator[str]:
    """Yields rows that have one training under two names of concept or seed."""
    seen: dict[tuple[str, str], tuple[str, int, Path]] = {}
    for path, row in rows.items():
        if (train := row.fingerprints.get("train")) is not None:
            concept, seed, first = seen.setdefault((row.model, train), (row.concept, row.seed, path))
            if (row.concept, row.seed) != (concept, seed):
                yield f"{path}: fingerprints.train={train}: as {concept}, seed {seed}, {first}; its own would be right"


def _one_score_twice(rows: Rows) -> Iterator[str]:
    """Yields rows that have one table of scores under two names of method."""
    seen: dict[str, tuple[str, Path]] = {}
    for path, row in rows.items():
        if (score := row.fingerprints.get("score")) is not None:
            method, first = seen.setdefault(score, (row.method, path))
            if row.method != method:
                yield f"{path}: fingerprints.score={score}: as {method}, {first}; its own would be right"


def _other_values(rows: Rows) -> Iterator[str]:
    """Yields rows of a method with other hyperparameters than most of its rows there have: a mean over both is of no
    method.
    """
    there: dict[tuple[str, ...], list[tuple[Path, Row, dict[str, str]]]] = {}
    for path, row in rows.items():
        if row.status != "ok":
            continue
        key = (row.dataset, row.model, row.kind, row.method, row.protocol, row.gate)
        there.setdefault(key, []).append((path, row, _said(row)))
    for found in there.values():
        usual = dict(Counter(tuple(said.items()) for *_, said in found).most_common(1)[0][0])
        for path, row, said in found:
            if said != usual:
                name = min(k for k in {*usual, *said} if usual.get(k) != said.get(k))
                have, wanted = (of.get(name, "nothing")[:60] for of in (said, usual))
                yield (f"{path}: hyperparameters.{name}={have}: {wanted}, as most rows of {row.method} "
                       f"there have it, would be right")  # fmt: skip


def _said(row: Row) -> dict[str, str]:
    """Returns a row's hyperparameters as JSON, in order; 1 and 1.0 are the same."""
    values = {k: float(v) if type(v) is int else v for k, v in row.hyperparameters.items()}
    return {k: json.dumps(v, sort_keys=True) for k, v in sorted(values.items())}


def _one_method_twice(rows: Rows) -> Iterator[str]:
    """Yields methods of a board that have another's values: which was first, a person has to say."""
    boards: dict[str, dict[Path, Row]] = {}
    for path, row in rows.items():
        if row.status == "ok" and not unmoved(row):
            boards.setdefault(board_of(row), {})[path] = row
    for own in boards.values():
        methods, first = by_method(own.values()), {r.method: p for p, r in reversed(own.items())}
        for one, other in combinations(sorted(methods), 2):
            if alike(methods[one], methods[other]):
                yield f"{first[other]}: the values of {one}, {first[one]}; its own would be right"


def _other_columns(rows: Rows) -> Iterator[str]:
    """Yields values that cannot stand in one column: another judge, version or direction under the same name."""
    first: dict[tuple[str, str, str, str], tuple[tuple[str, str, int], Path]] = {}
    for path, row in rows.items():
        for name, value in row.measured.items():
            have = (value.better, value.checkpoint, value.version)
            wanted, where = first.setdefault((row.dataset, row.model, row.protocol, name), (have, path))
            for field, mine, theirs in zip(("better", "checkpoint", "version"), have, wanted, strict=True):
                if mine != theirs:
                    yield f"{path}: measured.{name}.{field}={mine!r}: {theirs!r}, as in {where}"


def _other_anchors(rows: Rows) -> Iterator[str]:
    """Yields rows that stand beside another untouched model, or other references, than most rows of their concept.

    Another machine's is within the value's interval.
    """
    said: dict[tuple[object, ...], list[tuple[Path, Value]]] = {}
    for path, row in rows.items():
        for anchor in ("none", "references"):
            for name, value in row.anchors.get(anchor, {}).items():
                key = f"anchors.{anchor}.{name}", row.dataset, row.model, row.protocol, row.concept, value.version
                said.setdefault(key, []).append((path, value))
    for (where, *_), found in said.items():
        usual = Counter(value.value for _, value in found).most_common(1)[0][0]
        for path, value in found:
            if not value.low <= usual <= value.high:
                at = f"{where}.value={value.value}"
                yield f"{path}: {at}: {usual}, as most rows of its concept have it, would be right"
