"""Runs a row again from its own provenance, and says whether it comes out the same."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.found import CARRIER
from bench.plan import Plan
from bench.row import Row
from bench.rows.file import shown
from bench.submissions.submission import SUFFIX
from bench.sweeps.pairs import differences, pairs, show, verdict
from bench.words import quoted

COMMAND = ["python", "-m", "bench"]
OURS = ("methods.", "metrics.", "bench.rewards.")  # code that a row may name
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$")


def read(path: Path) -> Row:
    """Reads a row.

    Raises:
        BenchError: it cannot be read or is no row of this version.
    """
    if path.suffix == SUFFIX:
        raise BenchError(f"{path}: a submission; its row.json, unpacked, would be right")
    try:
        return Row.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(f"{path}: {error.strerror}; the path of a row.json would be right") from None
    except ValueError as error:
        raise BenchError(f"{path}: not a row of this version: {str(error).splitlines()[0]}") from None


def overrides(row: Row, trust: bool) -> list[str]:
    """Returns the overrides of a row's command, without its root.

    Raises:
        BenchError: the row has no such command, or it names code that is not ours and is not trusted.
    """
    said = str(row.provenance.get("command", ""))
    try:
        words = shlex.split(said)
    except ValueError:
        words = []
    if words[:3] == COMMAND and words[3:4] == ["score"]:
        raise BenchError("the row is of `score`, which trains nothing; that command again, on the same files, is right")
    if not trust and any(w.startswith(CARRIER) for w in words):
        raise BenchError(f"provenance.command: {said!r} names a folder of methods; --trust would run what is in it")
    ours = [w for w in words[3:] if not (trust and w.startswith(CARRIER))]  # a folder of methods, if that is trusted
    if words[:3] != COMMAND or not all(_is_override(w) for w in ours):
        raise BenchError(f"provenance.command: {said!r}; python -m bench KEY=VALUE ... would be right")
    given = [w for w in words[3:] if w.lstrip("+").split("=")[0] != "root"]
    if not trust:
        _check_named(given)
    return given


def _is_override(word: str) -> bool:
    """Whether a word sets a field, `KEY=VALUE`, or leaves one out, `~KEY`."""
    return ("=" in word or word.startswith("~")) and not word.startswith(("-", "hydra"))


def _check_named(given: list[str]) -> None:
    """Checks what code a command comes to name, once all that stands for something else in it is resolved.

    Raises:
        BenchError: it is not ours.
    """
    from bench.compose import compose

    for word in given:  # as it is written: a module is looked for, and its packages imported, where one is composed
        for part in re.split(r"[\[\](),{}:\s'\"]+", word.partition("=")[2]):
            if DOTTED.match(part) and not part.startswith(OURS):
                raise BenchError(f"provenance.command: {word} names code of elsewhere; --trust would run it")
    config, _ = compose(given)
    by_name = not any(w.lstrip("+").startswith("method._target_") for w in given)  # a method that is installed here
    method = {k: v for k, v in config["method"].items() if not (by_name and k == "_target_")}
    for said in _strings([method, config["protocol"]["metrics"]]):
        if DOTTED.match(said) and not said.startswith(OURS):
            raise BenchError(f"provenance.command: names {said}, code of elsewhere; --trust would run it")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)


def plan(row: Row, given: list[str], root: str, trust: bool = False) -> Plan:
    """Plans a row's run with its own hyperparameters, also where the values set for its model have changed since.

    Raises:
        BenchError: the command makes another row than this, or a hyperparameter names code that is not trusted.
    """
    from bench.compose import compose
    from bench.plan import make

    where = f"root={quoted(root)}"
    planned = make(*compose([*given, where]))
    mine = {"method": planned.method, "concept": planned.concept.name, "seed": planned.config["seed"]}
    mine |= {group: planned.config[group]["name"] for group in ("model", "dataset", "protocol")}
    for field, value in mine.items():
        if value != getattr(row, field):
            raise BenchError(f"provenance.command makes {field} {value}, and the row has {getattr(row, field)}")
    if planned.hyperparameters == row.hyperparameters:
        return planned
    changed = {k: v for k, v in row.hyperparameters.items() if planned.hyperparameters.get(k) != v}
    if strange := [k for k in changed if k not in planned.hyperparameters]:
        raise BenchError(f"hyperparameters.{shown(strange[0])}: no field of {row.method}")
    own = [*given, *(f"method.{k}={json.dumps(v)}" for k, v in changed.items())]
    if not trust:
        _check_named(own)
    return make(*compose([*own, where]))


def rerun(path: Path, root: str | None, trust: bool) -> int:
    """Runs a row again into a root of its own and writes both, side by side, to stdout. Returns the exit code.

    Raises:
        BenchError: the row cannot be read or run.
    """
    from bench.run import preflight, run

    old = read(path)
    planned = plan(old, overrides(old, trust), root or f"reruns/{old.digest()}", trust)
    preflight(planned)
    new, _ = run(planned)
    found = pairs(old, new)
    show(found)
    missed = [p.name for p in found if not p.within]
    good = not missed and old.status == new.status
    lines = [f"{planned.folder / 'row.json'}: {verdict(old, new, found, missed)}"]
    lines += [f"  differs: {d}" for d in differences(old, new)]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if good else 1
