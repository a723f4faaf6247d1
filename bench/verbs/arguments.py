"""What every verb reads its arguments with."""

from __future__ import annotations

import argparse
from typing import NoReturn

from bench.errors import BenchError


class _Defaults(argparse.HelpFormatter):
    """Says what an option is where it is left out."""

    def _get_help_string(self, action: argparse.Action) -> str:
        said, value = action.help or "", action.default
        if value in (None, False, "", [], argparse.SUPPRESS) or "left out" in said:
            return said
        shown = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        return f"{said}; {shown.replace('%', '%%')} if left out" if said else f"{shown} if left out"


class Arguments(argparse.ArgumentParser):
    """An `ArgumentParser` whose complaints are one line, as all of ours, and whose help has the defaults."""

    def __init__(self, prog: str, description: str | None = None) -> None:
        super().__init__(prog, description=description, formatter_class=_Defaults)

    def error(self, message: str) -> NoReturn:
        """Refuses the arguments.

        Raises:
            BenchError: always.
        """
        raise BenchError(f"{self.prog}: {message}; --help shows what there is")
