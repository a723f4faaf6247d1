"""Methods from elsewhere: of other packages, of a folder of one's own, or named by their class. No torch."""

from __future__ import annotations

import dataclasses
import logging
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from bench import paths
from bench.config import NAME
from bench.errors import BenchError, near
from bench.names import find, resolve_name

log = logging.getLogger("bench")
GROUPS = ("method", "model", "dataset", "protocol")  # what a folder of one's own may hold
GROUP = "conceptbench.methods"  # of entry points
OPTION, CARRIER = "--config-dir", "hydra.searchpath="
CHOICE, TARGET = re.compile(r"\+{0,2}method=(.*)", re.DOTALL), re.compile(r"\+{0,2}method\._target_=(.*)", re.DOTALL)
FOLDERS: list[Path] = []  # of --config-dir, for the life of the process, as sys.path is


def names() -> list[str]:
    """Returns every method by name: those shipped, those of folders given, those of other packages."""
    own = [p.stem for f in FOLDERS for p in (f / "method").glob("*.yaml")]
    return sorted({*paths.choices("method"), *own, *(p.name for p in metadata.entry_points(group=GROUP))})


def carried(args: Sequence[str]) -> list[str]:
    """Returns arguments with `--config-dir FOLDER` as the override it stands for, which every process of a sweep sees.

    Raises:
        BenchError: no folder is named.
    """
    rest, folders, ahead = [], [], iter(args)
    for arg in ahead:
        if arg == OPTION or arg.startswith(f"{OPTION}="):
            folder = arg.partition("=")[2] or next(ahead, "")
            if not folder or "=" in folder:
                raise BenchError(f"{OPTION}: a folder that holds method/NAME.yaml would be right")
            folders.append(f"file://{folder}")
        else:
            rest.append(arg)
    return [*rest, f"{CARRIER}[{','.join(folders)}]"] if folders else rest


def shown(given: Sequence[str]) -> list[str]:
    """Returns overrides as they are given on the command line: `carried` undone."""
    out: list[str] = []
    for word in given:
        folders = re.findall(r"file://([^,\]]+)", word) if word.startswith(CARRIER) else []
        out += [part for folder in folders for part in (OPTION, folder)] or [word]
    return out


def prepared(overrides: Sequence[str]) -> list[str]:
    """Returns a run's overrides as Hydra is to have them, the method they name made known to it.

    Raises:
        BenchError: there is no such method or folder, or two have one name.
    """
    for given in (o for o in overrides if o.startswith(CARRIER)):
        for folder in re.findall(r"file://([^,\]]+)", given):
            add_folder(Path(folder))
    if not any(CHOICE.fullmatch(o) for o in overrides):  # method._target_=their_package.TheirMethod, and no more
        overrides = [f"+method={t[1]}" if (t := TARGET.fullmatch(o)) else o for o in overrides]
    for name in (m[1] for o in overrides if (m := CHOICE.fullmatch(o))):
        _register(name)
    return list(overrides)


def add_folder(folder: Path) -> None:
    """Adds a folder's `method/NAME.yaml` to the methods, and its models, datasets and protocols to those there are;
    Python files that lie in the folder are found as well.

    Raises:
        BenchError: it holds none, or one under the name of one of the harness.
    """
    if folder in FOLDERS:
        return
    if not any((folder / group).is_dir() for group in GROUPS):
        raise BenchError(f"{OPTION} {folder}: a folder that holds method/NAME.yaml would be right")
    for group in GROUPS:
        own = {p.stem for p in (folder / group).glob("*.yaml")}
        if taken := sorted(own & set(paths.choices(group))):
            raise BenchError(f"{folder / group / taken[0]}.yaml: the harness has a {taken[0]}; another name is right")
    FOLDERS.append(folder)
    sys.path.append(str(folder.absolute()))


def home(name: str) -> Path:
    """Returns the folder whose `method/NAME.yaml` a method is: one of `--config-dir`, else the harness's own."""
    return next((f for f in FOLDERS if (f / "method" / f"{name}.yaml").is_file()), paths.shipped("conf"))


def _register(name: str) -> None:
    """Makes a method from elsewhere known to Hydra."""
    from hydra.core.config_store import ConfigStore

    if name in paths.choices("method"):
        if metadata.entry_points(group=GROUP, name=name):
            log.warning("+method=%s is the harness's own; the package's goes by its dotted name", name)
        return
    said = config_of(name)
    if said is None and "," in name:
        raise BenchError(f"+method={name}: several make a sweep; -m before it runs one after the other")
    if said is None:
        there = f"one of {', '.join(names())} would be right, or {OPTION} FOLDER for methods of your own"
        raise BenchError(f"+method={name}: no such method{near(name, names())}; {there}")
    if "." in name and (own := name.rpartition(".")[2]) in names():
        raise BenchError(f"+method={name}: there is a method called {own}; a class of another name would be right")
    if not any((f / "method" / f"{name}.yaml").is_file() for f in FOLDERS):  # those Hydra finds by itself
        ConfigStore.instance().store(group="method", name=name, node=said, provider=GROUP)


def called(name: str, target: str) -> str:
    """Returns what a method is called: a class that was named by its dotted name goes by its own."""
    return name.rpartition(".")[2] if name == target else name


def config_of(name: str) -> dict[str, Any] | None:
    """Returns the configuration of a method from elsewhere; None where there is none of this name.

    Raises:
        BenchError: two packages have it, or what names it names nothing.
    """
    if not re.fullmatch(NAME, name):
        return None
    for folder in FOLDERS:
        if (path := folder / "method" / f"{name}.yaml").is_file():
            return _read(path)
    points = list(metadata.entry_points(group=GROUP, name=name))
    if len(points) > 1:
        packages = ", ".join(sorted(p.dist.name if p.dist else "?" for p in points))
        raise BenchError(f"+method={name}: of several packages, {packages}; its class's dotted name would be right")
    if points:
        return _of_point(points[0])
    return of_class(name, f"+method={name}") if "." in name else None


def _of_point(point: metadata.EntryPoint) -> dict[str, Any]:
    """Returns what an entry point names: `package.module:Class`, or `package:FILE.yaml` shipped in the package."""
    where = f"entry point {GROUP} {point.name}={point.value}"
    if not point.attr.endswith((".yaml", ".yml")):
        return of_class(f"{point.module}.{point.attr}", where)
    spec = find(point.module, where)
    if spec is None or not spec.submodule_search_locations:
        raise BenchError(f"{where}: no package {point.module!r} is installed")
    return _read(Path(next(iter(spec.submodule_search_locations))) / point.attr)


def _read(path: Path) -> dict[str, Any]:
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        at, said = (f", line {mark.line + 1}", error.problem) if mark else ("", str(error).splitlines()[0])  # type: ignore[union-attr]
        raise BenchError(f"{path}{at}: {said}; a method's YAML would be right") from None
    if not isinstance(said, dict) or not isinstance(said.get("_target_"), str):
        raise BenchError(f"{path}: _target_ is missing; the dotted name of a method's class would be right")
    return said


def of_class(target: str, field: str) -> dict[str, Any]:
    """Returns the configuration that a method's class states itself: its fields' defaults.

    Raises:
        BenchError: there is no such class, or it is no dataclass.
    """
    from pydantic_core import to_jsonable_python

    cls = resolve_name(target, field)
    if not isinstance(cls, type) or not dataclasses.is_dataclass(cls):
        raise BenchError(f"{field}: {target} is no dataclass; a method's class would be right")
    values = {}
    for f in dataclasses.fields(cls):
        default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        values[f.name] = "???" if default is dataclasses.MISSING else to_jsonable_python(default)
    return {"_target_": target, **values}
