"""The contract of a method, tried on small pipelines of the true classes: a checklist for its author."""

from __future__ import annotations

import logging
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contract.asked import Asked
from bench.errors import BenchError, Broken, Diverged, own_line
from bench.names import resolve_name

if TYPE_CHECKING:
    from bench.contract.brief import Case

log = logging.getLogger("bench")


@dataclass(frozen=True)
class Finding:
    """One line of the checklist."""

    what: str
    good: bool
    said: str

    def line(self) -> str:
        """Returns the line as it is shown."""
        return f"{'✓' if self.good else '✗'} {self.what:<13} {self.said}"


def check(method: str, overrides: Sequence[str]) -> Iterator[Finding]:
    """Yields what was found of a method, each line as soon as it is known.

    Raises:
        BenchError: there is no such method.
    """
    from bench.compose import compose

    config, name = compose([f"+method={method}", "model=sticker-unet", "tuned=none", *overrides])
    target = config["method"].get("_target_", "")
    cls = resolve_name(target, "method._target_")  # what cannot be imported at all is a wrong request
    ask = Asked(config, name, cls)
    static = [_tried("fields", ask.fields), _tried("tasks", ask.tasks), _tried("families", ask.families)]
    yield from static
    if not all(f.good for f in static):
        return
    yield _tried("outside them", ask.refusals)
    with tempfile.TemporaryDirectory() as folder:
        yield from _trials(ask, Path(folder))


def _tried(what: str, say: Callable[[], str]) -> Finding:
    """Returns what a check says, or what is wrong; a method that raises is told where."""
    try:
        return Finding(what, True, say())
    except (Broken, BenchError, Diverged) as error:
        return Finding(what, False, str(error))
    except Exception as error:  # whatever somebody's method does
        log.debug("%s", traceback.format_exc())
        said = str(error).splitlines()[0] if str(error) else ""
        return Finding(what, False, f"{type(error).__name__} in {own_line(error, installed=True) or 'check'}: {said}")


def _trials(ask: Asked, folder: Path) -> Iterator[Finding]:
    """Trains on every family, and on every kind of concept."""
    from bench import backbone
    from bench.contract.tiny import flow_folder, unet_folder
    from bench.progress import quiet_libraries

    quiet_libraries()
    for i, family in enumerate(ask.cls.families):
        prediction = "v_prediction" if family == "v" else "epsilon"
        path = flow_folder(folder / family) if family == "flow" else unet_folder(folder / family, prediction)
        network = backbone.load(family, path)
        for k, kind in enumerate(ask.cls.tasks if i == 0 else ask.cls.tasks[:1]):
            case = _case(ask, network, kind, family, str(path))
            where = folder / f"{family}-{kind}"
            begun = time.monotonic()
            found = list(_kept(case, where, whole=k == 0))
            yield Finding(f"{kind}, {family}", all(f.good for f in found), f"{time.monotonic() - begun:.1f} s")
            yield from (Finding(f"  {f.what}", f.good, f.said) for f in found)


def _case(ask: Asked, network: Any, kind: str, family: str, path: str) -> Case:
    from bench.contract.brief import Case
    from bench.stages.training import instantiate

    plan = ask.plan(kind, family, path)
    own = plan.trainings[-1:] if kind == "roundtrip" else plan.trainings
    return Case(network, tuple(t.concept for t in own), lambda: instantiate(plan, own[0]))


def _kept(case: Case, folder: Path, whole: bool) -> Iterator[Finding]:
    """Yields what a training keeps of the contract; `whole` trains again, otherwise and interrupted as well."""
    from bench.contract.promises import Promises

    promises = Promises(case, folder)
    trains = _tried("trains", promises.trains)
    yield trains
    if not trains.good:
        return
    yield _tried("base model", promises.leaves_the_model)
    yield _tried("acts", promises.acts)
    yield _tried("files", promises.files)
    if whole:
        yield _tried("repeats", promises.repeats)
        yield _tried("seeds", promises.seeds)
        yield _tried("goes on", promises.goes_on)
