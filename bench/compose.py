"""Hydra overrides → composed configuration → runs."""

from __future__ import annotations

import itertools
import logging
from typing import Any

from bench import paths
from bench.config import check
from bench.errors import BenchError

log = logging.getLogger("bench")


def compose(overrides: list[str]) -> tuple[dict[str, Any], str]:
    """Composes one run.

    Returns:
        The configuration as plain containers, and the name of the method's config.

    Raises:
        BenchError: an override names what is not there, or no method is given.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(config_dir=str(paths.shipped("conf")), version_base="1.3"):
            composed = hydra_compose("config", overrides=overrides, return_hydra_config=True)
            choices = composed.hydra.runtime.choices
            method = choices.get("method", "")
            config: Any = OmegaConf.to_container(
                OmegaConf.masked_copy(composed, [str(k) for k in composed if k != "hydra"]), resolve=True
            )
    except (HydraException, OmegaConfBaseException) as error:
        raise BenchError(_one_line(error)) from None
    finally:
        HydraConfig.instance().cfg = None
    if "method" not in config:
        raise BenchError(
            f"no method given; +method=NAME with one of {', '.join(paths.choices('method'))} would be right"
        )
    return check(config) | {"_given": list(overrides)}, str(method)


def _one_line(error: Exception) -> str:
    """Returns Hydra's message as one line, its list of options included."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "hydra" not in line.lower()]
    return " ".join(lines) or type(error).__name__


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
        raise BenchError(_one_line(error)) from None
    choices = [
        [f"{line.split('=', 1)[0]}={v}" for v in o.sweep_string_iterator()] if o.is_sweep_override() else [line]
        for o, line in zip(parsed, overrides, strict=True)
    ]
    return [list(c) for c in itertools.product(*choices)]


def run_command(args: list[str]) -> int:
    """Runs one composition, or every one of a sweep in turn. Returns the exit code."""
    from bench import show
    from bench.plan import make
    from bench.run import preflight, run

    plans = [make(*compose(overrides)) for overrides in expand(args)]  # all are checked before the first starts
    for plan in plans:
        preflight(plan)
    code = 0
    for plan in plans:
        row, there = run(plan)
        show.show(row, plan, there)
        code = max(code, 0 if row.status == "ok" else 1)
    return code
