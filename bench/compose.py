"""Hydra overrides → composed configurations."""

from __future__ import annotations

import itertools
import re
from typing import Any

from bench import found, paths
from bench.config import check, check_names
from bench.errors import BenchError, near
from bench.words import quoted


def compose(overrides: list[str]) -> tuple[dict[str, Any], str]:
    """Composes one run.

    Returns:
        The configuration as plain containers, and the name of the method's config.

    Raises:
        BenchError: an override names what is not there, or no method is given.
    """
    config, chosen = _composed("config", found.prepared(overrides))
    if "method" not in config:
        raise BenchError(f"no method given; +method=NAME with one of {', '.join(found.names())} would be right")
    called = found.called(chosen["method"], str(config["method"].get("_target_")))
    checked = check(config)
    check_names(checked, chosen)
    return checked | {"_given": list(overrides)}, called


def _composed(name: str, overrides: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Composes a primary configuration. Returns it as plain containers, and group → which of it was taken."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(config_dir=str(paths.shipped("conf")), version_base="1.3"):
            composed = hydra_compose(name, overrides=overrides, return_hydra_config=True)
            plain = OmegaConf.masked_copy(composed, [str(k) for k in composed if k != "hydra"])
            config: Any = OmegaConf.to_container(plain, resolve=True)
            return config, {str(group): str(taken) for group, taken in composed.hydra.runtime.choices.items()}
    except (HydraException, OmegaConfBaseException) as error:
        said = str(error)
    except ValueError:  # Hydra's own of a group that is none
        if not (nothing := [o for o in overrides if o.endswith("=null") and "." not in o]):
            raise
        said = f"{nothing[0]}: a name would be right"
    finally:
        HydraConfig.instance().cfg = None
    raise BenchError(_no_field(name, overrides, said) or _no_choice(said) or _one_line(said))


def _no_choice(said: str) -> str:
    """Returns what Hydra says of `model=nobody` in one line; nothing where it says something else."""
    found = re.search(
        r"Could not find '(\w+)/([^']*)'\s+Available options in '\w+':(.*?)(?:Config search|\Z)", said, re.S
    )
    if not found:
        return ""
    group, name, there = found[1], found[2], found[3].split()
    return f"{group}={name}: no such {group}{near(name, there)}; there are: {', '.join(there)}"


def _no_field(config: str, overrides: list[str], said: str) -> str:
    """Returns what Hydra says of `method.nothing=1` in one line, with the fields there are; nothing otherwise."""
    found = re.search(r"Could not override '([\w./]+)'", said)
    rest = [o for o in overrides if not found or o.partition("=")[0] != found[1]]
    if not found or len(rest) == len(overrides):
        return ""
    if found[1] == "method":
        return "method: a run names its method as +method=NAME"
    parent, _, field = found[1].rpartition(".")
    composed: Any = _composed(config, rest)[0]
    for step in filter(None, parent.split(".")):
        composed = composed.get(step) if isinstance(composed, dict) else None
    there = [k for k in composed if not k.startswith("_")] if isinstance(composed, dict) else []
    fields = f"; {parent or 'a run'} has {', '.join(map(str, there))}" if there else ""
    return f"{found[1]}: no such field{near(field, map(str, there))}{fields}"


def _one_line(said: str) -> str:
    """Returns Hydra's message as one line, its list of options included."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and "hydra" not in line.lower()]
    return " ".join(lines) or "the request cannot be composed"


def as_text(args: list[str]) -> list[str]:
    """Returns arguments with values that are no words of Hydra's, as `root=/tmp/jürgen`, in quotes: they are text."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()

    def read(arg: str) -> str:
        key, equals, value = arg.partition("=")
        if not equals or arg.startswith("-") or value.startswith(tuple("[{'\"")):
            return arg
        try:
            parser.parse_override(arg)
        except HydraException:
            return f"{key}={quoted(value)}"
        return arg

    return [read(arg) for arg in args]


def expand(args: list[str]) -> list[list[str]]:
    """Expands a sweep: `-m seed=0,1 concept=a,b` is four lists of overrides; without -m, one list.

    Raises:
        BenchError: an override cannot be read.
    """
    multirun = any(a in ("-m", "--multirun") for a in args)
    overrides = [a for a in args if a not in ("-m", "--multirun")]
    unknown = [a for a in overrides if a.startswith("-")]
    if unknown:
        raise BenchError(f"no option {unknown[0]}; --help shows what there is")
    if not multirun:
        return [overrides]
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except HydraException as error:
        raise BenchError(_one_line(str(error))) from None
    return [list(c) for c in itertools.product(*(_choices(o, line) for o, line in zip(parsed, overrides, strict=True)))]


def _choices(override: Any, line: str) -> list[str]:
    """Returns the overrides that one of a sweep stands for."""
    from hydra.errors import HydraException

    if not override.is_sweep_override():
        return [line]
    try:
        return [f"{line.split('=', 1)[0]}={v}" for v in override.sweep_string_iterator()]
    except HydraException:
        raise BenchError(f"{line}: a list (a,b), choice(a,b) or range(0,3) would be right") from None


def launch_options(args: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Takes `launcher=NAME launcher.FIELD=VALUE` out of the arguments: no row depends on how it was launched.

    Returns:
        The launcher's configuration, and the other arguments.

    Raises:
        BenchError: there is no such launcher or field.
    """
    if hydras := [
        a for a in args if a.lstrip("+~").startswith(("hydra/", "hydra.")) and not a.startswith(found.CARRIER)
    ]:
        name = hydras[0].removeprefix("hydra/")
        right = name if name.startswith("launcher=") else "root=FOLDER, for where runs lie,"
        raise BenchError(f"{hydras[0]}: Hydra composes runs here and does no more; {right} would be right")
    return _taken_out("launcher", "launch", "basic", args)


def tracker_options(args: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Takes `tracker=NAME tracker.FIELD=VALUE` out of the arguments: no row depends on where it is logged.

    Returns:
        The tracker's configuration, and the other arguments.

    Raises:
        BenchError: there is no such tracker or field.
    """
    return _taken_out("tracker", "track", "none", args)


def _taken_out(group: str, config: str, default: str, args: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Returns what the arguments say of a group that no row depends on, and the other arguments."""
    mine = [a for a in args if a.lstrip("+").startswith((f"{group}=", f"{group}."))]
    if not mine:
        return {"name": default}, args
    return _composed(config, mine)[0][group], [a for a in args if a not in mine]
