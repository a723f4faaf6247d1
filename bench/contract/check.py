"""The contract of a method, tried on small pipelines of the true classes: a checklist for its author."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from bench.errors import BenchError, Broken, Diverged, NotServed, near, own_line
from bench.names import resolve_name
from bench.sweeps.sweep import KINDS, held_out

if TYPE_CHECKING:
    from bench.contract.brief import Case
    from bench.plan import Plan

log = logging.getLogger("bench")
FAMILIES = ("flow", "epsilon", "v")


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
        return Finding(what, False, f"{type(error).__name__} in {own_line(error) or 'check'}: {said}")


@dataclass(frozen=True)
class Asked:
    """A method as it was asked for: its configuration, name and class."""

    config: dict[str, Any]
    name: str
    cls: Any

    def fields(self) -> str:
        """Checks that every field is in the configuration and takes no nonsense."""
        wanted = ("__dataclass_fields__", "train", "tasks", "families")
        if not all(hasattr(self.cls, a) for a in wanted):
            raise Broken(f"{self.name}: a dataclass with train, tasks and families would be right")
        said = {k: v for k, v in self.config["method"].items() if k not in ("_target_", "tuned", "tuned_as", "search")}
        names = [f.name for f in dataclasses.fields(self.cls)]
        if unknown := [k for k in said if k not in names]:
            like = near(unknown[0], names)
            raise Broken(f"{unknown[0]}: in the configuration, and no field of {self.cls.__name__}{like}")
        if lost := [n for n in names if n not in said]:
            raise Broken(f"{lost[0]}: not in the configuration, so method.{lost[0]}=… cannot set it; add its default")
        self._strict(said)
        json.dumps(said, allow_nan=False)
        return ", ".join(names) or "none"

    def _strict(self, said: dict[str, Any]) -> None:
        """Checks that values of each field are checked: what is no value at all is refused."""
        from pydantic import TypeAdapter, ValidationError

        adapter, hints = TypeAdapter(self.cls), get_type_hints(self.cls, include_extras=True)
        adapter.validate_python(said)
        for name in said:
            for value in (object(), math.nan) if hints[name] is float else (object(),):
                try:
                    adapter.validate_python(said | {name: value})
                except ValidationError:
                    continue
                taken = "anything" if value == value else "NaN"
                raise Broken(f"{name}: takes {taken}; a type like PositiveFloat would be right")

    def tasks(self) -> str:
        """Checks that it states which kinds of concept it serves."""
        return self._stated("tasks", KINDS)

    def families(self) -> str:
        """Checks that it states which models it serves."""
        return self._stated("families", FAMILIES)

    def _stated(self, what: str, known: Sequence[str]) -> str:
        stated = tuple(getattr(self.cls, what, ()))
        if not stated or (unknown := [s for s in stated if s not in known]):
            raise Broken(f"{what}: {', '.join(unknown) if stated else 'none'}; of {', '.join(known)} would be right")
        return ", ".join(stated)

    def plan(self, kind: str, family: str, folder: str | None = None) -> Plan:
        """Plans a run on a concept of a kind; no judge and no metric is wanted.

        Without a folder no model is there to run: the family is only said to be another.
        """
        from bench.plan import make

        said = self.config["model"] | {"name": f"a {family} model"}
        model = said | ({"path": folder, "family": family} if folder else {})
        dataset = self.config["dataset"] | {"encoders": {}}
        protocol = self.config["protocol"] | {"metrics": [], "attacks": None}
        concept = next(c for c in held_out(self.config, kind) if self._fits(c))
        changed = {"model": model, "dataset": dataset, "protocol": protocol, "concept": concept}
        plan = make(self.config | changed, self.name)
        return dataclasses.replace(plan, config=plan.config | {"model": model | {"family": family}})

    def _fits(self, concept: str) -> bool:
        """Returns whether the parts of a composite concept are of a kind that is served apart."""
        from bench.data.concept_file import load
        from bench.plan import dataset_folder

        said = load(dataset_folder(self.config["dataset"]["path"]), concept)
        return said.kind in ("roundtrip", "subject_style") or all(p.kind in self.cls.tasks for p in said.parts)

    def refusals(self) -> str:
        """Checks that what it does not serve is refused in a line that says so."""
        from bench.stages.training import instantiate

        kinds, families = tuple(self.cls.tasks), tuple(self.cls.families)
        outside = [(k, families[0]) for k in ("subject", "style", "erase", "roundtrip") if k not in kinds]
        outside += [(kinds[0], f) for f in FAMILIES if f not in families]
        for kind, family in outside:
            plan = self.plan(kind, family)
            try:
                instantiate(plan, plan.trainings[-1])
            except NotServed as error:
                if "\n" in str(error):
                    raise Broken(f"not_for[{family!r}]: one line would be right") from None
                continue
            raise Broken(f"{kind} on {family} is not refused")
        return (
            f"refused in one line: {', '.join(dict.fromkeys(f'{k} on {f}' for k, f in outside))}"
            if outside
            else "nothing"
        )


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
