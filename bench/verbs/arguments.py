"""What every verb reads its arguments with."""

from __future__ import annotations

import argparse
from typing import NoReturn

from bench.errors import BenchError


class Arguments(argparse.ArgumentParser):
    """An `ArgumentParser` whose complaints are one line, as all of ours."""

    def error(self, message: str) -> NoReturn:
        """Refuses the arguments.

        Raises:
            BenchError: always.
        """
        raise BenchError(f"{self.prog}: {message}; --help shows what there is")
