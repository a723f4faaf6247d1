"""Templates → pages: every value passes the autoescape, and a name that is not given is an error."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from bench.headline import number
from bench.words import counted

TEMPLATES = Path(__file__).parent.parent / "templates"


@cache
def _environment() -> Any:
    """Returns what reads the templates, once a process: to compile them takes longer than to fill them."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                      lstrip_blocks=True)  # fmt: skip
    env.filters["number"] = lambda value: number(value).replace("-", "\N{MINUS SIGN}")
    env.filters["counted"] = counted
    env.filters["short"] = lambda value: f"{value:z.3g}".replace("-", "\N{MINUS SIGN}")
    return env


def render(template: str, **context: Any) -> str:
    """Returns a page."""
    page: str = _environment().get_template(template).render(**context)
    return page
