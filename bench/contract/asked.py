"""A method as its author states it: its fields, what it serves, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from bench.errors import Broken, NotServed, near
from bench.sweeps.requests import KINDS, held_out

if TYPE_CHECKING:
    from bench.plan import Plan

FAMILIES = ("flow", "epsilon", "v")


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
