"""A method's fields: what its configuration says, and the values that were found for the model."""

from __future__ import annotations

from typing import Any

import yaml

from bench import paths
from bench.config import by_hand
from bench.errors import BenchError, near
from bench.found import config_of, home, names

HELD = "-gate-"  # between a method's name and the gate that a run holds


def method_of(config: dict[str, Any], name: str, said: dict[str, Any]) -> tuple[str, str, dict[str, Any], bool]:
    """Returns a method's name, class, fields and whether values for the model were applied to them."""
    fields = {k: v for k, v in said.items() if k not in ("_target_", "tuned", "tuned_as", "search")}
    target, model = said.get("_target_"), config["model"]["name"]
    if not isinstance(target, str):
        raise BenchError("method._target_ is missing; the dotted name of a method's class would be right")
    values = {} if config["tuned"] == "none" else tuned_values(name, said, model)
    if values:
        fields = _tuned(fields, values, config.get("_given", []))
    return name or target.rpartition(".")[2], target, fields, bool(values)


def customizer(config: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Returns the method that teaches a round trip its concept, with the values found for the model."""
    name = config["customizer"]
    return method_of(config | {"_given": []}, name, method_file(name, "customizer"))[:3]


def tuned_values(name: str, said: dict[str, Any], model: str) -> dict[str, Any]:
    """Returns a method's values for a model.

    They are those a search found (`conf/values`), else those its own config states under `tuned`. A variant
    (`tuned_as`) takes the values of the method it is one of, but for the fields that make it a variant.
    """
    if "tuned_as" in said:
        parent = method_file(said["tuned_as"], "method.tuned_as")
        shared = tuned_values(said["tuned_as"], parent, model)
        return {k: v for k, v in shared.items() if said.get(k) == parent.get(k)}
    return _found(name, model).get("values") or (said.get("tuned") or {}).get(model, {})


def _found(name: str, model: str) -> dict[str, Any]:
    path = home(name) / "values" / model / f"{name}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def tried(name: str, said: dict[str, Any], model: str) -> int:
    """Returns how many sets of values a search tried for a method, or for the method it is a variant of."""
    return int(_found(said.get("tuned_as", name), model).get("found", {}).get("trials", 0))


def method_file(name: str, field: str) -> dict[str, Any]:
    """Returns the configuration of a method by its name.

    Raises:
        BenchError: there is none of that name; `field` is where it was asked for.
    """
    path = paths.shipped("conf") / "method" / f"{name}.yaml"
    if path.is_file():
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    said = config_of(name)
    if said is None:
        raise BenchError(
            f"{field}={name}: no such method{near(name, names())}; one of {', '.join(names())} would be right"
        )
    return said


def _tuned(fields: dict[str, Any], table: dict[str, Any], given: list[str]) -> dict[str, Any]:
    """Applies values tuned for the model, except to what the command line itself sets."""
    named = {o.split("=")[0].removeprefix("method.") for o in by_hand(given)}
    unknown = set(table) - set(fields)
    if unknown:
        raise BenchError(f"method.tuned: {sorted(unknown)[0]} is not a field of the method")
    return fields | {k: v for k, v in table.items() if k not in named}


def entry(method: str, gate: str | float) -> str:
    """Returns what a run is called: with its gates held, it is another entry than its method."""
    return method if gate == "auto" else f"{method}{HELD}{gate}"
