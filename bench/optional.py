"""Things a user chooses by name whose packages are optional: built from their configuration, or refused in one line."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.config import first_error
from bench.errors import BenchError


class Choice(BaseModel):
    """One of several things a group of `conf` offers.

    Attributes:
        needs: the package it takes; none where all is there.
        extra: what installs that.
    """

    model_config = ConfigDict(extra="forbid")
    needs: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    name: str


T = TypeVar("T", bound=Choice)


def chosen(field: str, said: dict[str, Any], choices: Mapping[str, type[T]]) -> T:
    """Builds the choice that a configuration names.

    Raises:
        BenchError: there is no such choice, a field is wrong, or its package is not installed.
    """
    cls = choices.get(str(said.get("name")))
    if cls is None:
        raise BenchError(f"{field}.name={said.get('name')}: one of {', '.join(choices)} would be right")
    try:
        made = cls.model_validate(said)
    except ValidationError as error:
        raise BenchError(f"{field}.{first_error(error)}") from None
    if cls.needs and importlib.util.find_spec(cls.needs) is None:
        wanted = f"pip install 'concept-bench[{cls.extra}]'"
        raise BenchError(f"{field}={made.name}: no package {cls.needs} is installed; {wanted} would be right")
    return made
